package haproxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
)

func read(b string) (Header, string, error) {
	r := bufio.NewReader(strings.NewReader(b))
	h, err := Read(r)
	rest, _ := io.ReadAll(r)
	return h, string(rest), err
}

func end(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var (
	four = Header{end("192.0.2.1:56324"), end("203.0.113.9:443")}
	six  = Header{end("[2001:db8::1]:1"), end("[2001:db8::2]:65535")}
)

const v2four = signature + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xcb\x00\x71\x09\xdc\x04\x01\xbb"

func TestRead(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want Header
	}{
		"v1 IPv4":         {"PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n", four},
		"v1 IPv6":         {"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", six},
		"v1 tor":          {"PROXY TCP6 fc00:dead:beef:4dad::ffff:ffff ::1 65535 42\r\n", ForCircuit(0xffffffff, 42)},
		"v1 tor, small":   {"PROXY TCP6 fc00:dead:beef:4dad::0:7 ::1 7 5222\r\n", ForCircuit(7, 5222)},
		"v1 unknown":      {"PROXY UNKNOWN\r\n", Header{}},
		"v1 unknown more": {"PROXY UNKNOWN ffff::1 what ever\r\n", Header{}},
		"v2 IPv4":         {v2four, four},
		"v2 IPv6":         {string(six.Append(nil, V2)), six},
		"v2 local":        {signature + "\x20\x00\x00\x00", Header{}},
		"v2 local, more":  {signature + "\x20\xff\x00\x02ab", Header{}},
		"v2 unspecified":  {signature + "\x21\x00\x00\x02ab", Header{}},
		"v2 unix":         {signature + "\x21\x31\x00\xd8" + strings.Repeat("x", 216), Header{}},
		"v2 extension":    {strings.Replace(v2four, "\x00\x0c", "\x00\x11", 1) + "\x04\x00\x02ab", four},
	} {
		t.Run(name, func(t *testing.T) {
			got, rest, err := read(tt.text + "\r\nrest\n")
			if err != nil || got != tt.want || rest != "\r\nrest\n" {
				t.Errorf("Read = %v, %v, then %q; want %v", got, err, rest, tt.want)
			}
			for n := range len(tt.text) {
				if _, _, err := read(tt.text[:n]); err == nil {
					t.Fatalf("the first %d bytes are a header", n)
				} else if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[n == 0]; !errors.Is(err, want) {
					t.Fatalf("the first %d bytes: %v, want %v", n, err, want)
				}
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no header":            "<?xml version='1.0'?>",
		"another word":         "PROXZ TCP4 192.0.2.1 203.0.113.9 56324 443\r\n",
		"lower case":           "PROXY tcp4 192.0.2.1 203.0.113.9 56324 443\r\n",
		"two spaces":           "PROXY TCP4  192.0.2.1 203.0.113.9 56324 443\r\n",
		"a tab":                "PROXY\tTCP4 192.0.2.1 203.0.113.9 56324 443\r\n",
		"trailing space":       "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443 \r\n",
		"one port":             "PROXY TCP4 192.0.2.1 203.0.113.9 56324\r\n",
		"no CR":                "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\n",
		"CR in the middle":     "PROXY TCP4 192.0.2.1\r 203.0.113.9 56324 443\r\n",
		"port too large":       "PROXY TCP4 192.0.2.1 203.0.113.9 65536 443\r\n",
		"port with zeros":      "PROXY TCP4 192.0.2.1 203.0.113.9 056324 443\r\n",
		"port with sign":       "PROXY TCP4 192.0.2.1 203.0.113.9 +5 443\r\n",
		"octal address":        "PROXY TCP4 192.0.2.01 203.0.113.9 5 443\r\n",
		"TCP4 with IPv6":       "PROXY TCP4 2001:db8::1 203.0.113.9 5 443\r\n",
		"TCP6 with IPv4":       "PROXY TCP6 192.0.2.1 203.0.113.9 5 443\r\n",
		"families mixed":       "PROXY TCP6 2001:db8::1 203.0.113.9 5 443\r\n",
		"zone":                 "PROXY TCP6 fe80::1%eth0 ::1 5 443\r\n",
		"UDP4":                 "PROXY UDP4 192.0.2.1 203.0.113.9 5 443\r\n",
		"UNKNOWNX":             "PROXY UNKNOWNX\r\n",
		"108 bytes":            "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n",
		"v2 signature":         strings.Replace(v2four, "QUIT", "QUIP", 1),
		"v2 version 1":         signature + "\x11\x11\x00\x0c" + v2four[16:],
		"v2 command 2":         signature + "\x22\x11\x00\x0c" + v2four[16:],
		"v2 datagram":          signature + "\x21\x12\x00\x0c" + v2four[16:],
		"v2 family 4":          signature + "\x21\x41\x00\x0c" + v2four[16:],
		"v2 too short":         signature + "\x21\x11\x00\x0b" + v2four[16:],
		"v2 too long":          signature + "\x21\x11\x10\x01" + strings.Repeat("\x00", 5000),
		"v2 extension cut off": strings.Replace(v2four, "\x00\x0c", "\x00\x10", 1) + "\x04\x00\x02a",
		"v2 extension stub":    strings.Replace(v2four, "\x00\x0c", "\x00\x0e", 1) + "\x04\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if h, _, err := read(text); !errors.Is(err, ErrHeader) {
				t.Errorf("Read = %v, %v; want ErrHeader", h, err)
			}
		})
	}
}

