package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/config"
	"xmpp-gw/internal/forward"
	"xmpp-gw/onion"
)

// testNode opens a node of this configuration, which nobody local connects to.
func testNode(t *testing.T, text string) (*node, paths, *settings) {
	t.Helper()
	dir := t.TempDir()
	p := paths{state: dir, runtime: dir}
	c, err := config.Parse(filepath.Join(dir, "config.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s := &settings{c}
	shelf, err := openShelf(p, func() *settings { return s })
	if err != nil {
		t.Fatal(err)
	}
	domain, err := nodeDomain(shelf.services, s)
	if err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t.Context(), p, s, nodeOptions{
		domain: domain,
		local:  func(string) (*tls.Config, error) { return nil, errors.New("not this one") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close(t.Context()) })
	return n, p, s
}

// What comes in over the onion service is let in without TLS, is offered TLS all
// the same, and is shown a certificate with nothing of this machine in it.
func TestNodeBehindGate(t *testing.T) {
	n, p, _ := testNode(t, "[node]\npublish = true\n")
	if !strings.HasSuffix(n.domain, ".onion") {
		t.Fatalf("the domain is %q", n.domain)
	}
	g := newGates(filepath.Join(p.runtime, "gates"), forward.DefaultLimits, slog.New(slog.DiscardHandler))
	g.node = n
	defer g.close()
	service := onion.Service{Name: "node", Ports: nodePorts(), CircuitID: true}
	ports, err := g.targets(service)
	if err != nil || len(ports) != 2 || !strings.HasPrefix(ports[0].Target, "unix:") {
		t.Fatalf("%v, %v", ports, err)
	}
	dial := func(target string) net.Conn {
		t.Helper()
		c, err := net.Dial("unix", strings.TrimPrefix(target, "unix:"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "PROXY TCP6 fc00:dead:beef:4dad::0:29 ::1 0 5222\r\n")
		return c
	}
	c := dial(ports[0].Target)
	_, _ = io.WriteString(c, "<stream:stream to='"+n.domain+"' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
	features := ""
	for !strings.Contains(features, "</stream:features>") {
		b := make([]byte, 4096)
		k, err := c.Read(b)
		if features += string(b[:k]); err != nil {
			t.Fatalf("%v after %s", err, features)
		}
	}
	if !strings.Contains(features, "<starttls") || strings.Contains(features, "<required/>") || !strings.Contains(features, "SCRAM-SHA-256<") {
		t.Errorf("offered is %s", features)
	}

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		inside := tls.Client(dial(ports[1].Target), &tls.Config{ServerName: n.domain, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			leaf := s.PeerCertificates[0]
			if text := leaf.Subject.String() + leaf.Issuer.String(); len(s.PeerCertificates) != 1 || strings.Contains(text, host) || leaf.VerifyHostname(n.domain) != nil {
				t.Errorf("%d certificates: %s", len(s.PeerCertificates), text)
			}
			return nil
		}})
		if err := inside.Handshake(); err != nil {
			t.Fatal(err)
		}
	}

	// Without circuits it is tor's own user who connects, over loopback.
	service.CircuitID = false
	if ports, err = g.targets(service); err != nil || !strings.HasPrefix(ports[0].Target, "127.0.0.1:") {
		t.Errorf("%v, %v", ports, err)
	}
	service.Proxy, service.CircuitID = "v2", true
	if _, err := g.targets(service); err == nil {
		t.Error("a PROXY header for the node was accepted")
	}
}

// A node that others cannot have accounts at is not published, whatever the shelf says.
func TestLocalNodeIsNotPublished(t *testing.T) {
	n, p, _ := testNode(t, "")
	for _, one := range []*node{n, nil} {
		g := newGates(filepath.Join(p.runtime, "gates"), forward.DefaultLimits, slog.New(slog.DiscardHandler))
		g.node = one
		if ports, err := g.targets(onion.Service{Name: "node", Ports: nodePorts(), CircuitID: true}); err == nil {
			t.Errorf("published at %v", ports)
		}
		g.close()
	}
}

// The address stays, with its certificate, as long as the state folder does; a key
// that was brought before the first start is the node's.
func TestNodeDomainStays(t *testing.T) {
	n, p, s := testNode(t, "[node]\ndomain = \"onion\"\n")
	before, err := os.ReadFile(filepath.Join(p.state, "node-tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	n.close(t.Context())
	shelf, err := openShelf(p, func() *settings { return s })
	if err != nil {
		t.Fatal(err)
	}
	e, err := shelf.services.Get(nodeService)
	if err != nil || !e.Disabled || e.Address != n.domain {
		t.Fatalf("%+v, %v", e, err)
	}
	again, err := openNode(t.Context(), p, s, nodeOptions{domain: n.domain, local: func(string) (*tls.Config, error) { return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer again.close(t.Context())
	after, err := os.ReadFile(filepath.Join(p.state, "node-tls.pem"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the certificate changed (%v)", err)
	}
	if hostedDomain(p, s) != n.domain {
		t.Errorf("hosted is %q", hostedDomain(p, s))
	}

	key, err := onion.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := onion.OpenShelf(filepath.Join(t.TempDir(), "shelf"))
	if err != nil {
		t.Fatal(err)
	}
	ports := []onion.Port{{Virtual: 5222, Target: keyOnlyTarget}}
	if _, err := other.Create(onion.Service{Name: nodeService, Disabled: true, Ports: ports}, key); err != nil {
		t.Fatal(err)
	}
	if domain, err := nodeDomain(other, s); err != nil || domain != key.Address() {
		t.Errorf("%q, %v", domain, err)
	}
	taken, err := onion.OpenShelf(filepath.Join(t.TempDir(), "shelf"))
	if err != nil {
		t.Fatal(err)
	}
	ports[0].Target = "127.0.0.1:15222"
	if _, err := taken.Create(onion.Service{Name: nodeService, Ports: ports}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := nodeDomain(taken, s); err == nil || !strings.Contains(err.Error(), "leads to another server") {
		t.Errorf("another server's service became the node's: %v", err)
	}
}

// The certificate of the configuration must be for the domain.
func TestNodeCertificate(t *testing.T) {
	dir := t.TempDir()
	text, err := selfSigned("example.org")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "cert.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]string{"example.org": "", "example.net": "not example.net"} {
		c, err := config.Parse("config.toml", []byte("[node]\ndomain = \""+domain+"\"\ncertificate = \""+file+"\"\nkey = \""+file+"\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		own, err := nodeCertificate(&settings{c}, domain)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", domain, err)
		}
		if err == nil {
			conf, _ := own(domain)
			if leaf, err := x509.ParseCertificate(conf.Certificates[0].Certificate[0]); err != nil || leaf.DNSNames[0] != "example.org" {
				t.Errorf("%v", err)
			}
		}
	}
}
