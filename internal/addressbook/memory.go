package addressbook

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/ownfile"
	"xmpp-gw/policy"
)

// memoryHeader begins a new file.
const memoryHeader = `# The domains that xmpp-gw has logged in to at an onion address, one line each:
#
#   DOMAIN  since=DAY  last=DAY  ENDPOINT [ENDPOINT ...]
#
# A domain that stands here is reached at onion addresses only, at first at those
# of its line (the last that worked stands first). Delete a line, or run
# "xmpp-gw onion map forget DOMAIN", to let it be reached in other ways again. You
# may edit this file while xmpp-gw runs.
`

// maxMemory bounds the file: some hundred thousand domains.
const maxMemory = 16 << 20

// memory is the file: its lines in their order. Lines that did not change are
// written back as they were.
type memory struct {
	read     stamp
	lines    []*memoryLine
	byDomain map[string]*memoryLine
}

type memoryLine struct {
	raw         string
	domain      string // empty on a line without one
	since, last string // YYYY-MM-DD
	endpoints   []policy.Endpoint
	err         error
}

// Remembered is a domain that is reached at onion addresses only.
type Remembered struct {
	Domain    string
	Since     string // the day of the first login there, YYYY-MM-DD
	Last      string // of the last one
	Endpoints []policy.Endpoint
}

func (s *Store) memoryFile() string { return filepath.Join(s.dir, "seen") }

// refreshMemory reads the memory if it is another than before.
func (s *Store) refreshMemory() error {
	path := s.memoryFile()
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.seen = new(memory)
		return nil
	case err != nil:
		return err
	}
	now := stampOf(info)
	if s.seen != nil && s.seen.read.same(now) {
		return nil
	}
	text, err := ownfile.Read(path, ownfile.NoAccess, maxMemory)
	if err != nil {
		return err
	}
	s.seen = parseMemory(text)
	s.seen.read = now
	return nil
}

// parseMemory reads the file. It never fails: what it cannot understand becomes a
// line with an error.
func parseMemory(text []byte) *memory {
	m := &memory{byDomain: map[string]*memoryLine{}}
	text = bytes.TrimLeft(text, "\ufeff")
	n := 0
	for raw := range strings.Lines(string(text)) {
		n++
		l := parseMemoryLine(strings.TrimRight(raw, "\r\n"), n)
		if before := m.byDomain[l.domain]; l.domain != "" && before != nil {
			before.err = fmt.Errorf("line %d: %s stands here twice (delete one of the lines)", n, l.domain)
			l.domain = ""
		} else if l.domain != "" {
			m.byDomain[l.domain] = l
		}
		m.lines = append(m.lines, l)
	}
	return m
}

// parseMemoryLine reads one line; number is for the error.
func parseMemoryLine(raw string, number int) *memoryLine {
	l := &memoryLine{raw: raw}
	text, _, _ := strings.Cut(raw, "#")
	words := strings.Fields(text)
	if len(words) == 0 {
		return l
	}
	fail := func(format string, args ...any) {
		if l.err == nil {
			l.err = fmt.Errorf("line %d: "+format+" (correct or delete the line)", append([]any{number}, args...)...)
		}
	}
	domain, err := policy.NormalizeDomain(words[0])
	if err != nil {
		fail("%s is not a domain", printable(words[0]))
		return l
	}
	l.domain = domain
	day := func(s string) string {
		if _, err := time.Parse(time.DateOnly, s); err != nil {
			fail("%s is not a day (YYYY-MM-DD)", printable(s))
		}
		return s
	}
	for _, w := range words[1:] {
		if since, ok := strings.CutPrefix(w, "since="); ok {
			l.since = day(since)
		} else if last, ok := strings.CutPrefix(w, "last="); ok {
			l.last = day(last)
		} else if e, err := parseOnion(w); err != nil {
			fail("%v", err)
		} else if !slices.Contains(l.endpoints, e) {
			l.endpoints = append(l.endpoints, e)
		}
	}
	if l.since == "" {
		fail("it does not say since=DAY")
	}
	if l.last == "" {
		l.last = l.since
	}
	return l
}

