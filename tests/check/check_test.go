//go:build e2e

// Package check holds what `xmpp-gw check` says against real servers: Prosody and
// ejabberd, each set up well and then wrong in one way or another.
//
// A case is a few lines on top of a good configuration (testdata/prosody.cfg.lua,
// testdata/ejabberd.yml). Everything that is found in it is compared, whole, with
// testdata/CASE.txt: a line for each thing that was found, with the places where it was.
// Below that stands what is printed to mend it,
// and what is found when just that was put into the configuration:
//
//	fail    critical  sasl.pretls  c2s:  before TLS: PLAIN
//	…
//	# The fixes for prosody, and then:
//	…
//	pass    critical  sasl.pretls  c2s:  none before TLS
//
// So the lines that a report prints are the lines that are tested: each that names a
// setting of one of the servers turns its finding into a pass here, or stands in the
// table of fixes_test.go with the reason why it cannot with Debian's version.
//
// The servers' names are in a signed DNS tree of the test's own, and the dialer
// leads the usual ports to those that the servers have; so a golden file shows 5222,
// whatever port it was.
//
//	go test -tags e2e ./tests/check -run TestServers/each/prosody-plain
//	go test -tags e2e ./tests/check -update     # then read the difference
package check

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/probe"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

var update = flag.Bool("update", false, "write the golden files")

// domain is that of the accounts, and host where its servers are.
const domain, host = "example.test", "xmpp.example.test"

// variant is one configuration.
type variant struct {
	name  string // begins with the kind of server
	lines string // on top of the good configuration
	// without is what is taken out of it.
	without []string
	// weak lets OpenSSL do what Debian's does not do by itself.
	weak bool

	leaf lab.CALeaf // the certificate; without names: a good one

	login bool // an account is looked through too

	zone  []string // records beside those of the good zone, or in place of those that have the same name and type
	spoil func(*lab.SignedZone)
}

func (v variant) kind() string { kind, _, _ := strings.Cut(v.name, "-"); return kind }

// TestMain lets more servers run at a time than there are processors: most of the
// time they wait for what does not come.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestServers(t *testing.T) {
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	shown := map[string]bool{} // fixes that did what they should
	ran := 0
	t.Run("each", func(t *testing.T) {
		for _, v := range variants {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				fixed := v.test(t, ca)
				mu.Lock()
				defer mu.Unlock()
				ran++
				for _, id := range fixed {
					shown[id] = true
				}
			})
		}
	})
	if ran < len(variants) {
		return // not all were asked for
	}
	for _, id := range missing(shown) {
		t.Errorf("no variant shows that the fix of %s mends anything, and the table elsewhere does not say why", id)
	}
}

// test looks at the server, then once more with the fixes that were printed, and
// gives those that did what they should: "ID SERVER".
func (v variant) test(t *testing.T, ca *lab.CA) (fixed []string) {
	dir := t.TempDir()
	key := certificates(t, ca, dir, v)
	first := judge(t, ca, dir, key, v, nil)
	got := golden(first)
	fixes, lines := printed(first, v.kind()), records(first)
	if len(fixes)+len(lines) > 0 {
		if len(v.leaf.Names) > 0 {
			v.leaf = lab.CALeaf{}
			key = certificates(t, ca, dir, v) // what the authority gave when it was asked again
		}
		v.zone = append(slices.Clone(v.zone), lines...)
		then := judge(t, ca, dir, key, v, fixes)
		got += "\n# The fixes for " + v.kind() + " and for the zone:\n#\n" + comment(append(fixes, lines...)) + "\n# And then, what is different:\n\n" + changed(first, then)
		for _, f := range then {
			if f.Verdict == audit.Fail && !failed(first, f) && elsewhere[f.ID][v.kind()] == "" {
				t.Errorf("the fixes bring a failure: %s at %s: %s", f.ID, f.Target, f.Evidence)
			}
		}
		for _, f := range first {
			for _, server := range []string{v.kind(), ""} {
				switch {
				case !settings(server, f.Fix[server]):
				case mended(then, f):
					fixed = append(fixed, f.ID+" "+server)
				case elsewhere[f.ID][server] == "":
					t.Errorf("%s is still found at %s after the fix that is printed for it:\n%s", f.ID, f.Target, f.Fix[server])
				}
			}
		}
	}
	compare(t, filepath.Join("testdata", v.name+".txt"), got)
	return fixed
}

