package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/proxy"
	"xmpp-gw/tests/lab"
)

// features makes the features of a stream from their names.
func features(mechanisms ...string) *xmppstream.Node {
	n := &xmppstream.Node{Space: xmppstream.NSStream, Name: "features"}
	list := &xmppstream.Node{Space: xmppstream.NSSASL, Name: "mechanisms"}
	for _, m := range mechanisms {
		list.Children = append(list.Children, &xmppstream.Node{Space: xmppstream.NSSASL, Name: "mechanism", Text: m})
	}
	n.Children = append(n.Children, list)
	return n
}

// sight is a login at a server with a good certificate.
func sight(t *testing.T, d policy.Decision, mechanisms ...string) proxy.Sight {
	t.Helper()
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(lab.CALeaf{Names: []string{"example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ca.Write(dir); err != nil {
		t.Fatal(err)
	}
	d.CAFile = dir + "/ca.pem"
	startTLS := &xmppstream.Node{Space: xmppstream.NSStream, Name: "features", Children: []*xmppstream.Node{
		{Space: xmppstream.NSTLS, Name: "starttls", Children: []*xmppstream.Node{{Space: xmppstream.NSTLS, Name: "required"}}}}}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go tls.Server(far, &tls.Config{Certificates: []tls.Certificate{leaf}}).Handshake()
	conn := tls.Client(near, &tls.Config{ServerName: "example.org", RootCAs: ca.Pool()})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := conn.ConnectionState()
	return proxy.Sight{Domain: "example.org", At: time.Now(), Decision: d, Identity: "DNS-ID example.org", TLS: &state,
		Endpoint: policy.Endpoint{Transport: policy.STARTTLS, Host: "xmpp.example.org", Port: 5222},
		Openings: []proxy.Opening{{From: "example.org", ID: "1", Version: "1.0", Features: startTLS},
			{Secure: true, From: "example.org", ID: "2", Version: "1.0", Features: features(mechanisms...)}},
		Mechanism: mechanisms[0]}
}

// TestVerdict: what a login shows is judged by the same checks, and nothing is said
// of what it does not show.
func TestVerdict(t *testing.T) {
	if _, err := audit.Select(judgeable()); err != nil {
		t.Fatal(err)
	}
	good := policy.Decision{Route: policy.Route{Kind: policy.RouteTor}, PQ: policy.PQPrefer, SASL: policy.Originate, Mode: policy.Enforce}
	for _, tt := range []struct {
		name       string
		mechanisms []string
		change     func(*proxy.Sight)
		grade      string
		worst      string
	}{
		{"bound", []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}, nil, "B", "warn medium"},
		{"PLAIN alone", []string{"PLAIN"}, nil, "C", "fail medium sasl.scram"},
		{"before TLS", []string{"SCRAM-SHA-256"}, func(v *proxy.Sight) { v.Openings[0].Features = features("PLAIN") }, "F", "fail critical"},
		{"another domain's certificate", []string{"SCRAM-SHA-256"}, func(v *proxy.Sight) { v.Domain, v.Openings[1].From = "other.test", "other.test" }, "F", "fail critical cert.name"},
		{"the same, and a pin", []string{"SCRAM-SHA-256"}, func(v *proxy.Sight) {
			v.Domain, v.Openings[0].From, v.Openings[1].From, v.Identity = "other.test", "other.test", "other.test", "pin"
		}, "B", "warn medium"},
		{"no post-quantum key exchange", []string{"SCRAM-SHA-256-PLUS"}, func(v *proxy.Sight) { v.TLS.CurveID, v.Mechanism, v.Identity = tls.X25519, "EXTERNAL", "pin" }, "B", "warn medium cb.types"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := sight(t, good, tt.mechanisms...)
			if tt.change != nil {
				tt.change(&v)
			}
			got := verdictOf(v)
			worst := ""
			if got.Worst != nil {
				worst = got.Worst.Verdict + " " + got.Worst.Severity + " " + got.Worst.ID
			}
			if got.Grade != tt.grade || len(worst) < len(tt.worst) || worst[:len(tt.worst)] != tt.worst {
				t.Errorf("grade %s, worst %q, want %s and %q; %+v", got.Grade, worst, tt.grade, tt.worst, got)
			}
			if got.Domain != v.Domain || got.Route != "tor" || got.Mode != "enforce" || got.Endpoint != "starttls://xmpp.example.org:5222" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestVerdictsAreBounded: the oldest gives way, and a login that finds no place does
// not wait.
func TestVerdictsAreBounded(t *testing.T) {
	s := newVerdicts()
	for i := range maxVerdicts + 10 {
		s.put(control.Verdict{Domain: fmt.Sprintf("d%03d.example", i), At: time.Unix(int64(i), 0)})
	}
	list := s.Verdicts()
	if len(list) != maxVerdicts || list[0].Domain != "d010.example" {
		t.Errorf("%d are kept, from %s on", len(list), list[0].Domain)
	}
	for range 2 * sightings {
		s.saw(proxy.Sight{})
	}
	if len(s.seen) != sightings {
		t.Errorf("%d wait", len(s.seen))
	}
}
