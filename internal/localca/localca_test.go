package localca

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func openIn(t *testing.T, dir string, constrain ...string) *CA {
	t.Helper()
	ca, err := Open(dir, constrain)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// connect is a client of domain that trusts trusted alone.
func connect(ca, trusted *CA, domain string, client *tls.Config) (tls.ConnectionState, error) {
	conf, err := ca.ServerConfig(domain)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer l.Close()
	go func() {
		if b, err := l.Accept(); err == nil {
			_ = tls.Server(b, conf).Handshake()
			_ = b.Close()
		}
	}()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer a.Close()
	_ = a.SetDeadline(time.Now().Add(5 * time.Second))
	client.RootCAs = x509.NewCertPool()
	client.RootCAs.AddCert(trusted.Certificate())
	client.ServerName = strings.Trim(domain, "[]")
	c := tls.Client(a, client)
	err = c.Handshake()
	return c.ConnectionState(), err
}

func TestClientsAccept(t *testing.T) {
	ca := openIn(t, t.TempDir()+"/ca")
	for domain, name := range map[string]string{
		"example.org":           "example.org",
		"xn--bcher-kva.example": "bücher.example",
		"192.0.2.7":             "192.0.2.7",
		"2001:db8::1":           "[2001:db8::1]",
		"2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion": "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
	} {
		for _, client := range []*tls.Config{{}, {MaxVersion: tls.VersionTLS12}, {NextProtos: []string{"xmpp-client"}}} {
			s, err := connect(ca, ca, domain, client)
			if err != nil {
				t.Errorf("%s: %v", domain, err)
				continue
			}
			if (s.NegotiatedProtocol == "xmpp-client") != (len(client.NextProtos) > 0) {
				t.Errorf("%s: protocol %q", domain, s.NegotiatedProtocol)
			}
			leaf := s.PeerCertificates[0]
			if !strings.Contains(string(leaf.Raw), "\x0c"+string(rune(len(name)))+name) { // UTF8String
				t.Errorf("%s: no XmppAddr %s", domain, name)
			}
			if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 91*24*time.Hour {
				t.Errorf("%s: valid for %v", domain, life)
			}
		}
	}
	for _, bad := range []string{"", "a b", "a\x00b", strings.Repeat("x", 300)} {
		if _, err := ca.ServerConfig(bad); err == nil {
			t.Errorf("a certificate for %q", bad)
		}
	}
	if _, err := connect(ca, ca, "example.org", &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if _, err := connect(ca, openIn(t, t.TempDir()+"/ca"), "example.org", &tls.Config{}); err == nil {
		t.Error("two machines have the same authority")
	}
}

// TestConstraints: in the certificate, for clients to check, and before one is
// made in vain.
func TestConstraints(t *testing.T) {
	ca := openIn(t, t.TempDir()+"/ca", "example.org", "Bücher.example", "example.org")
	cert := ca.Certificate()
	if !slices.Equal(cert.PermittedDNSDomains, []string{"example.org", "xn--bcher-kva.example"}) || !cert.PermittedDNSDomainsCritical || len(cert.ExcludedIPRanges) != 2 {
		t.Errorf("constraints %q, critical: %t, not %v", cert.PermittedDNSDomains, cert.PermittedDNSDomainsCritical, cert.ExcludedIPRanges)
	}
	if !cert.IsCA || !cert.MaxPathLenZero || cert.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("authority %t, path %d, usage %b", cert.IsCA, cert.MaxPathLen, cert.KeyUsage)
	}
	for _, domain := range []string{"example.org", "im.example.org"} {
		if _, err := connect(ca, ca, domain, &tls.Config{}); err != nil {
			t.Errorf("%s: %v", domain, err)
		}
	}
	for _, domain := range []string{"example.com", "notexample.org", "org", "192.0.2.7"} {
		_, err := ca.ServerConfig(domain)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("[domain.%q]", domain)) {
			t.Errorf("%s: %v", domain, err)
		}
		// Whoever has the key is not held by our own check.
		free := &CA{cert: ca.cert, key: ca.key, now: time.Now, leaves: map[string]*leaf{}}
		if _, err := connect(free, ca, domain, &tls.Config{}); err == nil {
			t.Errorf("a client accepts a certificate for %s", domain)
		}
	}
	numbers := openIn(t, t.TempDir()+"/ca", "192.0.2.7")
	if _, err := connect(numbers, numbers, "192.0.2.7", &tls.Config{}); err != nil {
		t.Error(err)
	}
	numbers.constrain = nil
	for _, domain := range []string{"192.0.2.8", "example.org"} {
		if _, err := connect(numbers, numbers, domain, &tls.Config{}); err == nil {
			t.Errorf("a client accepts a certificate for %s", domain)
		}
	}
	if _, err := Open(t.TempDir()+"/ca", []string{"a b"}); err == nil {
		t.Error("bound to nonsense")
	}
}

