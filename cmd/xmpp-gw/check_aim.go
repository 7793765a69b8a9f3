package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"xmpp-gw/policy"
)

// aim is a TARGET of the command line.
type aim struct {
	asked     string // as it was written
	domain    string // normalised
	account   string // the bare JID, "" where only a domain was named
	endpoints []policy.Endpoint

	// password is what to log in with; nil: nobody logs in.
	password []byte
}

// readAims reads the targets, each of them once.
func readAims(c *cli.Context) ([]*aim, error) {
	var aims []*aim
	for _, asked := range c.Args().Slice() {
		a, err := readAim(asked)
		if err != nil {
			p := usage("%q cannot be looked at: %v", asked, err)
			p.hint = "a target is a domain, a JID, an onion address, HOST:PORT or an endpoint such as tls://HOST:PORT"
			return nil, p
		}
		if !slices.ContainsFunc(aims, a.same) {
			aims = append(aims, a)
		}
	}
	for _, word := range c.StringSlice("at") {
		at, err := policy.ParseEndpoint(word)
		if err != nil {
			return nil, usage("--at: %v", err)
		}
		if len(aims) != 1 {
			return nil, usage("--at is for one target, and there are %d", len(aims))
		}
		aims[0].endpoints = append(aims[0].endpoints, at)
	}
	return aims, nil
}

func (a *aim) same(b *aim) bool {
	return a.domain == b.domain && a.account == b.account && slices.Equal(a.endpoints, b.endpoints)
}

// readAim reads one target.
func readAim(asked string) (*aim, error) {
	a := &aim{asked: asked}
	var err error
	switch word := strings.TrimPrefix(asked, "xmpp:"); {
	case strings.Contains(word, "://"):
		at, err := policy.ParseEndpoint(word)
		if err != nil {
			return nil, err
		}
		a.domain, a.endpoints = at.Host, []policy.Endpoint{at}
		return a, nil
	case !strings.ContainsAny(word, "@/") && isHostPort(word):
		scheme := "starttls://"
		if strings.HasSuffix(word, ":5223") || strings.HasSuffix(word, ":443") {
			scheme = "tls://"
		}
		at, err := policy.ParseEndpoint(scheme + word)
		if err != nil {
			return nil, err
		}
		a.domain, a.endpoints = at.Host, []policy.Endpoint{at}
		return a, nil
	default:
		// RFC 7622 §3.1: the resource begins at the first slash, and may have an "@".
		bare, _, _ := strings.Cut(word, "/")
		bare, _, _ = strings.Cut(bare, "?") // of a URI
		local, domain, isJID := strings.Cut(bare, "@")
		if !isJID {
			domain = bare
		}
		if a.domain, err = policy.NormalizeDomain(domain); err != nil {
			return nil, err
		}
		if isJID && local == "" {
			return nil, errors.New("there is nothing in front of the @")
		}
		if isJID {
			a.account = local + "@" + policy.DisplayDomain(a.domain)
		}
	}
	if policy.IsOnion(a.domain) {
		if err := policy.CheckOnion(a.domain); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// isHostPort reports whether s ends in a port, and is not an IPv6 address alone.
func isHostPort(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != ""
}

// readPasswords reads the passwords of --login: from the terminal, where nobody sees
// them, for what will be looked at; or a line for each JID from standard input or a
// file.
func (j *checkJob) readPasswords(looks []*look) error {
	var jids []*look
	for _, l := range looks {
		if l.account != "" {
			jids = append(jids, l)
		}
	}
	file, stdin := j.String("password-file"), j.Bool("password-stdin")
	switch {
	case !j.Bool("login") && (file != "" || stdin):
		return usage("a password is for --login, which is not there")
	case !j.Bool("login"):
		return nil
	case len(jids) == 0:
		p := usage("--login needs an account, and no target is a JID")
		p.hint = "for example: xmpp-gw check --login juliet@example.org"
		return p
	case file != "" && stdin:
		return usage("--password-stdin and --password-file cannot be had together")
	}
	var lines io.Reader
	from := "standard input"
	switch {
	case stdin:
		lines = os.Stdin
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return &problem{what: "the file with the password cannot be read", why: err.Error(), code: exitUsage, err: err}
		}
		defer f.Close()
		lines, from = f, file
	case !term.IsTerminal(int(os.Stdin.Fd())):
		p := usage("there is nobody to ask for a password")
		p.hint = "hand it over with --password-stdin or --password-file FILE"
		return p
	}
	for _, a := range jids {
		var err error
		if lines == nil && a.err != nil {
			continue
		} else if lines == nil {
			a.password, err = j.askPassword(a.account)
		} else {
			a.password, err = readLine(lines)
		}
		if err != nil {
			return &problem{what: "the password cannot be read", why: err.Error(), err: err}
		}
		if len(a.password) == 0 {
			return usage("there is no password for %s: %s has no line for it", a.account, map[bool]string{true: from, false: "the terminal"}[lines != nil])
		}
	}
	return nil
}

// askPassword asks a person.
func (j *checkJob) askPassword(account string) ([]byte, error) {
	fmt.Fprintf(j.ui.err, "password of %s: ", printable(account))
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(j.ui.err)
	return b, err
}

// maxPassword is more than any server takes, in bytes.
const maxPassword = 8 << 10

// readLine reads up to the end of a line, or of all. It takes byte by byte, and leaves
// no copy of a password behind that nobody wipes.
func readLine(r io.Reader) ([]byte, error) {
	line := make([]byte, 0, maxPassword)
	for {
		n, err := r.Read(line[len(line) : len(line)+1])
		line = line[:len(line)+n]
		switch {
		case n > 0 && line[len(line)-1] == '\n', errors.Is(err, io.EOF):
			return bytes.TrimRight(line, "\r\n"), nil
		case err != nil:
			clear(line)
			return nil, err
		case len(line) == maxPassword:
			clear(line)
			return nil, fmt.Errorf("the line is longer than %d bytes", maxPassword)
		}
	}
}
