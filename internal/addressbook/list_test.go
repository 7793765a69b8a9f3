package addressbook

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"aead.dev/minisign"

	"xmpp-gw/policy"
)

// forgeID gives a secret key another number.
func forgeID(t *testing.T, text []byte, id uint64) minisign.PrivateKey {
	t.Helper()
	lines := bytes.SplitN(text, []byte("\n"), 2)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(lines[1])))
	check(t, err)
	binary.LittleEndian.PutUint64(raw[54:], id)
	var key minisign.PrivateKey
	check(t, key.UnmarshalText([]byte(string(lines[0])+"\n"+base64.StdEncoding.EncodeToString(raw))))
	return key
}

// lock says of a secret key that it is encrypted by scrypt at its lowest cost.
func lock(t *testing.T, text []byte) []byte {
	t.Helper()
	lines := bytes.SplitN(text, []byte("\n"), 2)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(lines[1])))
	check(t, err)
	copy(raw[2:], "Sc")
	binary.LittleEndian.PutUint64(raw[38:], 1<<15)
	binary.LittleEndian.PutUint64(raw[46:], 1<<20)
	return []byte(string(lines[0]) + "\n" + base64.StdEncoding.EncodeToString(raw) + "\n")
}

func TestListMistakes(t *testing.T) {
	const head = "xmpp-gw-onion-map: 1\ntitle: T\nissued: 2026-01-01\nexpires: 2026-12-31\n"
	e := endpoint(1).String()
	for text, want := range map[string]string{
		"":                       "it is empty",
		"# nothing\n":            "it is empty",
		"example.org " + e:       "no onion map",
		"<!DOCTYPE html>":        "no onion map",
		"xmpp-gw-onion-map: 2\n": "update it",
		"xmpp-gw-onion-map: 1\n": "does not say title:",
		head + "title: again\n":  "title is there twice",
		head + "colour: red\n":   "colour means nothing",
		"\xff" + head:            "UTF-8",
		head + "a.example " + e + "\nissued: 2026-01-01":     "issued is there twice",
		strings.Replace(head, "2026-01-01", "today", 1):      "is no day",
		strings.Replace(head, "2026-12-31", "2025-12-31", 1): "expires before it is issued",
		strings.Replace(head, "title: T", "title:", 1):       "a title has 1 to 100 bytes",
		head + "a.example expires=2026-02-02":                "has no endpoint",
		head + "a.example\n":                                 "has no endpoint",
		head + "a..example " + e:                             "is no domain",
		head + onion(1) + " " + e:                            "onion address already",
		head + "a.example " + e + "\nA.Example. " + e:        "stands in line 5 as well",
		head + "a.example " + e + " " + e:                    "is there twice",
		head + "a.example starttls://a.example":              "is no onion address",
		head + "a.example starttls://expyuzz4wqqyqhjn.onion": "version 2",
		head + "a.example ws://" + onion(1) + "/ws":          "has no TLS",
		head + "a.example http://" + onion(1):                "unknown scheme",
		head + "a.example " + e + " expires=2027-01-01":      "expires after the list",
		head + "a.example " + e + " expires=soon":            "is no day",
		head + "a.example " + e + "\u202e":                   "cannot be seen",
		head + "a.example " + e + " " + manyEndpoints():      "more than 8 endpoints",
		head + strings.Repeat("?\n", 100):                    "and more",
		strings.Repeat("#\n", MaxList):                       "larger than",
	} {
		_, err := ParseList([]byte(text))
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `"`, ""), want) {
			t.Errorf("%.120q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseList([]byte("\ufeff" + strings.ReplaceAll(head+"a.example "+e, "\n", "\r\n"))); err != nil {
		t.Errorf("with the line ends of Windows: %v", err)
	}
}

func manyEndpoints() string {
	var b strings.Builder
	for n := range byte(8) {
		b.WriteString(endpoint(n+10).String() + " ")
	}
	return b.String()
}

// FuzzList: whatever was downloaded, a list that is accepted has only whole onion
// addresses, and written out again it is the same list.
func FuzzList(f *testing.F) {
	f.Add(listText("2026-11-20", "2026-12-31", "example.org "+endpoint(1).String()+" expires=2026-12-01", "bücher.example wss://"+onion(2)+"/a?b"))
	f.Add([]byte("xmpp-gw-onion-map: 1\n"))
	f.Add([]byte("xmpp-gw-onion-map: 1\ntitle: \u00e9\nissued: 2026-01-01T00:00:00+14:00\nexpires: 2026-01-01\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseList(text)
		if err != nil {
			if !utf8.ValidString(err.Error()) || strings.Count(err.Error(), "\n") > maxMistakes {
				t.Errorf("the error is %q", err)
			}
			return
		}
		again := "xmpp-gw-onion-map: 1\ntitle: " + l.Title + "\nissued: " + l.Issued.Format(rfc3339) + "\nexpires: " + l.Expires.Format(rfc3339) + "\n"
		seen := map[string]bool{}
		for _, e := range l.Entries {
			if n, err := policy.NormalizeDomain(e.Domain); err != nil || n != e.Domain || seen[n] || len(e.Endpoints) == 0 {
				t.Errorf("domain %q: %v", e.Domain, err)
			}
			seen[e.Domain] = true
			again += e.Domain + " expires=" + e.Expires.Format(rfc3339)
			for _, o := range e.Endpoints {
				if !o.Onion() || policy.CheckOnion(o.Host) != nil || o.Port == 0 || o.Transport == policy.PlainWebSocket || e.Expires.After(l.Expires) {
					t.Errorf("%s: %s", e.Domain, o)
				}
				again += " " + o.String()
			}
			again += "\n"
		}
		m, err := ParseList([]byte(again))
		if err != nil || len(m.Entries) != len(l.Entries) || m.Title != l.Title || !m.Expires.Equal(l.Expires) {
			t.Errorf("written again:\n%s\n%v", again, err)
		}
	})
}

const rfc3339 = "2006-01-02T15:04:05.999999999Z07:00"

// FuzzMemory: whatever stands in the file, lines that make no sense refuse their
// domain and no other, and nothing of the file is lost when it is written.
func FuzzMemory(f *testing.F) {
	f.Add([]byte(memoryHeader + "example.org  since=2026-11-21  last=2026-11-21  " + endpoint(1).String() + "\n"))
	f.Add([]byte("a.example since=x\na.example\n..\n#\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := parseMemory(text)
		for domain, l := range m.byDomain {
			if l.domain != domain || l.err == nil && l.since == "" {
				t.Errorf("%q: %+v", domain, l)
			}
			if l.err != nil {
				continue
			}
			again := parseMemoryLine(l.String(), 1)
			if again.err != nil || again.domain != l.domain || again.since != l.since || len(again.endpoints) != len(l.endpoints) {
				t.Errorf("%q is written as %q: %v", l.raw, l.String(), again.err)
			}
		}
	})
}
