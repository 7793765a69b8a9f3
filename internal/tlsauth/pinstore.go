package tlsauth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"xmpp-gw/policy"
)

// Pin is what is remembered of a domain.
type Pin struct {
	SPKI  string    // the key last seen, "sha256/BASE64"; empty: none yet
	First time.Time // the day on which that key was first seen
	Last  time.Time // the last day on which it was seen
	Plus  bool      // the server once offered SASL channel binding (-PLUS)
}

// PinStore remembers what was seen of servers, in a file that a person can read
// and edit while the program runs. It is safe for concurrent use.
type PinStore struct {
	path string

	mu    sync.Mutex
	lines []pinLine
	index map[string]int // of a domain in lines
	info  fs.FileInfo    // of the file as it was last read or written; nil: there was none
}

// pinLine is a line of the file: a domain, or a comment kept as it is.
type pinLine struct {
	domain  string
	pin     Pin
	comment string
}

const pinHeader = `# The servers that this gateway has seen, one line a domain:
#
#   DOMAIN  KEY  FIRST-SEEN  LAST-SEEN  [plus]
#
# KEY is the SHA-256 of the key in the server's certificate, "-" while none is
# known. "plus" notes that the server once offered to bind logins to TLS (SASL
# channel binding): from then on a login without it is refused, for that is what
# somebody in the middle would try.
#
# Delete a line to forget a domain. Edits count at once; no restart is needed.

`

// maxPinFile bounds the file (some hundred thousand domains).
const maxPinFile = 32 << 20

// OpenPins opens the file at path. It may not exist yet; then it is made when
// there is something to remember. A file that others may write, or with a line
// that cannot be read, is an error: to go on without it would be to trust anew.
func OpenPins(path string) (*PinStore, error) {
	s := &PinStore{path: path}
	if err := s.reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Path is where the file is.
func (s *PinStore) Path() string { return s.path }

// Lookup is what is remembered of domain.
func (s *PinStore) Lookup(domain string) (Pin, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.reload() // what was last readable stays in force; the next write says so
	i, ok := s.index[domain]
	if !ok {
		return Pin{}, false
	}
	return s.lines[i].pin, true
}

// Ratchet reports whether domain's server once offered channel binding.
func (s *PinStore) Ratchet(domain string) bool {
	p, _ := s.Lookup(domain)
	return p.Plus
}

// SetRatchet remembers that domain's server offers channel binding.
func (s *PinStore) SetRatchet(domain string) error {
	return s.change(domain, func(p *Pin) bool {
		was := p.Plus
		p.Plus = true
		return !was
	})
}

// note remembers that domain's server has key, and says how that compares with
// what was known before.
func (s *PinStore) note(domain, key string, now time.Time) (state PinState, old Pin, err error) {
	today := now.UTC().Truncate(24 * time.Hour)
	err = s.change(domain, func(p *Pin) bool {
		old = *p
		switch p.SPKI {
		case key:
			state = PinKnown
			p.Last = today
			return !old.Last.Equal(today)
		case "":
			state = PinFirst
		default:
			state = PinReplaced
		}
		p.SPKI, p.First, p.Last = key, today, today
		return true
	})
	return state, old, err
}

// change applies f to domain's pin and writes the file if f says that
// something changed. What was remembered stays so even if writing fails.
func (s *PinStore) change(domain string, f func(*Pin) bool) error {
	if !validPinDomain(domain) {
		return errors.New("it is no domain that the file could hold")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reloaded := s.reload()
	i, ok := s.index[domain]
	line := pinLine{domain: domain}
	if ok {
		line = s.lines[i]
	}
	if !f(&line.pin) {
		return nil
	}
	if ok {
		s.lines[i] = line
	} else {
		if s.index == nil {
			s.index = make(map[string]int)
		}
		s.index[domain] = len(s.lines)
		s.lines = append(s.lines, line)
	}
	if reloaded != nil {
		return reloaded // do not write over what a person is editing
	}
	return s.write()
}

// validPinDomain reports whether domain can stand in the file.
func validPinDomain(domain string) bool {
	d, err := policy.NormalizeDomain(domain)
	return err == nil && d == domain
}

// reload reads the file if it is another than the one last read.
func (s *PinStore) reload() error {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		if s.info != nil { // somebody deleted it, to forget all
			s.lines, s.index, s.info = nil, nil, nil
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("the pins cannot be read: %w", err)
	}
	if s.info != nil && os.SameFile(info, s.info) && info.Size() == s.info.Size() && info.ModTime().Equal(s.info.ModTime()) {
		return nil
	}
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", s.path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others may write %s, so nothing in it can be trusted; look through it, then run: chmod 600 %s", s.path, s.path)
	case info.Size() > maxPinFile:
		return fmt.Errorf("%s is larger than 32 MiB", s.path)
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("the pins cannot be read: %w", err)
	}
	lines, err := parsePins(text)
	if err != nil {
		return fmt.Errorf("%s: %w; correct the line or delete it", s.path, err)
	}
	s.lines, s.info = lines, info
	s.index = make(map[string]int)
	for i, l := range lines {
		if l.domain != "" {
			s.index[l.domain] = i
		}
	}
	return nil
}

