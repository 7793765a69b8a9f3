package main

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smallstep/truststore"
	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/localca"
)

func trustCommand(u *ui) *cli.Command {
	with := func(name, does string, more []cli.Flag, act func(*cli.Context, *ui, *localca.CA) error) *cli.Command {
		return command(&cli.Command{
			Name: name, Usage: does,
			Flags: append([]cli.Flag{configFlag(), stateFlag()}, more...),
			Action: func(c *cli.Context) error {
				if err := noArguments(c); err != nil {
					return err
				}
				ca, err := openCA(c)
				if err != nil {
					return err
				}
				return act(c, u, ca)
			},
		})
	}
	return command(&cli.Command{
		Name:  "trust",
		Usage: "the authority by which clients on this machine know the gateway",
		Subcommands: []*cli.Command{
			with("install", "make the system's programs trust the gateway's authority", nil, trustInstall),
			with("remove", "undo install", nil, trustRemove),
			with("show", "print where the authority is, its fingerprint, and what to do in a client", []cli.Flag{jsonFlag()}, trustShow),
		},
	})
}

// openCA opens the authority that `run` with the same flags uses.
func openCA(c *cli.Context) (*localca.CA, error) {
	p, err := findPaths(c.String("state-dir"), os.Getenv)
	if err != nil {
		return nil, err
	}
	s, err := loadSettings(c.String("config"))
	if err != nil {
		return nil, err
	}
	return localca.Open(p.ca(), s.certificateNames())
}

func trustInstall(_ *cli.Context, u *ui, ca *localca.CA) error {
	cert := ca.Certificate()
	old, err := installed(cert)
	if err != nil {
		return storeProblem("the authority cannot be looked for in the system's store", ca, err)
	}
	// Those of the same key that were made anew since, with other names in them.
	for _, c := range old {
		if c.Equal(cert) {
			u.printf("the system trusts the authority already\n")
			return nil
		}
		if err := truststore.Uninstall(c); err != nil {
			return storeProblem("an earlier certificate of the authority cannot be removed", ca, err)
		}
	}
	if err := truststore.Install(cert); err != nil {
		return storeProblem("the authority cannot be installed", ca, err)
	}
	u.printf("the system trusts the authority from now on: %s\n", ca.Fingerprint())
	if len(cert.PermittedDNSDomains) == 0 {
		u.warn("the authority can speak for every domain, so its key in %s is as good as every password. "+
			"With [default] route = \"block\" and a section for each of your domains, it is bound to these", filepath.Dir(ca.File()))
	}
	u.printf("start your clients again; `xmpp-gw trust show` helps where one still complains\n")
	return nil
}

func trustRemove(_ *cli.Context, u *ui, ca *localca.CA) error {
	old, err := installed(ca.Certificate())
	if err != nil {
		return storeProblem("the authority cannot be looked for in the system's store", ca, err)
	}
	if len(old) == 0 {
		u.printf("the system does not trust the authority\n")
		return nil
	}
	for _, c := range old {
		if err := truststore.Uninstall(c); err != nil {
			return storeProblem("the authority cannot be removed", ca, err)
		}
	}
	u.printf("the system does not trust the authority any more\n")
	return nil
}

// trustReport is the document of `trust show --json`.
type trustReport struct {
	File        string   `json:"file"`
	Fingerprint string   `json:"fingerprint"` // SHA-256, hex pairs with colons
	Names       []string `json:"names"`       // the domains it may speak for; none: every one
	Installed   bool     `json:"installed"`   // in the system's store
}

func trustShow(c *cli.Context, u *ui, ca *localca.CA) error {
	cert := ca.Certificate()
	r := trustReport{File: ca.File(), Fingerprint: ca.Fingerprint(), Names: append([]string{}, cert.PermittedDNSDomains...)}
	old, err := installed(cert)
	if err != nil {
		return err
	}
	for _, c := range old {
		r.Installed = r.Installed || c.Equal(cert)
	}
	if c.Bool("json") {
		return u.json(r)
	}
	names, state := "every domain", "no (`xmpp-gw trust install` does it)"
	if len(r.Names) > 0 {
		names = strings.Join(r.Names, ", ")
	}
	if r.Installed {
		state = "yes"
	}
	u.printf(`certificate: %s
fingerprint: %s (SHA-256)
speaks for:  %s
installed:   %s

Most clients (Gajim, Dino, Psi, Profanity, Pidgin, poezio) trust whom the system
trusts: once the authority is installed, start them again, and that is all.

One with a store of its own, or in a sandbox (Flatpak, Snap), may not see it.
Then import the certificate there, as an authority for servers. Do not accept
the gateway's own certificate instead: that one is made anew every few days.
`, printable(r.File), r.Fingerprint, printable(names), state)
	return nil
}

// installed are the certificates of the same key in the system's store.
func installed(cert *x509.Certificate) ([]*x509.Certificate, error) {
	if truststore.SystemTrustFilename == "" {
		return nil, truststore.ErrNotSupported
	}
	pattern := fmt.Sprintf(truststore.SystemTrustFilename, "xmpp-gw_on_*")
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for _, file := range files {
		c, err := truststore.ReadCertificate(file)
		if err != nil {
			continue // another program's file
		}
		if key, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && key.Equal(cert.PublicKey) {
			found = append(found, c)
		}
	}
	return found, nil
}

func storeProblem(what string, ca *localca.CA, err error) error {
	p := &problem{
		what: what, why: err.Error(), err: err,
		hint: fmt.Sprintf("import %s as an authority in your client instead (`xmpp-gw trust show`)", ca.File()),
	}
	if failed, ok := errors.AsType[*truststore.CmdError](err); ok {
		p.why += "\n" + strings.TrimSpace(string(failed.Out()))
		p.hint = fmt.Sprintf("the system's store is root's: run it with sudo and --state-dir %s, or import %s in your client",
			filepath.Dir(filepath.Dir(ca.File())), ca.File())
	}
	return p
}
