// Package servertest runs a server inside a test, and scripted clients against it:
//
//	s := servertest.New(t, roster.New(…), offline.New(…))
//	romeo := servertest.Dial(t, s, "romeo@example.org/orchard") // makes the account
//	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
//	romeo.Send("<message to='juliet@example.org/balcony' type='chat'><body>Hi</body></message>")
//	juliet.Expect("<message from='romeo@example.org/orchard'><body>Hi</body></message>")
//	romeo.ExpectNothing()
//
// The server has the domains example.org and example.net, keeps its data in memory
// and ends with the test. Clients come over loopback TCP with TLS.
package servertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// Password is that of all accounts that Account and Dial make.
const Password = "the lark, the herald of the morn"

// Server is a server that listens on loopback.
type Server struct {
	*server.Server
	STARTTLS, DirectTLS string // where it listens
}

// New starts a server with these modules.
func New(t testing.TB, modules ...server.Module) *Server {
	t.Helper()
	return NewWith(t, nil, modules...)
}

// NewWith is [New] for a server that is configured otherwise. A Store of the
// configuration is not closed.
func NewWith(t testing.TB, configure func(*server.Config), modules ...server.Module) *Server {
	t.Helper()
	cfg := server.Config{
		Domains:    []string{"example.org", "example.net"},
		TLS:        func(string) (*tls.Config, error) { return identity().conf, nil },
		Modules:    modules,
		Iterations: 4096, // the least, as tests log in often
		Log:        slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	if configure != nil {
		configure(&cfg)
	}
	if cfg.Store == nil {
		db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		cfg.Store = db
	}
	inner, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Server: inner}
	t.Cleanup(func() { s.Stop(t) })
	s.STARTTLS = s.listen(t, server.STARTTLS)
	s.DirectTLS = s.listen(t, server.DirectTLS)
	return s
}

// Stop ends the server. It may be called before the test ends.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil && !errors.Is(err, server.ErrClosed) {
		t.Errorf("the server did not end in good order: %v", err)
	}
}

func (s *Server) listen(t testing.TB, kind server.ListenerKind) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := s.Serve(l, kind); !errors.Is(err, server.ErrClosed) {
			t.Errorf("serving ended: %v", err)
		}
	}()
	return l.Addr().String()
}

// Account makes an account with [Password], unless it is there already.
func (s *Server) Account(t testing.TB, jid string) address.Address {
	t.Helper()
	a := Address(t, jid).Bare()
	if err := s.CreateAccount(t.Context(), a, Password, false); err != nil && !errors.Is(err, store.ErrExists) {
		t.Fatal(err)
	}
	return a
}

// Address is an address that is valid.
func Address(t testing.TB, jid string) address.Address {
	t.Helper()
	a, err := address.Parse(jid)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TLS is a client's configuration that trusts the server.
func TLS(domain string) *tls.Config {
	return &tls.Config{RootCAs: identity().roots, ServerName: domain, MinVersion: tls.VersionTLS12}
}

// ServerTLS is a server's configuration that such clients trust.
func ServerTLS() *tls.Config { return identity().conf }

type credential struct {
	conf  *tls.Config
	roots *x509.CertPool
}

// identity is made once: keys take a while.
var identity = sync.OnceValue(func() credential {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"example.org", "example.net"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return credential{
		conf:  &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}},
		roots: roots,
	}
})

// logWriter shows the server's log with the test that failed.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil { // a test that has ended must not be written to
		w.t.Logf("server: %s", p)
	}
	return len(p), nil
}
