//go:build e2e

package tests

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/probe"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

// TestProbeServers looks at real servers, in a good and in a bad configuration, and
// compares what was seen with what they were told to be.
func TestProbeServers(t *testing.T) {
	const domain = "example.test"
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(lab.CALeaf{Names: []string{domain}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := lab.WriteCertificate(leaf, cert, key); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind    string
		options peers.Options
		want    map[string]string
	}{
		{"prosody", peers.Options{}, map[string]string{
			"starttls": "required", "plain": "[]", "secure": "PLAIN SCRAM-SHA-1", "versions": "1.2 1.3",
			"form": "false []", "unknown": "host-unknown", "limited": "true"}},
		{"prosody", peers.Options{NoTLS: true, Register: true, MaxTLS: tls.VersionTLS12, Mechanisms: []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}}, map[string]string{
			"starttls": "offered", "plain": "[SCRAM-SHA-1]", "secure": "SCRAM-SHA-1 SCRAM-SHA-1-PLUS", "versions": "1.2",
			"form": "true [username password]", "unknown": "host-unknown", "limited": "true"}},
		{"ejabberd", peers.Options{}, map[string]string{
			"starttls": "required", "plain": "[]", "secure": "PLAIN SCRAM-SHA-1 SCRAM-SHA-1-PLUS X-OAUTH2", "versions": "1.2 1.3",
			"form": "false []", "unknown": "host-unknown", "limited": "false"}},
		{"ejabberd", peers.Options{NoTLS: true, Register: true, MinTLS: tls.VersionTLS13, Mechanisms: []string{"PLAIN", "SCRAM-SHA-1"}}, map[string]string{
			"starttls": "offered", "plain": "[PLAIN SCRAM-SHA-1]", "secure": "PLAIN SCRAM-SHA-1", "versions": "1.3",
			"form": "true [username password]", "unknown": "host-unknown", "limited": "false"}},
	} {
		t.Run(fmt.Sprintf("%s, open %v", tt.kind, tt.options.Register), func(t *testing.T) {
			tt.options.Domain, tt.options.Cert, tt.options.Key = domain, cert, key
			srv := peers.Start(t, peers.Servers()[tt.kind], tt.options)
			var lines []string
			begin := time.Now()
			seen, err := probe.Probe(t.Context(), probe.Target{Domain: domain, Endpoints: []policy.Endpoint{
				{Transport: policy.STARTTLS, Host: "xmpp.test", Port: uint16(srv.StartTLS)},
				{Transport: policy.DirectTLS, Host: "xmpp.test", Port: uint16(srv.DirectTLS)},
			}}, probe.Options{Dialer: hereOnly{}, Second: hereOnly{}, Roots: ca.Pool(), Progress: func(s string) {
				lines = append(lines, time.Since(begin).Round(time.Millisecond).String()+" "+s)
			}})
			took := time.Since(begin)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range seen.Endpoints {
				if e.Err != "" || e.TLS == nil || e.TLS.Err != "" || e.Secure == nil {
					t.Fatalf("%v: %q, %+v, %+v", e.At, e.Err, e.TLS, e.Plain)
				}
				slices.Sort(e.Secure.Mechanisms)
				got := map[string]string{
					"secure":  strings.Join(e.Secure.Mechanisms, " "),
					"form":    fmt.Sprint(e.Registration.Offered, e.Registration.Fields),
					"unknown": e.UnknownHost.Error,
					"limited": fmt.Sprint(e.Preauth.Limited),
				}
				var versions []string
				for v, why := range e.TLS.Versions {
					if why == "" {
						versions = append(versions, v)
					}
				}
				slices.Sort(versions)
				got["versions"] = strings.Join(versions, " ")
				if e.Plain != nil {
					slices.Sort(e.Plain.Mechanisms)
					got["starttls"], got["plain"] = e.Plain.StartTLS, fmt.Sprint(e.Plain.Mechanisms)
					if *e.Injection != (audit.Injection{}) {
						t.Errorf("%v: injection: %+v", e.At, *e.Injection)
					}
				}
				for name, want := range tt.want {
					if have, ok := got[name]; ok && have != want {
						t.Errorf("%v: %s is %q, want %q", e.At, name, have, want)
					}
				}
				if e.TLS.Identity != "DNS-ID "+domain || e.TLS.ChainErr != "" || e.TLS.NameErr != "" || e.Witness == "" || e.Secure.From != domain {
					t.Errorf("%v: %+v, %q", e.At, e.TLS, e.Secure.From)
				}
			}
			if t.Failed() || took > 6*time.Second {
				t.Errorf("it took %v\n%s", took, strings.Join(lines, "\n"))
			}
		})
	}
}

// hereOnly knows one name.
type hereOnly struct{}

func (hereOnly) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "xmpp.test" {
		return nil, fmt.Errorf("nobody knows %s", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+port)
}