// parsePins reads the file's text. It is generous about space and what is left
// out, but a line that it cannot read is an error.
func parsePins(text []byte) ([]pinLine, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var lines []pinLine
	seen := make(map[string]int)
	number := 0
	for raw := range strings.Lines(string(text)) {
		number++
		raw = strings.TrimRight(raw, " \t\r\n")
		data, comment, _ := strings.Cut(raw, "#")
		fields := strings.Fields(data)
		if len(fields) == 0 {
			lines = append(lines, pinLine{comment: raw})
			continue
		}
		l, err := parsePin(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if first, ok := seen[l.domain]; ok {
			return nil, fmt.Errorf("lines %d and %d are of the same domain", first, number)
		}
		seen[l.domain] = number
		l.comment = strings.TrimSpace(comment)
		lines = append(lines, l)
	}
	return lines, nil
}

func parsePin(fields []string) (pinLine, error) {
	var l pinLine
	var err error
	if l.domain, err = policy.NormalizeDomain(fields[0]); err != nil {
		return l, errors.New("it does not begin with a domain")
	}
	var dates []time.Time
	for _, f := range fields[1:] {
		switch {
		case f == "-":
		case f == "plus":
			l.pin.Plus = true
		case strings.HasPrefix(f, pinPrefix) && l.pin.SPKI == "":
			if l.pin.SPKI, err = ParsePin(f); err != nil {
				return l, err
			}
		default:
			t, err := time.Parse(time.DateOnly, f)
			if err != nil || len(dates) == 2 {
				return l, fmt.Errorf("%q is none of a key, a date (2006-01-02) and the word plus", clean(f, 40))
			}
			dates = append(dates, t)
		}
	}
	if l.pin.SPKI == "" && !l.pin.Plus {
		return l, errors.New("it has no key")
	}
	if len(dates) > 0 {
		l.pin.First, l.pin.Last = dates[0], dates[len(dates)-1]
	}
	return l, nil
}

// appendPins writes lines as the file has them.
func appendPins(b []byte, lines []pinLine) []byte {
	for _, l := range lines {
		if l.domain == "" {
			b = append(append(b, l.comment...), '\n')
			continue
		}
		key := l.pin.SPKI
		if key == "" {
			key = "-"
		}
		b = fmt.Appendf(b, "%s  %s", l.domain, key)
		if !l.pin.First.IsZero() {
			b = fmt.Appendf(b, "  %s  %s", l.pin.First.Format(time.DateOnly), l.pin.Last.Format(time.DateOnly))
		}
		if l.pin.Plus {
			b = append(b, "  plus"...)
		}
		if l.comment != "" {
			b = append(append(b, "  # "...), l.comment...)
		}
		b = append(b, '\n')
	}
	return b
}

// write replaces the file: a reader or a crash sees the old one or the new one.
func (s *PinStore) write() (err error) {
	var text []byte
	if s.info == nil {
		text = append(text, pinHeader...)
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), ".pins-*") // mode 0600
	if err != nil {
		return fmt.Errorf("the pins cannot be written: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("the pins cannot be written: %w", err)
		}
	}()
	if _, err = f.Write(appendPins(text, s.lines)); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), s.path); err != nil {
		return err
	}
	if s.info == nil { // the header is one of the lines from now on
		s.info = nil
		return s.reload()
	}
	s.info = info
	return nil
}
