package addressbook

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"xmpp-gw/policy"
)

// List is what a curator says. As text it is
//
//	xmpp-gw-onion-map: 1
//	title: Onion services of the Example Association
//	issued: 2026-11-20
//	expires: 2027-02-28
//
//	# a remark
//	example.org   starttls://ADDRESS.onion:5222  wss://ADDRESS.onion/ws
//	example.net   tls://ADDRESS.onion:5223  expires=2026-12-31
//
// A time is a day (in UTC; "expires" includes it) or a moment as RFC 3339 writes
// it. A domain stands there once, and nothing holds for the domains under it.
type List struct {
	Title   string
	Issued  time.Time
	Expires time.Time
	Entries []Entry // in the order of the text
}

// Entry is the onion endpoints of one domain.
type Entry struct {
	Domain    string // as policy.NormalizeDomain writes it
	Endpoints []policy.Endpoint
	Expires   time.Time // not after the list's
	Line      int
}

const (
	magic = "xmpp-gw-onion-map"

	// MaxList is the most bytes of a list.
	MaxList = 1 << 20
	// maxEndpoints is how many endpoints one domain may have.
	maxEndpoints = 8
	// maxMistakes is how many mistakes are told at once.
	maxMistakes = 20
)

// Find is the entry of a normalised domain.
func (l List) Find(domain string) (Entry, bool) {
	i := slices.IndexFunc(l.Entries, func(e Entry) bool { return e.Domain == domain })
	if i < 0 {
		return Entry{}, false
	}
	return l.Entries[i], true
}

// ParseList reads a list. Nothing of a list with a mistake is used; the error
// names the mistakes, each with its line.
func ParseList(text []byte) (List, error) {
	var l List
	if len(text) > MaxList {
		return l, fmt.Errorf("it is larger than %d bytes", MaxList)
	}
	if !utf8.Valid(text) {
		return l, errors.New("it is not text in UTF-8")
	}
	p := parser{list: &l, head: map[string]bool{}, seen: map[string]int{}}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	n := 0
	for raw := range strings.Lines(string(text)) {
		n++
		p.line(n, strings.TrimRight(raw, "\r\n"))
		if len(p.mistakes) >= maxMistakes {
			break
		}
	}
	p.finish()
	if len(p.mistakes) > maxMistakes { // one line may have several
		p.mistakes = append(p.mistakes[:maxMistakes], "and more")
	}
	if len(p.mistakes) > 0 {
		return List{}, errors.New(strings.Join(p.mistakes, "\n"))
	}
	return l, nil
}

// parser is a list under construction.
type parser struct {
	list     *List
	head     map[string]bool
	seen     map[string]int // domain -> line
	mistakes []string
}

