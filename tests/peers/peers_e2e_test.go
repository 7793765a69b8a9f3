//go:build e2e

package peers_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/tests/peers"
)

const domain = "example.test"

// certificates makes a CA and a certificate of it for the domain, and returns
// the names of their PEM files.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA for a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{domain},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, leafKey := newKey(), newKey()
	return write("ca.pem", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey))),
		write("cert.pem", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, rootKey))),
		write("key.pem", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(leafKey)))
}

func options(cert, key string) peers.Options {
	return peers.Options{
		Domain: domain, Cert: cert, Key: key,
		Accounts: []peers.Account{{Username: "alice", Password: "alice's secret"}, {Username: "bob", Password: "bob's secret"}},
	}
}

func login(srv *peers.Server, mode peers.TLSMode, user, ca string) peers.Credentials {
	return peers.Credentials{
		JID: user + "@" + domain, Password: user + "'s secret", Addr: srv.Addr(mode), TLS: mode, CA: ca,
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestMatrix proves the grounds that the gateway's own tests stand on: every
// client logs in to every server directly and messages go both ways.
func TestMatrix(t *testing.T) {
	ca, cert, key := certificates(t)
	for kind, start := range peers.Servers() {
		t.Run(kind, func(t *testing.T) {
			srv := peers.Start(t, start, options(cert, key))
			for _, mode := range []peers.TLSMode{peers.StartTLS, peers.DirectTLS} {
				for name, client := range peers.Clients() {
					t.Run(fmt.Sprintf("%s/%s", mode, name), func(t *testing.T) {
						ctx := deadline(t)
						alice := peers.Login(t, client, login(srv, mode, "alice", ca))
						bob := peers.Login(t, peers.Slixmpp, login(srv, mode, "bob", ca))
						if bob.TLS() != "TLSv1.3" {
							t.Errorf("TLS is %q, want TLSv1.3", bob.TLS())
						}
						there, back := "there "+name, "and <back> & \"again\""
						if err := alice.Send(ctx, "bob@"+domain, there); err != nil {
							t.Fatal(err)
						}
						if err := bob.Receive(ctx, "alice@"+domain, there); err != nil {
							t.Fatal(err)
						}
						if err := bob.Send(ctx, "alice@"+domain, back); err != nil {
							t.Fatal(err)
						}
						if err := alice.Receive(ctx, "bob@"+domain, back); err != nil {
							t.Fatal(err)
						}
						t.Logf("mechanisms: %s %q, slixmpp %q", name, alice.Mechanism(), bob.Mechanism())
					})
				}
			}
		})
	}
}

// TestRefusals: a client says why it could not log in, and does not log in
// where it should not.
func TestRefusals(t *testing.T) {
	ca, cert, key := certificates(t)
	otherCA, _, _ := certificates(t)
	srv := peers.Start(t, peers.Prosody, options(cert, key))
	tests := []struct {
		name   string
		change func(*peers.Credentials)
		kind   string
	}{
		{"wrong password", func(c *peers.Credentials) { c.Password = "wrong" }, "authentication"},
		{"another CA", func(c *peers.Credentials) { c.CA = otherCA }, "certificate"},
		{"nobody listens", func(c *peers.Credentials) { c.Addr = "127.0.0.1:1" }, "connection"},
	}
	for name, client := range peers.Clients() {
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				cred := login(srv, peers.StartTLS, "alice", ca)
				tt.change(&cred)
				c, err := client(deadline(t), cred)
				if err == nil {
					c.Close()
					t.Fatal("it logged in")
				}
				var failed *peers.LoginError
				if !errors.As(err, &failed) {
					t.Fatalf("not a LoginError: %v", err)
				}
				// go-sendxmpp has no kinds, only words.
				if failed.Kind != tt.kind && name != "go-sendxmpp" || failed.Text == "" && failed.Condition == "" {
					t.Errorf("got %+v, want kind %q and a text", failed, tt.kind)
				}
				t.Log(err)
			})
		}
	}
}

