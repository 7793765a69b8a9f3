//go:build e2e

// Package scanners holds what a check says of a server's TLS against what testssl.sh
// and sslscan say of it: the versions, the cipher suites, the certificate.
//
// All three look at the same real server on loopback, whose domain is localhost: both
// scanners open the stream to the host that they connect to, so its name must be one
// that resolves without DNS.
package scanners

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/probe"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

const domain = "localhost"

// endpoint is what all three look at.
type endpoint struct {
	port     int
	startTLS bool
}

// seen is what one of them says of it.
type seen struct {
	versions map[string]bool            // "1.0" … "1.3": accepted?
	suites   map[string]map[uint16]bool // accepted, by version
	cert     map[string]string          // facts, as crypto/x509 would write them
}

// TestScannersAgree compares, for each server, each version's verdict, the classes of
// cipher suites, and the facts of the certificate.
//
// What differs by intent, and is not compared: with versions before 1.3 a check asks
// for one suite of each class, as they stand and fall together, and the scanners for
// every one.
func TestScannersAgree(t *testing.T) {
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		kind    string
		options peers.Options
		key     crypto.Signer
		direct  bool
		want    string // versions
		classes int    // of the most that a version has, so that agreeing on nothing is no pass
	}{
		{"Prosody", "prosody", peers.Options{}, ecdsaKey, false, "1.2 1.3", 1},
		{"ejabberd", "ejabberd", peers.Options{}, rsaKey, true, "1.2 1.3", 4},
		{"a weak Prosody", "prosody", peers.Options{Weak: true}, rsaKey, false, "1.0 1.1 1.2 1.3", 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			leaf, err := ca.Leaf(lab.CALeaf{Names: []string{domain, "conference." + domain}, Key: tt.key})
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			o := tt.options
			o.Domain, o.Cert, o.Key = domain, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
			if err := lab.WriteCertificate(leaf, o.Cert, o.Key); err != nil {
				t.Fatal(err)
			}
			if err := ca.Write(dir); err != nil {
				t.Fatal(err)
			}
			srv := peers.Start(t, peers.Servers()[tt.kind], o)
			e := endpoint{srv.StartTLS, true}
			if tt.direct {
				e = endpoint{srv.DirectTLS, false}
			}
			var all [3]seen
			var wg sync.WaitGroup
			for i, look := range []func(*testing.T, string, endpoint) seen{ours(ca.Pool()), sslscan, testssl} {
				wg.Go(func() { all[i] = look(t, dir, e) })
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			if got := accepted(all[0]); got != tt.want {
				t.Errorf("it accepts TLS %s, and should %s", got, tt.want)
			}
			most := 0
			for version, suites := range all[0].suites {
				if version != "1.3" {
					most = max(most, len(suites))
				}
			}
			if most != tt.classes {
				t.Errorf("%d classes, want %d: %v", most, tt.classes, named(all[0]))
			}
			compare(t, "sslscan", all[0], all[1])
			compare(t, "testssl.sh", all[0], all[2])
		})
	}
}

// compare tells where a scanner says something else than we.
func compare(t *testing.T, name string, our, their seen) {
	t.Helper()
	if len(their.versions) == 0 || len(their.cert) == 0 {
		t.Errorf("%s saw nothing: %+v", name, their)
		return
	}
	for version, theirs := range their.versions {
		if our.versions[version] != theirs {
			t.Errorf("TLS %s: accepted %v, and %s says %v", version, our.versions[version], name, theirs)
		}
	}
	class := map[uint16]string{}
	for _, s := range probe.Suites() {
		class[s.ID] = s.Class
	}
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		found := map[string]uint16{}
		for id := range our.suites[version] {
			found[class[id]] = id
			if !their.suites[version][id] {
				t.Errorf("TLS %s: we had %04X accepted, and %s not", version, id, name)
			}
		}
		for id := range their.suites[version] {
			switch c, known := class[id]; {
			case !known:
				t.Errorf("TLS %s: %s had %04X accepted, which is of no class", version, name, id)
			case found[c] == 0:
				t.Errorf("TLS %s: %s had %04X accepted, and we nothing of the class %q", version, name, id, c)
			}
		}
	}
	if us, them := our.suites["1.3"], their.suites["1.3"]; !maps.Equal(us, them) {
		t.Errorf("TLS 1.3: we had %04X accepted, and %s %04X", slices.Sorted(maps.Keys(us)), name, slices.Sorted(maps.Keys(them)))
	}
	for fact, theirs := range their.cert {
		if our.cert[fact] != theirs {
			t.Errorf("certificate, %s: %q, and %s says %q", fact, our.cert[fact], name, theirs)
		}
	}
}