// TestOpenAgain: what is there stays, and only what must changes.
func TestOpenAgain(t *testing.T) {
	dir := t.TempDir() + "/state/ca"
	start := time.Now()
	first := openIn(t, dir)
	for name, mode := range map[string]os.FileMode{"": 0o700 | os.ModeDir, keyFile: 0o600, certFile: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(dir + "/.*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for _, c := range []struct {
		name      string
		constrain []string
		now       time.Time
		changed   bool
	}{
		{"the same", nil, start, false},
		{"constrained", []string{"b.example", "a.example"}, start, true},
		{"in another order", []string{"a.example", "B.example"}, start, false},
		{"otherwise constrained", []string{"a.example"}, start, true},
		{"an address", []string{"a.example", "192.0.2.7"}, start, true},
		{"not constrained", nil, start, true},
		{"years later", nil, start.Add(9 * 365 * 24 * time.Hour), false},
		{"near its end", nil, start.Add(caLife - caRenew/2), true},
	} {
		ca, err := open(dir, c.constrain, func() time.Time { return c.now })
		if err != nil {
			t.Fatal(err)
		}
		if ca.Changed() != c.changed || !ca.key.Equal(first.key) {
			t.Errorf("%s: changed %t, same key %t", c.name, ca.Changed(), ca.key.Equal(first.key))
		}
		text, err := os.ReadFile(ca.File())
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := pem.Decode(text); block == nil || string(block.Bytes) != string(ca.Certificate().Raw) {
			t.Errorf("%s: the file is another certificate", c.name)
		}
	}
	if first.Changed() {
		t.Error("a new authority says that it replaces one")
	}
	sum := sha256.Sum256(first.Certificate().Raw)
	if got := strings.ToLower(strings.ReplaceAll(first.Fingerprint(), ":", "")); got != hex.EncodeToString(sum[:]) {
		t.Errorf("fingerprint %s", first.Fingerprint())
	}
}

// TestUnsafe: each thing that is wrong is named, with what puts it right, and
// nothing is written over.
func TestUnsafe(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(dir string) error
		says string
	}{
		{"directory for all", func(dir string) error { return os.Chmod(dir, 0o755) }, "chmod 700 "},
		{"key for all", func(dir string) error { return os.Chmod(dir+"/"+keyFile, 0o644) }, "chmod 600 "},
		{"key for the group", func(dir string) error { return os.Chmod(dir+"/"+keyFile, 0o640) }, "chmod 600 "},
		{"no key in it", func(dir string) error { return os.WriteFile(dir+"/"+keyFile, []byte("secret words"), 0o600) }, keyFile + " does not hold"},
		{"empty key", func(dir string) error { return os.WriteFile(dir+"/"+keyFile, nil, 0o600) }, keyFile + " does not hold"},
		{"key is a directory", func(dir string) error {
			return errors.Join(os.Remove(dir+"/"+keyFile), os.Mkdir(dir+"/"+keyFile, 0o700))
		}, "not a regular file"},
		{"no certificate in it", func(dir string) error { return os.WriteFile(dir+"/"+certFile, []byte("x"), 0o600) }, "delete "},
		{"certificate for all to write", func(dir string) error { return os.Chmod(dir+"/"+certFile, 0o666) }, "chmod 600 "},
	} {
		dir := t.TempDir() + "/ca"
		openIn(t, dir)
		if err := c.harm(dir); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(dir + "/" + keyFile)
		_, err := Open(dir, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", c.name, err)
		}
		if after, _ := os.ReadFile(dir + "/" + keyFile); string(after) != string(before) {
			t.Errorf("%s: the key was written over", c.name)
		}
	}
}