// certificates lays out the certificates of a server as certbot does, and says what
// TLSA records say of the key.
func certificates(t *testing.T, ca *lab.CA, dir string, v variant) string {
	t.Helper()
	live := filepath.Join(dir, "live", domain)
	good := lab.CALeaf{Names: []string{domain}}
	leaf := v.leaf
	if len(leaf.Names) == 0 {
		leaf = good
	}
	cert, err := ca.Leaf(leaf)
	other, err2 := ca.Leaf(good)
	err = errors.Join(err, err2, os.MkdirAll(live, 0o700))
	if err == nil {
		err = errors.Join(
			lab.WriteCertificate(cert, filepath.Join(live, "fullchain.pem"), filepath.Join(live, "privkey.pem")),
			lab.WriteCertificate(other, filepath.Join(dir, "other.pem"), filepath.Join(dir, "other.key")))
	}
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// judge starts the server with more in its configuration, looks at it, and judges it.
func judge(t *testing.T, ca *lab.CA, dir, key string, v variant, fixes []string) []audit.Finding {
	t.Helper()
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	live := filepath.Join(dir, "live")
	srv := peers.Start(t, peers.Servers()[v.kind()], peers.Options{
		Domain: domain, Cert: filepath.Join(live, domain, "fullchain.pem"), Key: filepath.Join(live, domain, "privkey.pem"),
		Weak: v.weak, Accounts: []peers.Account{{Username: "alice", Password: "wonderland"}},
		Configure: func(p peers.Place) (string, error) {
			at := place{Place: p, Testdata: testdata, Certificates: live, Without: v.without}
			lines := strings.NewReplacer("TESTDIR", dir, "TESTDATA", testdata).Replace(v.lines)
			return configuration(v.kind(), at, lines, slices.Clone(fixes))
		},
	})
	defer srv.Close()

	tree := zone(v, key)
	validator := dnssec.New(dnssec.Config{Exchange: tree.Exchange, Anchors: tree.Anchors()})
	var lines []string
	begin := time.Now()
	var login *probe.Login
	if v.login {
		login = &probe.Login{JID: "alice@" + domain, Password: []byte("wonderland")}
	}
	seen, err := probe.Probe(t.Context(), probe.Target{Domain: domain}, probe.Options{
		Login: login,
		Via:   "direct", Dialer: ports(srv), Second: ports(srv), Lookup: validator.Lookup, Roots: ca.Pool(), S2S: true, Parallel: 16,
		Progress: func(s string) { lines = append(lines, time.Since(begin).Round(10*time.Millisecond).String()+" "+s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(v.name, "took", time.Since(begin).Round(time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(strings.Join(lines, "\n"))
		}
	})
	return audit.NewReport(seen, audit.Judge(seen, audit.Checks())).Findings
}

// zone is a signed tree with what a good server has in it.
func zone(v variant, key string) *lab.SignedTree {
	records := []string{
		domain + ". 300 IN A 192.0.2.1",
		domain + `. 300 IN CAA 128 issue "ca.test; validationmethods=dns-01; accounturi=https://ca.test/acct/1"`,
		host + ". 300 IN A 192.0.2.1",
	}
	for _, s := range []struct {
		label string
		port  int
	}{{"_xmpp-client", 5222}, {"_xmpps-client", 5223}, {"_xmpp-server", 5269}, {"_xmpps-server", 5270}} {
		records = append(records,
			fmt.Sprintf("%s._tcp.%s. 300 IN SRV 0 5 %d %s.", s.label, domain, s.port, host),
			fmt.Sprintf("_%d._tcp.%s. 300 IN TLSA 3 1 1 %s", s.port, host, key))
	}
	for _, r := range v.zone {
		f := strings.Fields(r)
		records = slices.DeleteFunc(records, func(have string) bool { return strings.HasPrefix(have, f[0]+" ") && strings.Fields(have)[3] == f[3] })
		if f[len(f)-1] != "NONE" {
			records = append(records, r)
		}
	}
	z := lab.SignedZone{Name: domain + ".", Records: records}
	if v.spoil != nil {
		v.spoil(&z)
	}
	return lab.SignTree(time.Now(), lab.SignedZone{Name: "test."}, z)
}

// table is a dialer that leads names to where they are on this machine.
type table map[string]int

func ports(s *peers.Server) table {
	return table{
		host + ":5222": s.Place.StartTLS, host + ":5223": s.Place.DirectTLS,
		host + ":5269": s.Place.More[0], host + ":5270": s.Place.More[1],
		"alias." + domain + ":5222": s.Place.StartTLS,
		domain + ":5222":            s.Place.StartTLS, domain + ":5269": s.Place.More[0],
		domain + ":443": s.Place.More[2],
	}
}

func (t table) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	port, ok := t[address]
	if !ok {
		return nil, fmt.Errorf("nobody knows %s", address)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, errors.New("connection refused")
	}
	return conn, nil
}