// The longest line of the specification is accepted.
func TestLongestLine(t *testing.T) {
	long := "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535"
	text := long + strings.Repeat("x", maxV1-2-len(long)) + "\r\n"
	if _, _, err := read(text); err != nil {
		t.Errorf("%d bytes: %v", len(text), err)
	}
}

func TestAppend(t *testing.T) {
	for _, tt := range []struct {
		h      Header
		v1, v2 string
	}{
		{four, "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n", v2four},
		{Header{}, "PROXY UNKNOWN\r\n", signature + "\x20\x00\x00\x00"},
		{Header{Source: four.Source, Destination: six.Destination}, "PROXY UNKNOWN\r\n", signature + "\x20\x00\x00\x00"},
		{ForCircuit(0xAABBCCDD, 5222), "PROXY TCP6 fc00:dead:beef:4dad::aabb:ccdd ::1 52445 5222\r\n", ""},
	} {
		if got := string(tt.h.Append(nil, V1)); got != tt.v1 {
			t.Errorf("v1 %q, want %q", got, tt.v1)
		}
		if got := string(tt.h.Append(nil, V2)); tt.v2 != "" && got != tt.v2 {
			t.Errorf("v2 %q, want %q", got, tt.v2)
		}
		if got := tt.h.Append(nil, None); len(got) != 0 {
			t.Errorf("none: %q", got)
		}
	}
}

func TestCircuit(t *testing.T) {
	for id := range map[uint32]bool{0: true, 1: true, 0xffff: true, 0xffffffff: true} {
		for _, v := range []Version{V1, V2} {
			h, _, err := read(string(ForCircuit(id, 80).Append(nil, v)))
			if got, ok := h.Circuit(); got != id || !ok || err != nil {
				t.Errorf("Circuit = %d, %v (%v), want %d", got, ok, err, id)
			}
		}
	}
	for _, h := range []Header{{}, four, six} {
		if id, ok := h.Circuit(); ok {
			t.Errorf("%v is of circuit %d", h, id)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]Version{"": None, "v1": V1, "v2": V2} {
		if v, err := ParseVersion(s); v != want || err != nil {
			t.Errorf("ParseVersion(%q) = %v, %v", s, v, err)
		}
	}
	if _, err := ParseVersion("v3"); err == nil {
		t.Error("v3 is a version")
	}
}

// What is read can be written and read again as the same; nothing behind the
// header is touched; and no input of a peer is copied without bound.
func FuzzRead(f *testing.F) {
	for _, h := range []Header{{}, four, six, ForCircuit(7, 5222)} {
		f.Add(h.Append(nil, V1))
		f.Add(append(h.Append(nil, V2), "<stream"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		r := bufio.NewReaderSize(in, 16)
		h, err := Read(r)
		if err != nil {
			if h != (Header{}) {
				t.Errorf("an error with a header: %v", h)
			}
			return
		}
		used := len(b) - in.Len() - r.Buffered()
		if used > len(signature)+4+maxV2 {
			t.Errorf("%d bytes of header", used)
		}
		if h.Source.IsValid() != h.Destination.IsValid() || h.Source.IsValid() && h.family() == 0 {
			t.Errorf("ends of different kinds: %v", h)
		}
		for _, v := range []Version{V1, V2} {
			again, rest, err := read(string(h.Append(nil, v)) + "rest")
			if err != nil || again != h || rest != "rest" {
				t.Errorf("written as v%d and read again: %v, %v, %q; want %v", v, again, err, rest, h)
			}
		}
	})
}