// TestHalfThere: a crash between the two files, a lost key, and two starts at a
// time.
func TestHalfThere(t *testing.T) {
	dir := t.TempDir() + "/ca"
	first := openIn(t, dir)
	if err := os.Remove(first.File()); err != nil {
		t.Fatal(err)
	}
	if ca := openIn(t, dir); !ca.key.Equal(first.key) || ca.Changed() {
		t.Error("without a certificate, the key is not the same")
	}
	if err := os.Remove(dir + "/" + keyFile); err != nil {
		t.Fatal(err)
	}
	ca := openIn(t, dir)
	if ca.key.Equal(first.key) || !ca.Changed() {
		t.Error("a new key is not told")
	}
	if _, err := connect(ca, ca, "example.org", &tls.Config{}); err != nil {
		t.Error(err)
	}

	dir = t.TempDir() + "/ca"
	keys := make([]*CA, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i], _ = Open(dir, nil) })
	}
	wg.Wait()
	for _, ca := range keys {
		if ca == nil || !ca.key.Equal(keys[0].key) {
			t.Fatal("two starts at a time made two keys")
		}
	}
}

// TestLeaves: one configuration for all clients of a domain, a bounded number of
// domains, and a new certificate in time.
func TestLeaves(t *testing.T) {
	now := time.Now()
	ca, err := open(t.TempDir()+"/ca", nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	get := func(domain string) *tls.Config {
		t.Helper()
		conf, err := ca.ServerConfig(domain)
		if err != nil {
			t.Fatal(err)
		}
		return conf
	}
	first := get("example.org")
	if get("example.org") != first {
		t.Error("each client has a configuration of its own")
	}
	if !first.SessionTicketsDisabled || first.MinVersion != tls.VersionTLS12 || first.Certificates[0].Leaf == nil {
		t.Error("configuration is not as it should be")
	}
	now = now.Add(leafLife - leafRenew - time.Hour)
	if get("example.org") != first {
		t.Error("renewed too early")
	}
	now = now.Add(2 * time.Hour)
	renewed := get("example.org")
	if renewed == first || !renewed.Certificates[0].Leaf.NotAfter.After(now.Add(leafLife-time.Minute)) {
		t.Error("not renewed in time")
	}
	for i := range 2 * maxLeaves {
		get(fmt.Sprintf("a%d.example", i))
		now = now.Add(time.Second)
	}
	if len(ca.leaves) > maxLeaves {
		t.Errorf("%d certificates are kept", len(ca.leaves))
	}
	if get("example.org") == renewed {
		t.Error("the oldest was not dropped")
	}
}

// memory is a store for tests. With fail set it refuses to change.
type memory struct {
	list []*x509.Certificate
	fail error
}

func (m *memory) SameKey(*x509.Certificate) ([]*x509.Certificate, error) {
	return slices.Clone(m.list), nil
}

func (m *memory) Add(c *x509.Certificate) error {
	if m.fail == nil {
		m.list = append(m.list, c)
	}
	return m.fail
}

func (m *memory) Remove(c *x509.Certificate) error {
	if m.fail == nil {
		m.list = slices.DeleteFunc(m.list, c.Equal)
	}
	return m.fail
}

func TestTrust(t *testing.T) {
	dir, store := t.TempDir()+"/ca", &memory{}
	ca := openIn(t, dir)
	check := func(what string, got bool, err error, want bool) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %t, %v", what, got, err)
		}
	}
	got, err := ca.Trusted(store)
	check("trusted before", got, err, false)
	got, err = ca.Install(store)
	check("install", got, err, true)
	got, err = ca.Trusted(store)
	check("trusted", got, err, true)
	got, err = ca.Install(store)
	check("install again", got, err, false)

	bound := openIn(t, dir, "example.org")
	got, err = bound.Trusted(store)
	check("the unbound one is not the bound one", got, err, false)
	got, err = bound.Install(store)
	check("install the bound one", got, err, true)
	if len(store.list) != 1 || !store.list[0].Equal(bound.Certificate()) {
		t.Errorf("the unbound authority is still trusted: %d certificates", len(store.list))
	}
	store.fail = errors.New("not root")
	if _, err := bound.Uninstall(store); !errors.Is(err, store.fail) {
		t.Error(err)
	}
	store.fail = nil
	got, err = bound.Uninstall(store)
	check("uninstall", got, err, true)
	got, err = bound.Uninstall(store)
	check("uninstall again", got, err, false)
	store.fail = errors.New("not root")
	if _, err := bound.Install(store); !errors.Is(err, store.fail) {
		t.Error(err)
	}
	if text := bound.Advice(); !strings.Contains(text, bound.File()) {
		t.Error(text)
	}
}
