package saslserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"testing"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

// One whole login by SCRAM-SHA-256-PLUS on the server: its two elements read as
// trees and answered. What the client does is a part of the figure (four HMACs,
// without PBKDF2); BenchmarkClient is that part alone.
func BenchmarkLogin(b *testing.B) {
	for _, p := range []saslauth.Protocol{saslauth.SASL1, saslauth.SASL2} {
		b.Run(p.String(), func(b *testing.B) {
			m := newMemory(b, "juliet")
			srv, _ := newServer(b, m)
			link := connect(b, tls.VersionTLS13).link()
			x := newBencher(b, m, link)
			first := []byte(auth(p, "SCRAM-SHA-256-PLUS", x.gs2+x.bare, ""))
			b.ReportAllocs()
			for b.Loop() {
				c := srv.Conn(link)
				a, err := c.Handle(b.Context(), mustParse(b, first))
				if err != nil || a.Failure != nil {
					b.Fatal(err, a.Failure)
				}
				a, err = c.Handle(b.Context(), mustParse(b, x.answer(b, p, a.Element)))
				if err != nil || a.Login == nil {
					b.Fatal(err, a.Failure)
				}
				a.Login.Success(juliet)
			}
		})
	}
}

func BenchmarkClient(b *testing.B) {
	m := newMemory(b, "juliet")
	srv, _ := newServer(b, m)
	link := connect(b, tls.VersionTLS13).link()
	x := newBencher(b, m, link)
	a := handle(b, srv.Conn(link), auth(saslauth.SASL1, "SCRAM-SHA-256-PLUS", x.gs2+x.bare, ""))
	b.ReportAllocs()
	for b.Loop() {
		x.answer(b, saslauth.SASL1, a.Element)
	}
}

func BenchmarkFast(b *testing.B) {
	m := newMemory(b, "juliet")
	p, _ := newPhone(b, tls.VersionTLS13, m)
	p.password(request("HT-SHA-256-EXPR"))
	data := mustBinding(b, p.link, saslauth.TLSExporter)
	first := []byte(auth(saslauth.SASL2, "HT-SHA-256-EXPR", "juliet\x00"+string(tokenMAC([]byte(p.token), "Initiator", data)), agent+"<fast xmlns='urn:xmpp:fast:0'/>"))
	b.ReportAllocs()
	for b.Loop() {
		a, err := p.srv.Conn(p.link).Handle(b.Context(), mustParse(b, first))
		if err != nil || a.Login == nil {
			b.Fatal(err, a.Failure)
		}
		a.Login.Success(juliet)
	}
}

func mustParse(b *testing.B, raw []byte) *xmppstream.Node {
	n, err := xmppstream.Parse(raw, xmppstream.PreAuthLimits())
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// bencher is a client that has its ClientKey ready.
type bencher struct {
	gs2, bare, binding string
	clientKey, stored  []byte
}

func newBencher(b *testing.B, m *memory, link Link) *bencher {
	keys := m.keys[juliet][SHA256]
	x := &bencher{gs2: "p=tls-exporter,,", bare: "n=juliet,r=fyko+d2lbbFgONRv9qkxdawL", stored: keys.StoredKey}
	x.binding = b64(x.gs2 + string(mustBinding(b, link, saslauth.TLSExporter)))
	x.clientKey = mac(SHA256, salt(b, password, keys.Salt, keys.Iterations), []byte("Client Key"))
	return x
}

func (x *bencher) answer(b *testing.B, p saslauth.Protocol, challenge []byte) []byte {
	text := challenge[len("<challenge xmlns='")+len(p.Space())+2 : len(challenge)-len("</challenge>")]
	server, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		b.Fatal(err)
	}
	end := 2
	for server[end] != ',' {
		end++
	}
	without := "c=" + x.binding + "," + string(server[:end])
	h := hmac.New(sha256.New, x.stored)
	h.Write([]byte(x.bare + "," + string(server) + "," + without))
	proof := h.Sum(nil)
	for i := range proof {
		proof[i] ^= x.clientKey[i]
	}
	return []byte(response(p, without+",p="+base64.StdEncoding.EncodeToString(proof)))
}
