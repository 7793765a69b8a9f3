package egress

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"testing/iotest"
)

// proxyEnd is a proxy whose every answer is known beforehand.
type proxyEnd struct {
	io.Reader
	sent bytes.Buffer
}

func (p *proxyEnd) Write(b []byte) (int, error) { return p.sent.Write(b) }

func TestWire(t *testing.T) {
	name := destination{host: "example.test", port: 5222}
	v4 := destination{host: "192.0.2.1", ip: netip.MustParseAddr("192.0.2.1"), port: 5222}
	v6 := destination{host: "2001:db8::1", ip: netip.MustParseAddr("2001:db8::1"), port: 443}
	const ok4 = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for _, tt := range []struct {
		label string
		iso   Isolation
		dst   destination
		in    string
		out   string
		rest  string
		err   error
	}{
		{"a name, no login", Isolation{}, name, "\x05\x00" + ok4 + "<stream", "\x05\x01\x00" + "\x05\x01\x00\x03\x0cexample.test\x14\x66", "<stream", nil},
		{"a login", Isolation{"us", "p"}, v4, "\x05\x02\x01\x00" + ok4, "\x05\x01\x02" + "\x01\x02us\x01p" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x14\x66", "", nil},
		{"an empty password", Isolation{"u", ""}, v4, "\x05\x02\x01\x00" + ok4, "\x05\x01\x02" + "\x01\x01u\x00" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x14\x66", "", nil},
		{"IPv6 both ways", Isolation{}, v6, "\x05\x00\x05\x00\x00\x04" + string(make([]byte, 18)) + "rest",
			"\x05\x01\x00" + "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb", "rest", nil},
		{"a bound name", Isolation{}, v4, "\x05\x00\x05\x00\x00\x03\x02ab\x00\x00rest", "", "rest", nil},
		{"a refusal", Isolation{}, v4, "\x05\x00\x05\xf0\x00\x01", "", "", replyCode(0xf0)},
		{"a refusal cut short", Isolation{}, v4, "\x05\x00\x05\x02", "", "", replyCode(2)},
		{"success cut short", Isolation{}, v4, "\x05\x00\x05\x00", "", "", io.ErrUnexpectedEOF},
		{"bound address cut short", Isolation{}, v4, "\x05\x00\x05\x00\x00\x01\x00", "", "", io.ErrUnexpectedEOF},
		{"SOCKS4", Isolation{}, v4, "\x00\x5a", "", "", errNotSOCKS},
		{"a reply of SOCKS4", Isolation{}, v4, "\x05\x00\x04\x00\x00\x01", "", "", errNotSOCKS},
		{"an unknown address type", Isolation{}, v4, "\x05\x00\x05\x00\x00\x09", "", "", errNotSOCKS},
		{"login refused", Isolation{"u", "p"}, v4, "\x05\x02\x01\x01", "", "", errPassword},
		{"login of another version", Isolation{"u", "p"}, v4, "\x05\x02\x05\x00", "", "", errNotSOCKS},
		{"no method", Isolation{}, v4, "\x05\xff", "", "", errMethod},
		{"a method that was not offered", Isolation{}, v4, "\x05\x02\x01\x00" + ok4, "", "", errNotSOCKS},
		{"a login that was not offered", Isolation{}, v4, "\x05\x02" + ok4, "", "", errNotSOCKS},
		{"no login where one was offered", Isolation{"u", "p"}, v4, "\x05\x00\x01\x00" + ok4, "", "", errNotSOCKS},
		{"nothing", Isolation{}, v4, "", "", "", io.EOF},
	} {
		t.Run(tt.label, func(t *testing.T) {
			in := bytes.NewReader([]byte(tt.in))
			p := &proxyEnd{Reader: iotest.OneByteReader(in)} // every split of the input
			err := greet(p, tt.iso)
			if err == nil {
				err = connect(p, tt.dst)
			}
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if tt.out != "" && p.sent.String() != tt.out {
				t.Errorf("sent %q, want %q", p.sent.String(), tt.out)
			}
			if rest, _ := io.ReadAll(in); err == nil && string(rest) != tt.rest {
				t.Errorf("left %q for the destination, want %q", rest, tt.rest)
			}
		})
	}
	for _, iso := range []Isolation{{"", "p"}, {string(make([]byte, 256)), ""}, {"u", string(make([]byte, 256))}} {
		p := &proxyEnd{Reader: bytes.NewReader(nil)}
		if err := greet(p, iso); err == nil || p.sent.Len() > 0 {
			t.Errorf("a login of %d and %d bytes was sent: %v", len(iso.User), len(iso.Password), err)
		}
	}
}

// FuzzSOCKSReply feeds garbage to the client: it must end, must not read past
// the reply, and may only succeed on a well-formed one.
func FuzzSOCKSReply(f *testing.F) {
	for _, s := range []string{
		"", "\x05", "\x05\x00", "\x05\xff", "\x05\x02\x01\x00", "\x05\x02\x01\x01", "HTTP/1.1 400 Bad Request\r\n\r\n",
		"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00<stream:stream",
		"\x05\x00\x05\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x05\x00\x05\x00\x00\x03\xffshort", "\x05\x00\x05\xf0\x00\x01", "\x05\x02\x01\x00\x05\xf4",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, login bool) {
		var iso Isolation
		if login {
			iso = Isolation{"user", "password"}
		}
		r := bytes.NewReader(in)
		p := &proxyEnd{Reader: r}
		if greet(p, iso) != nil {
			return
		}
		greeted := len(in) - r.Len()
		err := connect(p, destination{host: "example.test", port: 5222})
		if code := replyCode(0); errors.As(err, &code) && code == 0 {
			t.Fatal("success came back as an error")
		}
		if err != nil {
			return
		}
		reply := in[greeted : len(in)-r.Len()]
		if reply[0] != 5 || reply[1] != 0 {
			t.Fatalf("reply %x taken for success", reply)
		}
		want := map[byte]int{1: 10, 4: 22}[reply[3]]
		if reply[3] == 3 {
			want = 7 + int(reply[4])
		}
		if len(reply) != want {
			t.Fatalf("read %d bytes of the reply %x, want %d", len(reply), reply, want)
		}
	})
}
