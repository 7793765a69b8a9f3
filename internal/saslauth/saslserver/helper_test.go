package saslserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

const (
	domain   = "example.org"
	password = "pencil"
)

var juliet = address.Address{Local: "juliet", Domain: domain}

// memory is all of the storage.
type memory struct {
	mu       sync.Mutex
	keys     map[address.Address]map[Hash]Keys
	disabled map[address.Address]bool
	certs    map[[32]byte][]address.Address
	tokens   map[string][]Token
	asked    int           // lookups of credentials
	puts     int           // writes of tokens
	slow     time.Duration // what reading tokens takes
	err      error
}

func newMemory(t testing.TB, names ...string) *memory {
	m := &memory{
		keys: map[address.Address]map[Hash]Keys{}, disabled: map[address.Address]bool{},
		certs: map[[32]byte][]address.Address{}, tokens: map[string][]Token{},
	}
	for _, name := range names {
		of := map[Hash]Keys{}
		for _, h := range Hashes() {
			k, err := NewKeys(password, h, minIterations)
			if err != nil {
				t.Fatal(err)
			}
			of[h] = k
		}
		m.keys[address.Address{Local: name, Domain: domain}] = of
	}
	return m
}

func (m *memory) Credentials(_ context.Context, owner address.Address, h Hash) (Credentials, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	keys, ok := m.keys[owner]
	switch {
	case m.err != nil:
		return Credentials{}, m.err
	case !ok:
		return Credentials{}, ErrNoAccount
	}
	return Credentials{Keys: keys[h], Disabled: m.disabled[owner]}, nil
}

func (m *memory) CertificateOwners(_ context.Context, f [32]byte) ([]address.Address, error) {
	return m.certs[f], nil
}

func (m *memory) Tokens(_ context.Context, owner address.Address, client string) ([]Token, error) {
	m.mu.Lock()
	list, err := m.tokens[owner.String()+" "+client], m.err
	m.mu.Unlock()
	time.Sleep(m.slow)
	return list, err
}

func (m *memory) PutTokens(_ context.Context, owner address.Address, client string, list []Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	m.tokens[owner.String()+" "+client] = list
	return m.err
}

// clock is a clock that stands still until it is set forward.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newServer makes a server over m, with a clock that stands at the present.
func newServer(t testing.TB, m *memory, change ...func(*Config)) (*Server, *clock) {
	t.Helper()
	at := &clock{now: time.Now()}
	cfg := Config{
		Domain: domain, Accounts: m, Certificates: m, Tokens: m, Now: at.Now,
		Secret: bytes.Repeat([]byte("s"), 32), Iterations: minIterations,
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.sleep = func(d time.Duration) (<-chan time.Time, func() bool) {
		at.slept = append(at.slept, d)
		over := make(chan time.Time, 1)
		over <- at.Now()
		return over, func() bool { return true }
	}
	return s, at
}

// xmppAddr is a subjectAltName with XMPP addresses (RFC 6120 §13.7.1.4).
func xmppAddr(t testing.TB, addrs ...string) pkix.Extension {
	t.Helper()
	var names []asn1.RawValue
	for _, a := range addrs {
		text, err := asn1.MarshalWithParams(a, "utf8,explicit,tag:0")
		if err != nil {
			t.Fatal(err)
		}
		oid, err := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: append(oid, text...)})
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

// certificate makes one that is its own issuer.
func certificate(t testing.TB, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, f := range change {
		f(tmpl)
	}
	if len(change) == 0 {
		tmpl.DNSNames = []string{domain}
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

// wire is one TLS connection in memory.
type wire struct {
	client, server *tls.Conn
	cert           *x509.Certificate // the server's
}

func connect(t testing.TB, version uint16, client ...tls.Certificate) wire {
	t.Helper()
	cert := certificate(t)
	a, b := net.Pipe()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	w := wire{
		client: tls.Client(a, &tls.Config{RootCAs: roots, ServerName: domain, MinVersion: version, MaxVersion: version, Certificates: client}),
		server: tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version, ClientAuth: tls.RequestClientCert}),
		cert:   cert.Leaf,
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	done := make(chan error, 1)
	go func() { done <- w.client.Handshake() }()
	if err := w.server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return w
}

// link is the server's view of a connection.
func (w wire) link() Link {
	state := w.server.ConnectionState()
	return Link{TLS: &state, Certificate: w.cert, Peer: "circuit 1"}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// node parses one element as it would arrive on a stream.
func node(t testing.TB, raw string) *xmppstream.Node {
	t.Helper()
	n, err := xmppstream.Parse([]byte(raw), xmppstream.PreAuthLimits())
	if err != nil {
		t.Fatalf("parsing %s: %v", raw, err)
	}
	return n
}

// auth is a client's first element.
func auth(p saslauth.Protocol, mechanism, message, children string) string {
	if p == saslauth.SASL1 {
		return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mechanism + "'>" + b64(message) + "</auth>"
	}
	return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='" + mechanism + "'><initial-response>" + b64(message) + "</initial-response>" + children + "</authenticate>"
}

func response(p saslauth.Protocol, message string) string {
	return "<response xmlns='" + p.Space() + "'>" + b64(message) + "</response>"
}

// handle gives an element to a connection, which must not end the stream.
func handle(t testing.TB, c *Conn, raw string) Answer {
	t.Helper()
	a, err := c.Handle(t.Context(), node(t, raw))
	if err != nil {
		t.Fatalf("%s ended the stream: %v", raw, err)
	}
	return a
}

// condition is the failure of an answer, "" for none.
func (a Answer) condition() saslauth.Condition {
	if a.Failure == nil {
		return ""
	}
	return a.Failure.Condition
}

// challenge is the data of a challenge.
func (a Answer) challenge(t testing.TB) string {
	t.Helper()
	if a.Failure != nil || a.Login != nil {
		t.Fatalf("no challenge but %s", a.Element)
	}
	data, ok := saslauth.Decode(node(t, string(a.Element)).Text)
	if !ok {
		t.Fatalf("not base64: %s", a.Element)
	}
	return string(data)
}

// stream makes both halves of one side of an XMPP stream.
func stream(conn io.ReadWriter) (*xmppstream.Reader, *xmppstream.Writer) {
	return xmppstream.NewReader(conn, xmppstream.PreAuthLimits()), xmppstream.NewWriter(conn)
}

// attributes reads a SCRAM message.
func attributes(msg string) map[byte]string {
	m := map[byte]string{}
	for _, a := range strings.Split(msg, ",") {
		if len(a) > 1 && a[1] == '=' {
			m[a[0]] = a[2:]
		}
	}
	return m
}
