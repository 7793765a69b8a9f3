package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// testTimeout is far more than any of these tests takes.
const testTimeout = 10 * time.Second

// pipeDialer connects to a function.
type pipeDialer func(net.Conn)

func (serve pipeDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	go func() { serve(b); b.Close() }()
	return a, nil
}

// reply packs an honest reply to the fixed question of the fuzz target.
func reply(change func(*dns.Msg), lines ...string) []byte {
	m := new(dns.Msg)
	m.SetQuestion("_xmpp-client._tcp.example.test.", dns.TypeSRV)
	m.Response, m.RecursionAvailable, m.Compress = true, true, true
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	if change != nil {
		change(m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// FuzzDNSAnswer sends garbage in place of an answer, with the right id. The
// client must end, and use nothing but bounded, clean records of the question.
func FuzzDNSAnswer(f *testing.F) {
	const name = "_xmpp-client._tcp.example.test."
	f.Add([]byte{})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(reply(nil))
	f.Add(reply(nil, name+" 60 IN SRV 0 0 5222 xmpp.example.test."))
	f.Add(reply(nil, name+" 60 IN SRV 0 0 0 ."))
	f.Add(reply(nil, name+" 60 IN SRV 0 0 1 192.0.2.1.", name+` 60 IN SRV 0 0 1 a\000b.test.`))
	f.Add(reply(nil, name+" 60 IN CNAME a.test.", "a.test. 60 IN CNAME b.test.", "b.test. 60 IN SRV 1 2 3 c.test."))
	f.Add(reply(nil, name+" 60 IN CNAME "+name))
	f.Add(reply(func(m *dns.Msg) { m.Truncated = true }))
	f.Add(reply(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }))
	f.Add(reply(func(m *dns.Msg) { m.Question = nil }))
	f.Add(reply(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > dns.MaxMsgSize {
			return
		}
		serve := pipeDialer(func(c net.Conn) {
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			q := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(c, q); err != nil {
				return
			}
			answer := append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)
			if len(body) >= 2 {
				copy(answer[2:4], q[:2])
			}
			c.Write(answer)
		})
		c := New([]Server{{Host: "192.0.2.53", Port: 53}}, serve, nil)
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		records, err := c.SRV(ctx, "_xmpp-client._tcp.example.test")
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("it hung")
		}
		if len(records) > MaxRecords || err != nil && records != nil {
			t.Fatalf("%d records, %v", len(records), err)
		}
		list, err := Discover(ctx, table{"_xmpp-client._tcp.example.test": {records, err}}, "example.test", Options{})
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%d endpoints, %v", len(list), err)
		}
		for _, e := range list {
			if e.Port == 0 || e.Onion() || !validHost(e.Host) && !isLiteral(e.Host) {
				t.Fatalf("endpoint %v", e)
			}
		}
	})
}
