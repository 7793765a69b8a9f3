package saslauth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
)

const header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

// element parses one element as it would arrive on a stream.
func element(raw string) (*xmppstream.Element, error) {
	r := xmppstream.NewReader(strings.NewReader(header+raw), xmppstream.PreAuthLimits())
	if _, err := r.ReadHeader(); err != nil {
		return nil, err
	}
	return r.Next()
}

func node(t testing.TB, raw string) *xmppstream.Node {
	t.Helper()
	e, err := element(raw)
	if err != nil {
		t.Fatalf("parsing %s: %v", raw, err)
	}
	n, err := e.Node()
	if err != nil {
		t.Fatalf("parsing %s: %v", raw, err)
	}
	return n
}

// fakeStream is a peer in memory: what is sent goes to answer, whose elements
// are then read.
type fakeStream struct {
	t      testing.TB
	answer func(n *xmppstream.Node) []string
	queue  []string
	sent   []string
	raw    [][]byte // what was sent, as it is now
}

func (f *fakeStream) Send(raw []byte) error {
	f.sent, f.raw = append(f.sent, string(raw)), append(f.raw, raw)
	if f.answer != nil {
		f.queue = append(f.queue, f.answer(node(f.t, string(raw)))...)
	}
	return nil
}

func (f *fakeStream) Next() (*xmppstream.Element, error) {
	if len(f.queue) == 0 {
		return nil, io.EOF
	}
	raw := f.queue[0]
	f.queue = f.queue[1:]
	return element(raw)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func unb64(t testing.TB, s string) string {
	t.Helper()
	b, ok := decode(s)
	if !ok {
		t.Fatalf("not base64: %q", s)
	}
	return string(b)
}

// newCertificate makes a certificate for example.org, its own issuer.
func newCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.org"},
		DNSNames: []string{"example.org"}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// handshake returns both ends' state of one real TLS connection.
func handshake(t testing.TB, version uint16) (client, server *tls.ConnectionState) {
	t.Helper()
	cert := newCertificate(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	srv := tls.Server(b, &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   version, MaxVersion: version,
	})
	done := make(chan error, 1)
	go func() {
		err := srv.Handshake()
		done <- err
		_, _ = io.Copy(io.Discard, b) // the client's last flight, if any
	}()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	cli := tls.Client(a, &tls.Config{RootCAs: roots, ServerName: "example.org", MinVersion: version, MaxVersion: version})
	if err := cli.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c, s := cli.ConnectionState(), srv.ConnectionState()
	s.PeerCertificates = []*x509.Certificate{cert.Leaf} // so that it can hash its own
	return &c, &s
}

// server is the server's half of SCRAM written from RFC 5802 alone, with places
// to lie at.
type server struct {
	newHash    func() hash.Hash
	password   string
	iterations int
	binding    string                     // binding data expected, for flag p
	extra      string                     // appended to server-first
	editFirst  func(first string) string  // what is sent instead (and signed)
	editFinal  func(final string) *string // what is sent instead; nil: no data
	asChallenge,
	skipFinal bool

	gs2, bare, first, nonce string
	flag                    string
}

func (s *server) hi() []byte {
	k, err := pbkdf2.Key(s.newHash, s.password, []byte("salt-of-the-earth"), s.iterations, s.newHash().Size())
	if err != nil {
		panic(err)
	}
	return k
}

func (s *server) mac(key []byte, msg string) []byte {
	m := hmac.New(s.newHash, key)
	m.Write([]byte(msg))
	return m.Sum(nil)
}

func (s *server) start(msg string) string {
	parts := strings.SplitN(msg, ",", 3)
	s.flag, s.gs2, s.bare = parts[0], parts[0]+","+parts[1]+",", parts[2]
	_, s.nonce, _ = strings.Cut(s.bare, ",r=")
	s.nonce += "server"
	s.first = fmt.Sprintf("r=%s,s=%s,i=%d%s", s.nonce, b64("salt-of-the-earth"), s.iterations, s.extra)
	if s.editFirst != nil {
		s.first = s.editFirst(s.first)
	}
	return s.first
}

// finish returns the server-final-message, or "" when the proof is wrong.
func (s *server) finish(msg string) string {
	without, proof, _ := strings.Cut(msg, ",p=")
	fields := strings.Split(without, ",")
	cbind, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[0], "c="))
	want := s.gs2
	if strings.HasPrefix(s.flag, "p=") {
		want += s.binding
	}
	if string(cbind) != want || fields[1] != "r="+s.nonce {
		return ""
	}
	clientKey := s.mac(s.hi(), "Client Key")
	h := s.newHash()
	h.Write(clientKey)
	auth := s.bare + "," + s.first + "," + without
	signature := s.mac(h.Sum(nil), auth)
	got, _ := base64.StdEncoding.DecodeString(proof)
	for i := range got {
		got[i] ^= signature[i]
	}
	if !bytes.Equal(got, clientKey) {
		return ""
	}
	return "v=" + base64.StdEncoding.EncodeToString(s.mac(s.mac(s.hi(), "Server Key"), auth))
}

// serve answers as a server does on a stream.
func (s *server) serve(t testing.TB, p Protocol) func(*xmppstream.Node) []string {
	step := 0
	final := ""
	return func(n *xmppstream.Node) []string {
		switch n.Name {
		case "abort":
			return []string{string(p.Failure(Failure{Condition: Aborted}))}
		case "auth", "authenticate":
			step = 1
			text := n.Text
			if p == SASL2 {
				text = n.ChildText(xmppstream.NSSASL2, "initial-response")
			}
			return []string{string(p.Challenge([]byte(s.start(unb64(t, text)))))}
		}
		step++
		if step == 3 {
			return []string{success(p, nil)}
		}
		if s.skipFinal {
			return []string{success(p, nil)}
		}
		if final = s.finish(unb64(t, n.Text)); final == "" {
			return []string{string(p.Failure(Failure{NotAuthorized, "wrong proof"}))}
		}
		data := &final
		if s.editFinal != nil {
			data = s.editFinal(final)
		}
		if s.asChallenge {
			return []string{string(p.Challenge([]byte(*data)))}
		}
		return []string{success(p, data)}
	}
}

func success(p Protocol, data *string) string {
	if p == SASL1 {
		if data == nil {
			return "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
		}
		return "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(*data) + "</success>"
	}
	s := "<success xmlns='urn:xmpp:sasl:2'>"
	if data != nil {
		s += "<additional-data>" + b64(*data) + "</additional-data>"
	}
	return s + "<authorization-identifier>user@example.org</authorization-identifier></success>"
}
