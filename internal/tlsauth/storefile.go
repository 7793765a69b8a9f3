package tlsauth

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"xmpp-gw/policy"
)

// pinHeader begins a new file.
const pinHeader = `# The servers that xmpp-gw has met, one line a domain:
#
#   DOMAIN  first=DAY  last=DAY  [plus]  sha256/KEY [sha256/KEY ...]
#
# sha256/KEY  a public key that the server proved to have (SHA-256 of its
#             SubjectPublicKeyInfo, in base64; the newest stands last)
# plus        logins there were once bound to the TLS connection (SCRAM-...-PLUS);
#             from then on a login that is not bound is refused
#
# You may edit this file while xmpp-gw runs. Delete a line to let the gateway
# meet that domain anew; add a key to a line to accept it as well.
`

// pinTable is the file: its lines in their order. Lines that did not change are
// written back as they were.
type pinTable struct {
	lines    []*pinLine
	byDomain map[string]*pinLine
}

type pinLine struct {
	raw     string // as read
	seen    Seen   // Domain is empty on a line without one
	comment string
	err     error
	changed bool
}

// parsePins reads a file. It never fails: what it cannot understand becomes a
// line with an error.
func parsePins(data []byte) *pinTable {
	t := &pinTable{byDomain: make(map[string]*pinLine)}
	if data == nil {
		data = []byte(pinHeader)
	}
	data = bytes.TrimLeft(data, "\ufeff") // some editors put a byte order mark there, and some one more
	for i, raw := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		l := parsePinLine(strings.TrimRight(raw, "\r"), i+1)
		if l.seen.Domain == "" {
			t.lines = append(t.lines, l)
			continue
		}
		if before := t.byDomain[l.seen.Domain]; before != nil {
			before.merge(l)
			continue
		}
		t.byDomain[l.seen.Domain] = l
		t.lines = append(t.lines, l)
	}
	return t
}

// parsePinLine reads one line; number is for the error.
func parsePinLine(raw string, number int) *pinLine {
	l := &pinLine{raw: raw}
	text := raw
	if i := strings.IndexByte(raw, '#'); i >= 0 {
		text, l.comment = raw[:i], raw[i:]
	}
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return l
	}
	fail := func(format string, args ...any) {
		if l.err == nil {
			l.err = fmt.Errorf("line %d: "+format+" (correct or delete the line)", append([]any{number}, args...)...)
		}
	}
	domain, err := policy.NormalizeDomain(fields[0])
	if err != nil {
		fail("%q is not a domain", printable(fields[0], 80))
		return l
	}
	l.seen.Domain = domain
	for _, f := range fields[1:] {
		switch {
		case strings.HasPrefix(f, "first="):
			l.seen.First = day(f, "first=", fail)
		case strings.HasPrefix(f, "last="):
			l.seen.Last = day(f, "last=", fail)
		case f == "plus":
			l.seen.Plus = true
		case strings.HasPrefix(f, "sha256"):
			// A key that was mangled must not pass for no key, which any key may follow.
			if err := CheckPin(f); err != nil {
				fail("%w", err)
			} else if !slices.Contains(l.seen.Keys, f) {
				l.seen.Keys = append(l.seen.Keys, f)
			}
		default:
			fail("%q means nothing here", printable(f, 80))
		}
	}
	return l
}

func day(field, prefix string, fail func(string, ...any)) string {
	s := strings.TrimPrefix(field, prefix)
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		fail("%q is not a day (YYYY-MM-DD)", printable(s, 40))
		return ""
	}
	return s
}

// merge takes a second line of the same domain in.
func (l *pinLine) merge(o *pinLine) {
	if l.err == nil {
		l.err = o.err
	}
	if l.err != nil {
		l.raw += "\n" + o.raw // both stay as they are until somebody has looked
		return
	}
	l.changed = true
	l.seen.Plus = l.seen.Plus || o.seen.Plus
	for _, k := range o.seen.Keys {
		if !slices.Contains(l.seen.Keys, k) {
			l.seen.Keys = append(l.seen.Keys, k)
		}
	}
	if o.seen.First != "" && (l.seen.First == "" || o.seen.First < l.seen.First) {
		l.seen.First = o.seen.First
	}
	l.seen.Last = max(l.seen.Last, o.seen.Last)
	if o.comment != "" {
		l.comment = strings.TrimSpace(l.comment + " " + o.comment)
	}
}

func (t *pinTable) add(domain string) *pinLine {
	l := &pinLine{seen: Seen{Domain: domain}}
	t.lines = append(t.lines, l)
	t.byDomain[domain] = l
	return l
}

// render is the file's content.
func (t *pinTable) render() []byte {
	var b bytes.Buffer
	for _, l := range t.lines {
		if l.changed && l.err == nil {
			b.WriteString(l.String())
		} else {
			b.WriteString(l.raw)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func (l *pinLine) String() string {
	parts := []string{l.seen.Domain}
	if l.seen.First != "" {
		parts = append(parts, "first="+l.seen.First)
	}
	if l.seen.Last != "" {
		parts = append(parts, "last="+l.seen.Last)
	}
	if l.seen.Plus {
		parts = append(parts, "plus")
	}
	parts = append(parts, l.seen.Keys...)
	if l.comment != "" {
		parts = append(parts, l.comment)
	}
	return strings.Join(parts, "  ")
}