// String is the line as it is written.
func (l *memoryLine) String() string {
	words := []string{l.domain, "since=" + l.since, "last=" + l.last}
	for _, e := range l.endpoints {
		words = append(words, e.String())
	}
	return strings.Join(words, "  ")
}

// write replaces the file.
func (s *Store) write() error {
	if err := s.make(); err != nil {
		return err
	}
	var b bytes.Buffer
	if len(s.seen.lines) == 0 {
		b.WriteString(memoryHeader)
	}
	for _, l := range s.seen.lines {
		b.WriteString(l.raw + "\n")
	}
	err := ownfile.Replace(s.memoryFile(), b.Bytes())
	s.seen.read = stamp{} // whatever happened, the next look at it reads it again
	return err
}

// Reached remembers that a login at an onion endpoint of domain, verified by TLS
// for that domain, succeeded: from now on the domain is reached at onion endpoints
// only.
func (s *Store) Reached(domain string, e policy.Endpoint) error {
	if name, err := policy.NormalizeDomain(domain); err != nil || name != domain || policy.IsOnion(domain) || !e.Onion() {
		return errors.New("only a domain that is no onion address itself, in ASCII form, is remembered with an onion endpoint")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Most logins have nothing new to say, and need no lock for that.
	if err := s.refresh(); err != nil {
		return err
	}
	today := s.now().UTC().Format(time.DateOnly)
	if l := s.seen.byDomain[domain]; l != nil && l.says(today, e) {
		return nil
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	// Read again, so that a change of the meantime is not undone.
	if err := s.refresh(); err != nil {
		return err
	}
	l := s.seen.byDomain[domain]
	if l == nil {
		l = &memoryLine{domain: domain, since: today}
		if s.seen.byDomain == nil {
			*s.seen = *parseMemory([]byte(memoryHeader))
		}
		s.seen.byDomain[domain] = l
		s.seen.lines = append(s.seen.lines, l)
	}
	if l.err != nil {
		return fmt.Errorf("%s: %w", s.memoryFile(), l.err)
	}
	if l.says(today, e) {
		return nil
	}
	l.last = today
	l.endpoints = slices.DeleteFunc(l.endpoints, func(o policy.Endpoint) bool { return o == e })
	l.endpoints = slices.Insert(l.endpoints, 0, e)
	l.endpoints = l.endpoints[:min(len(l.endpoints), maxEndpoints)]
	l.raw = l.String()
	return s.write()
}

// says reports whether the line has this login already.
func (l *memoryLine) says(today string, e policy.Endpoint) bool {
	return l.err == nil && l.last == today && len(l.endpoints) > 0 && l.endpoints[0] == e
}

// Forget lets domain be reached in other ways than at onion addresses again. It
// reports whether it was remembered, also where its line makes no sense.
func (s *Store) Forget(domain string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := s.refresh(); err != nil {
		return false, err
	}
	n := len(s.seen.lines)
	s.seen.lines = slices.DeleteFunc(s.seen.lines, func(l *memoryLine) bool {
		return l.domain == domain || parseMemoryLine(l.raw, 0).domain == domain
	})
	if len(s.seen.lines) == n {
		return false, nil
	}
	delete(s.seen.byDomain, domain)
	return true, s.write()
}

// Remembered are the domains that are reached at onion addresses only, in the
// order of the file, and an error for each line that makes no sense.
func (s *Store) Remembered() ([]Remembered, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return nil, err
	}
	var list []Remembered
	var errs []error
	for _, l := range s.seen.lines {
		switch {
		case l.err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", s.memoryFile(), l.err))
		case l.domain != "":
			list = append(list, Remembered{l.domain, l.since, l.last, slices.Clone(l.endpoints)})
		}
	}
	return list, errors.Join(errs...)
}