func accepted(s seen) string {
	var list []string
	for v, ok := range s.versions {
		if ok {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func named(s seen) string {
	var b strings.Builder
	for _, v := range slices.Sorted(maps.Keys(s.suites)) {
		fmt.Fprintf(&b, "%s:%04X ", v, slices.Sorted(maps.Keys(s.suites[v])))
	}
	return b.String()
}

// ours is what a check sees and says.
func ours(roots *x509.CertPool) func(*testing.T, string, endpoint) seen {
	return func(t *testing.T, _ string, e endpoint) seen {
		at := policy.Endpoint{Transport: policy.DirectTLS, Host: domain, Port: uint16(e.port)}
		if e.startTLS {
			at.Transport = policy.STARTTLS
		}
		o, err := probe.Probe(t.Context(), probe.Target{Domain: domain, Endpoints: []policy.Endpoint{at}}, probe.Options{Dialer: here{}, Roots: roots})
		if err != nil {
			t.Error(err)
			return seen{}
		}
		tls := o.Endpoints[0].TLS
		if tls == nil || tls.Err != "" {
			t.Errorf("%+v", o.Endpoints[0])
			return seen{}
		}
		number := map[string]uint16{"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_AES_256_GCM_SHA384": 0x1302, "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
			"TLS_AES_128_CCM_SHA256": 0x1304, "TLS_AES_128_CCM_8_SHA256": 0x1305}
		for _, s := range probe.Suites() {
			number[s.Name] = s.ID
		}
		s := seen{versions: map[string]bool{}, suites: map[string]map[uint16]bool{}}
		for version, why := range tls.Versions {
			s.versions[version] = why == ""
		}
		for version, names := range tls.Accepted {
			s.suites[version] = map[uint16]bool{}
			for _, name := range names {
				s.suites[version][number[name]] = true
			}
		}
		s.cert = facts(tls.Chain[0])
		s.cert["trust"], s.cert["name"] = strconv.FormatBool(tls.ChainErr == ""), strconv.FormatBool(tls.NameErr == "")
		verdicts(t, o)
		return s
	}
}

// verdicts sees that the checks say what was seen, so that agreeing in what was seen
// is agreeing in what a person reads.
func verdicts(t *testing.T, o *audit.Observation) {
	tls := o.Endpoints[0].TLS
	old := tls.Versions["1.0"] == "" || tls.Versions["1.1"] == ""
	for _, f := range audit.Judge(o, audit.Checks()) {
		switch f.ID {
		case "tls.version":
			if (f.Verdict == audit.Pass) == old {
				t.Errorf("%+v of %v", f, tls.Versions)
			}
		case "tls.cipher":
			if bad := strings.Contains(fmt.Sprint(tls.Accepted), "NULL") || strings.Contains(fmt.Sprint(tls.Accepted), "_anon_"); (f.Verdict == audit.Fail) != bad {
				t.Errorf("%+v of %v", f, tls.Accepted)
			}
		case "cert.key", "cert.chain", "cert.name":
			if f.Verdict != audit.Pass {
				t.Errorf("%+v", f)
			}
		}
	}
}

// here dials the one name there is.
type here struct{}

func (here) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != domain {
		return nil, fmt.Errorf("nobody knows %s", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+port)
}

const minute = "2006-01-02 15:04"

// patience is for one scanner at one server, on a machine that has other things to do.
const patience = 4 * time.Minute