func (p *parser) mistake(line int, format string, args ...any) {
	p.mistakes = append(p.mistakes, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
}

// line reads one line.
func (p *parser) line(n int, raw string) {
	text := strings.TrimSpace(raw)
	if strings.ContainsFunc(raw, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
		p.mistake(n, "it has a character that cannot be seen")
		return
	}
	if text == "" || text[0] == '#' {
		return
	}
	if len(p.head) == 0 && !strings.HasPrefix(text, magic+":") {
		p.mistake(n, "this is no onion map: it must begin with %q", magic+": 1")
		p.head[magic] = true
		return
	}
	if name, value, ok := strings.Cut(text, ":"); ok && !strings.ContainsAny(name, " \t.") {
		p.header(n, name, strings.TrimSpace(value))
		return
	}
	p.entry(n, strings.Fields(text))
}

// header reads a line above the entries.
func (p *parser) header(n int, name, value string) {
	switch {
	case p.head[name]:
		p.mistake(n, "%s is there twice", printable(name))
		return
	case len(p.seen) > 0:
		p.mistake(n, "%s must stand above the first domain", printable(name))
	}
	p.head[name] = true
	var err error
	switch name {
	case magic:
		if value != "1" {
			p.mistake(n, "it is in format %s, and this program knows format 1: update it", printable(value))
		}
	case "title":
		if p.list.Title = value; value == "" || len(value) > 100 {
			p.mistake(n, "a title has 1 to 100 bytes")
		}
	case "issued":
		p.list.Issued, err = moment(value, false)
	case "expires":
		p.list.Expires, err = moment(value, true)
	default:
		p.mistake(n, "%s means nothing here (title, issued and expires do)", printable(name))
	}
	if err != nil {
		p.mistake(n, "%s: %v", name, err)
	}
}

// entry reads the line of a domain.
func (p *parser) entry(n int, words []string) {
	domain, err := policy.NormalizeDomain(words[0])
	switch {
	case err != nil:
		p.mistake(n, "%s is no domain: %v", printable(words[0]), err)
		return
	case policy.IsOnion(domain):
		p.mistake(n, "%s is an onion address already and needs no other", printable(words[0]))
		return
	case p.seen[domain] > 0:
		p.mistake(n, "%s stands in line %d as well", domain, p.seen[domain])
		return
	}
	p.seen[domain] = n
	e := Entry{Domain: domain, Line: n}
	before := len(p.mistakes)
	for _, w := range words[1:] {
		if day, ok := strings.CutPrefix(w, "expires="); ok {
			if e.Expires, err = moment(day, true); err != nil {
				p.mistake(n, "expires: %v", err)
			}
			continue
		}
		endpoint, err := parseOnion(w)
		switch {
		case err != nil:
			p.mistake(n, "%v", err)
		case slices.Contains(e.Endpoints, endpoint):
			p.mistake(n, "%s is there twice", endpoint)
		default:
			e.Endpoints = append(e.Endpoints, endpoint)
		}
	}
	if len(e.Endpoints) == 0 && len(p.mistakes) == before {
		p.mistake(n, "%s has no endpoint (write starttls://ADDRESS.onion:5222)", domain)
	}
	if len(e.Endpoints) > maxEndpoints {
		p.mistake(n, "%s has more than %d endpoints", domain, maxEndpoints)
	}
	p.list.Entries = append(p.list.Entries, e)
}

// finish looks at what only the whole tells.
func (p *parser) finish() {
	l := p.list
	if len(p.mistakes) >= maxMistakes {
		p.mistakes = append(p.mistakes, "and more")
		return
	}
	if len(p.head) == 0 {
		p.mistakes = append(p.mistakes, "it is empty")
		return
	}
	for _, name := range []string{"title", "issued", "expires"} {
		if !p.head[name] {
			p.mistakes = append(p.mistakes, "it does not say "+name+":")
		}
	}
	if len(p.mistakes) > 0 {
		return
	}
	if !l.Expires.After(l.Issued) {
		p.mistakes = append(p.mistakes, "it expires before it is issued")
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Expires.IsZero() {
			e.Expires = l.Expires
		}
		if e.Expires.After(l.Expires) {
			p.mistake(e.Line, "%s expires after the list does", e.Domain)
		}
	}
}

// parseOnion reads an endpoint at an onion address that must be verified by TLS.
func parseOnion(s string) (policy.Endpoint, error) {
	e, err := policy.ParseEndpoint(s)
	switch {
	case err != nil:
		return e, fmt.Errorf("%s: %w", printable(s), err)
	case !e.Onion():
		return e, fmt.Errorf("%s is no onion address", e.Host)
	case e.Transport == policy.PlainWebSocket:
		return e, fmt.Errorf("%s has no TLS, which must prove the domain (write wss://)", e)
	}
	if err := policy.CheckOnion(e.Host); err != nil {
		return e, fmt.Errorf("%s: %w", e.Host, err)
	}
	return e, nil
}

// moment reads a day or a time of RFC 3339. The end of a day is its last second.
func moment(s string, end bool) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		if end {
			t = t.AddDate(0, 0, 1).Add(-time.Second)
		}
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%s is no day (YYYY-MM-DD)", printable(s))
	}
	return t.UTC(), nil
}

// printable is s in quotes, cut where it is long.
func printable(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