// TestOptions: the servers do as their options say.
func TestOptions(t *testing.T) {
	ca, cert, key := certificates(t)
	for kind, start := range peers.Servers() {
		t.Run(kind, func(t *testing.T) {
			t.Run("plain, no registration, TLS 1.2", func(t *testing.T) {
				t.Parallel()
				o := options(cert, key)
				o.Mechanisms, o.MaxTLS = []string{"PLAIN"}, tls.VersionTLS12
				srv := peers.Start(t, start, o)
				alice := peers.Login(t, peers.Slixmpp, login(srv, peers.DirectTLS, "alice", ca))
				if alice.Mechanism() != "PLAIN" || alice.TLS() != "TLSv1.2" {
					t.Errorf("%s over %s, want PLAIN over TLSv1.2", alice.Mechanism(), alice.TLS())
				}
				cred := login(srv, peers.StartTLS, "carol", ca)
				cred.Register = true
				if c, err := peers.Slixmpp(deadline(t), cred); err == nil {
					c.Close()
					t.Error("an account was made in-band")
				}
			})
			t.Run("SCRAM-SHA-256, registration, TLS 1.3", func(t *testing.T) {
				t.Parallel()
				o := options(cert, key)
				o.Mechanisms, o.Hash = []string{"SCRAM-SHA-256"}, "SHA-256"
				o.MinTLS, o.Register, o.MAM = tls.VersionTLS13, true, true
				srv := peers.Start(t, start, o)
				if c, err := tls.Dial("tcp", srv.Addr(peers.DirectTLS), &tls.Config{
					InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
					c.Close()
					t.Error("TLS 1.2 was accepted")
				}
				cred := login(srv, peers.StartTLS, "carol", ca)
				cred.Register = true
				carol := peers.Login(t, peers.Slixmpp, cred)
				if carol.Mechanism() != "SCRAM-SHA-256" {
					t.Errorf("%s, want SCRAM-SHA-256", carol.Mechanism())
				}
				ctx := deadline(t)
				if err := carol.AddContact(ctx, "bob@"+domain); err != nil {
					t.Fatal(err)
				}
				if got, err := carol.Roster(ctx); err != nil || !slices.Equal(got, []string{"bob@" + domain}) {
					t.Errorf("roster %q, %v", got, err)
				}
				if err := carol.Ping(ctx); err != nil {
					t.Error(err)
				}
				if err := srv.Register(peers.Account{Username: "dave", Password: "dave's secret"}); err != nil {
					t.Fatal(err)
				}
				peers.Login(t, peers.Slixmpp, login(srv, peers.StartTLS, "dave", ca))
			})
		})
	}
}

// TestBinding holds what the gateway's tests rely on: which of Debian's servers
// bind SCRAM to the TLS connection. Both know tls-unique alone, which TLS 1.3
// does not define (RFC 9266 §4.2); ejabberd uses it there all the same. Neither
// says so (XEP-0440).
func TestBinding(t *testing.T) {
	ca, cert, key := certificates(t)
	tests := []struct {
		kind    string
		version uint16
		want    string
	}{
		{"prosody", tls.VersionTLS12, "SCRAM-SHA-1-PLUS"},
		{"prosody", tls.VersionTLS13, "SCRAM-SHA-1"},
		{"ejabberd", tls.VersionTLS12, "SCRAM-SHA-1-PLUS"},
		{"ejabberd", tls.VersionTLS13, "SCRAM-SHA-1-PLUS"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%s", tt.kind, tls.VersionName(tt.version)), func(t *testing.T) {
			o := options(cert, key)
			o.MinTLS, o.MaxTLS = tt.version, tt.version
			srv := peers.Start(t, peers.Servers()[tt.kind], o)
			for _, mode := range []peers.TLSMode{peers.StartTLS, peers.DirectTLS} {
				alice := peers.Login(t, peers.Slixmpp, login(srv, mode, "alice", ca))
				if alice.Mechanism() != tt.want {
					t.Errorf("%s: slixmpp used %s, want %s", mode, alice.Mechanism(), tt.want)
				}
			}
		})
	}
}

// TestNothingStays: after Close no process and no file is left. Processes are
// found by the directory, which is in their environment.
func TestNothingStays(t *testing.T) {
	ca, cert, key := certificates(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for kind, start := range peers.Servers() {
		srv, err := start(options(cert, key))
		if err != nil {
			t.Fatal(err)
		}
		for name, client := range peers.Clients() {
			c, err := client(deadline(t), login(srv, peers.StartTLS, "alice", ca))
			if err != nil {
				t.Fatal(err)
			}
			if len(processesIn(t, tmp)) == 0 {
				t.Fatal("this test does not see processes")
			}
			if err := c.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := srv.Close(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	left, _ := os.ReadDir(tmp)
	if running := processesIn(t, tmp); len(left) > 0 || len(running) > 0 {
		t.Errorf("left: files %v, processes %q", left, running)
	}
}

func processesIn(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range all {
		env, _ := os.ReadFile(name) // gone, or another user's
		if strings.Contains(string(env), "HOME="+dir) {
			cmd, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			found = append(found, strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return found
}
