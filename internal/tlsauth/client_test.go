package tlsauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const domain = "example.org"

// decision demands what the defaults demand.
func decision() policy.Decision {
	return policy.Decision{
		Target:  policy.Target{Domain: domain},
		Route:   policy.Route{Kind: policy.RouteTor},
		TLS:     policy.TLSVerify,
		MinTLS:  tls.VersionTLS13,
		PQ:      policy.PQPrefer,
		Pin:     policy.PinOff,
		SCT:     policy.SCTOff,
		Witness: policy.WitnessOff,
		AuthMin: policy.AuthSCRAM,
	}
}

var starttls = policy.Endpoint{Transport: policy.STARTTLS, Host: "xmpp.example.net", Port: 5222}

func newCA(t testing.TB, permitted ...string) *lab.CA {
	t.Helper()
	ca, err := lab.NewCA(permitted...)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newLeaf(t testing.TB, ca *lab.CA, l lab.CALeaf) tls.Certificate {
	t.Helper()
	cert, err := ca.Leaf(l)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// pair is a connection over loopback.
func pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	for _, c := range []net.Conn{client, server} {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return client, server
}

// meet lets Client shake hands with a server of that configuration.
func meet(t testing.TB, o Options, conf *tls.Config) (*Result, error) {
	t.Helper()
	client, server := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := tls.Server(server, conf)
		if s.Handshake() == nil {
			_, _ = io.Copy(io.Discard, s)
		}
		_ = server.Close()
	}()
	conn, r, err := Client(t.Context(), client, o)
	if (err == nil) != (conn != nil && r != nil) {
		t.Fatalf("Client gives %v, %v and %v", conn, r, err)
	}
	_ = client.Close()
	<-done
	return r, err
}

func serverWith(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// TestNames: who is accepted under which name, and what a refusal says.
func TestNames(t *testing.T) {
	ca, held, stranger := newCA(t), newCA(t, "example.com"), newCA(t)
	for _, c := range []struct {
		name     string
		domain   string // example.org if empty
		ca       *lab.CA
		leaf     lab.CALeaf
		identity string // if accepted
		kind     error  // if not
		says     string // in the error
	}{
		{name: "DNS-ID", leaf: lab.CALeaf{Names: []string{"example.org"}}, identity: "DNS-ID example.org"},
		{name: "second DNS-ID", leaf: lab.CALeaf{Names: []string{"a.example", "EXAMPLE.org"}}, identity: "DNS-ID EXAMPLE.org"},
		{name: "wildcard", domain: "im.example.org", leaf: lab.CALeaf{Names: []string{"*.example.org"}}, identity: "DNS-ID *.example.org"},
		{name: "SRV-ID", leaf: lab.CALeaf{SRV: []string{"_xmpp-server.example.org", "_xmpp-client.Example.org"}}, identity: "SRV-ID _xmpp-client.Example.org"},
		{name: "XmppAddr", leaf: lab.CALeaf{XMPPAddr: []string{"example.org"}}, identity: "XmppAddr example.org"},
		{name: "XmppAddr in U-labels", domain: "xn--bcher-kva.example", leaf: lab.CALeaf{XMPPAddr: []string{"bücher.example"}}, identity: "XmppAddr xn--bcher-kva.example"},
		{name: "critical, XmppAddr alone", leaf: lab.CALeaf{XMPPAddr: []string{"example.org"}, CriticalSAN: true}, identity: "XmppAddr example.org"},
		{name: "critical, SRV-ID alone", leaf: lab.CALeaf{SRV: []string{"_xmpp-client.example.org"}, CriticalSAN: true}, identity: "SRV-ID _xmpp-client.example.org"},
		{name: "address", domain: "192.0.2.7", leaf: lab.CALeaf{Names: []string{"192.0.2.7"}}, identity: "IP-ID 192.0.2.7"},
		{name: "IPv6 address", domain: "2001:db8::1", leaf: lab.CALeaf{Names: []string{"2001:db8::1"}}, identity: "IP-ID 2001:db8::1"},

		{name: "other name", leaf: lab.CALeaf{Names: []string{"a.test", "b.test"}, XMPPAddr: []string{"romeo@c.test/balcony"}}, kind: ErrName, says: "it is for a.test, b.test, c.test"},
		{name: "many names", leaf: lab.CALeaf{Names: strings.Split(strings.Repeat("a.test,", 99)+"b.test", ",")}, kind: ErrName, says: "and 95 more"},
		{name: "the endpoint's name", leaf: lab.CALeaf{Names: []string{"xmpp.example.net"}}, kind: ErrName},
		{name: "common name", leaf: lab.CALeaf{CommonName: "example.org"}, kind: ErrName, says: "a common name does not"},
		{name: "common name beside others", leaf: lab.CALeaf{CommonName: "example.org", Names: []string{"a.test"}}, kind: ErrName},
		{name: "wildcard is not the parent", leaf: lab.CALeaf{Names: []string{"*.example.org"}}, kind: ErrName},
		{name: "wildcard is one label", domain: "a.b.example.org", leaf: lab.CALeaf{Names: []string{"*.example.org"}}, kind: ErrName},
		{name: "wildcard under a top-level domain", leaf: lab.CALeaf{Names: []string{"*.org"}}, kind: ErrName},
		{name: "part of a label", domain: "im.example.org", leaf: lab.CALeaf{Names: []string{"i*.example.org", "*m.example.org"}}, kind: ErrName},
		{name: "SRV-ID of another service", leaf: lab.CALeaf{SRV: []string{"_xmpp-server.example.org"}}, kind: ErrName},
		{name: "SRV-ID with wildcard", domain: "im.example.org", leaf: lab.CALeaf{SRV: []string{"_xmpp-client.*.example.org"}}, kind: ErrName},
		{name: "XmppAddr of an account", leaf: lab.CALeaf{XMPPAddr: []string{"juliet@example.org", "example.org/x"}}, kind: ErrName, says: "it is for example.org, example.org"},
		{name: "address as DNS name", domain: "192.0.2.7", leaf: lab.CALeaf{XMPPAddr: []string{"192.0.2.8"}}, kind: ErrName},
		{name: "name with escapes", leaf: lab.CALeaf{XMPPAddr: []string{"\x1b[31mred\u202e.test"}}, kind: ErrName, says: "it is for ?[31mred???.test"},

		{name: "expired", leaf: lab.CALeaf{Names: []string{"example.org"}, Expired: true}, kind: ErrExpired, says: "renew"},
		{name: "not yet valid", leaf: lab.CALeaf{Names: []string{"example.org"}, NotYetValid: true}, kind: ErrNotYet, says: "check the clock"},
		{name: "self-signed", leaf: lab.CALeaf{Names: []string{"example.org"}, SelfSigned: true}, kind: ErrAuthority, says: `tls = "pin" and pins = ["sha256/`},
		{name: "unknown authority", ca: stranger, leaf: lab.CALeaf{Names: []string{"example.org"}}, kind: ErrAuthority, says: `ca = "FILE" in [domain."example.org"]`},
		{name: "for clients", leaf: lab.CALeaf{Names: []string{"example.org"}, Client: true}, kind: ErrCertificate, says: "another purpose"},
		{name: "held to another domain", ca: held, leaf: lab.CALeaf{Names: []string{"example.org"}}, kind: ErrCertificate, says: "may not issue"},
		{name: "held to another domain, XmppAddr", ca: held, leaf: lab.CALeaf{XMPPAddr: []string{"example.org"}}, kind: ErrCertificate, says: "may not issue"},
		{name: "held to another domain, SRV-ID", ca: held, leaf: lab.CALeaf{Names: []string{"example.com"}, SRV: []string{"_xmpp-client.example.org"}}, kind: ErrCertificate},
		{name: "held to this domain, XmppAddr", domain: "im.example.com", ca: held, leaf: lab.CALeaf{XMPPAddr: []string{"im.example.com"}}, identity: "XmppAddr im.example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			issuer := c.ca
			if issuer == nil {
				issuer = ca
			}
			roots := ca.Pool()
			roots.AddCert(held.Certificate())
			d := decision()
			if c.domain != "" {
				d.Target.Domain = c.domain
			}
			r, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: roots}, serverWith(newLeaf(t, issuer, c.leaf)))
			if c.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				if r.Identity != c.identity {
					t.Errorf("identity %q, want %q", r.Identity, c.identity)
				}
				return
			}
			wantError(t, err, c.kind, c.says)
		})
	}
}

// wantError also checks what holds for each error that a person sees.
func wantError(t *testing.T, err, kind error, says string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, kind) {
		t.Fatalf("error %v, want one of kind %q", err, kind)
	}
	text := err.Error()
	if !strings.Contains(text, says) {
		t.Errorf("error %q says nothing of %q", text, says)
	}
	if e.What == "" || e.Why+e.Hint == "" {
		t.Errorf("error %q leaves a person alone", text)
	}
	if strings.Contains(text, "127.0.0.1") || strings.Contains(text, "@") || len(text) > 700 {
		t.Errorf("error %q shows too much", text)
	}
}

// TestHandshakes: everything between "no TLS at all" and what is agreed.
func TestHandshakes(t *testing.T) {
	ca := newCA(t)
	cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	direct := policy.Endpoint{Transport: policy.DirectTLS, Host: "xmpp.example.net", Port: 5223}
	web := policy.Endpoint{Transport: policy.WebSocket, Host: "xmpp.example.net", Port: 443, Path: "/ws"}
	for _, c := range []struct {
		name     string
		decision func(*policy.Decision)
		endpoint policy.Endpoint
		server   func(*tls.Config)
		want     Result
		kind     error
		says     string
	}{
		{name: "best", want: Result{Version: "1.3", Group: "X25519MLKEM768", Cipher: "TLS_AES_128_GCM_SHA256"}},
		{name: "no post-quantum there", server: func(s *tls.Config) { s.CurvePreferences = []tls.CurveID{tls.CurveP256} },
			want: Result{Version: "1.3", Group: "P-256"}},
		{name: "post-quantum off", decision: func(d *policy.Decision) { d.PQ = policy.PQOff }, want: Result{Version: "1.3", Group: "X25519"}},
		{name: "post-quantum required", decision: func(d *policy.Decision) { d.PQ = policy.PQRequire }, want: Result{Version: "1.3", Group: "X25519MLKEM768"}},
		{name: "post-quantum required and not there", decision: func(d *policy.Decision) { d.PQ = policy.PQRequire },
			server: func(s *tls.Config) { s.CurvePreferences = []tls.CurveID{tls.X25519} }, kind: ErrPQ, says: `pq = "prefer"`},
		{name: "post-quantum required, TLS 1.2 allowed", decision: func(d *policy.Decision) { d.PQ, d.MinTLS = policy.PQRequire, tls.VersionTLS12 },
			server: func(s *tls.Config) { s.MaxVersion = tls.VersionTLS12 }, kind: ErrVersion},

		{name: "TLS 1.2", server: func(s *tls.Config) { s.MaxVersion = tls.VersionTLS12 }, kind: ErrVersion, says: `min_tls = "1.2" in [domain."example.org"]`},
		{name: "TLS 1.2 allowed", decision: func(d *policy.Decision) { d.MinTLS = tls.VersionTLS12 },
			server: func(s *tls.Config) { s.MaxVersion = tls.VersionTLS12 },
			want:   Result{Version: "1.2", Group: "X25519", Cipher: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}},
		{name: "TLS 1.2 allowed and 1.3 there", decision: func(d *policy.Decision) { d.MinTLS = tls.VersionTLS12 }, want: Result{Version: "1.3"}},
		{name: "TLS 1.2 with CBC", decision: func(d *policy.Decision) { d.MinTLS = tls.VersionTLS12 },
			server: func(s *tls.Config) {
				s.MaxVersion, s.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
			}, kind: ErrHandshake, says: "none of the ciphers"},
		{name: "TLS 1.1", decision: func(d *policy.Decision) { d.MinTLS = tls.VersionTLS12 },
			server: func(s *tls.Config) { s.MinVersion, s.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, kind: ErrVersion, says: "update"},

		{name: "direct TLS", endpoint: direct, server: func(s *tls.Config) { s.NextProtos = []string{"xmpp-client"} }, want: Result{Version: "1.3"}},
		{name: "direct TLS without ALPN", endpoint: direct, want: Result{Version: "1.3"}},
		{name: "direct TLS to another service", endpoint: direct, server: func(s *tls.Config) { s.NextProtos = []string{"h2", "http/1.1"} }, kind: ErrALPN, says: "5223"},
		{name: "WebSocket", endpoint: web, server: func(s *tls.Config) { s.NextProtos = []string{"h2", "http/1.1"} }, want: Result{Version: "1.3"}},
		{name: "WebSocket without ALPN", endpoint: web, want: Result{Version: "1.3"}},
		{name: "WebSocket at another service", endpoint: web, server: func(s *tls.Config) { s.NextProtos = []string{"xmpp-client"} }, kind: ErrALPN, says: "wss://"},
		{name: "WebSocket without TLS", endpoint: policy.Endpoint{Transport: policy.PlainWebSocket, Host: "xmpp.example.net", Port: 80}, kind: ErrSettings, says: "how it speaks TLS"},
		{name: "unknown there", server: func(s *tls.Config) {
			s.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }
		}, kind: ErrHandshake, says: "internal error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, e, conf := decision(), starttls, serverWith(cert)
			if c.decision != nil {
				c.decision(&d)
			}
			if c.endpoint.Host != "" {
				e = c.endpoint
			}
			if c.server != nil {
				c.server(conf)
			}
			r, err := meet(t, Options{Decision: d, Endpoint: e, Roots: ca.Pool()}, conf)
			if c.kind != nil {
				wantError(t, err, c.kind, c.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Version != c.want.Version || c.want.Group != "" && r.Group != c.want.Group || c.want.Cipher != "" && r.Cipher != c.want.Cipher {
				t.Errorf("agreed %s, %s, %s; want %+v", r.Version, r.Group, r.Cipher, c.want)
			}
			if s := r.State(); !s.HandshakeComplete || len(s.PeerCertificates) != 1 || r.SPKI != SPKI(s.PeerCertificates[0]) {
				t.Errorf("state %+v does not fit %s", s, r.SPKI)
			}
		})
	}
}

// TestHello: what the network and the server see of us.
func TestHello(t *testing.T) {
	ca := newCA(t)
	cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain, "192.0.2.7"}})
	for _, c := range []struct {
		domain    string
		transport policy.Transport
		min       uint16
		sni       string
		alpn      []string
		versions  []uint16
	}{
		{domain, policy.STARTTLS, tls.VersionTLS13, domain, nil, []uint16{tls.VersionTLS13}},
		{domain, policy.DirectTLS, tls.VersionTLS13, domain, []string{"xmpp-client"}, []uint16{tls.VersionTLS13}},
		{domain, policy.WebSocket, tls.VersionTLS13, domain, []string{"http/1.1"}, []uint16{tls.VersionTLS13}},
		{"Example.ORG.", policy.STARTTLS, tls.VersionTLS12, domain, nil, []uint16{tls.VersionTLS13, tls.VersionTLS12}},
		{"192.0.2.7", policy.STARTTLS, tls.VersionTLS13, "", nil, []uint16{tls.VersionTLS13}}, // RFC 6066 §3
	} {
		var got tls.ClientHelloInfo
		conf := serverWith(cert)
		conf.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { got = *h; return nil, nil }
		d, e := decision(), starttls
		d.Target.Domain, d.MinTLS, e.Transport = c.domain, c.min, c.transport
		if _, err := meet(t, Options{Decision: d, Endpoint: e, Roots: ca.Pool()}, conf); err != nil {
			t.Fatal(err)
		}
		if got.ServerName != c.sni || !reflect.DeepEqual(got.SupportedProtos, c.alpn) || !reflect.DeepEqual(got.SupportedVersions, c.versions) {
			t.Errorf("for %s: name %q, protocols %q, versions %x", c.domain, got.ServerName, got.SupportedProtos, got.SupportedVersions)
		}
		if got.SupportedCurves[0] != tls.X25519MLKEM768 || len(got.SupportedCurves) < 2 {
			t.Errorf("key exchanges %v", got.SupportedCurves)
		}
		for _, suite := range got.CipherSuites {
			if name := tls.CipherSuiteName(suite); !strings.Contains(name, "GCM") && !strings.Contains(name, "CHACHA20") || strings.HasPrefix(name, "TLS_RSA_") {
				t.Errorf("%s is offered", name)
			}
		}
		d.PQ = policy.PQRequire
		if _, err := meet(t, Options{Decision: d, Endpoint: e, Roots: ca.Pool()}, conf); err != nil {
			t.Fatal(err)
		}
		if len(got.SupportedCurves) != 1 || !reflect.DeepEqual(got.SupportedVersions, []uint16{tls.VersionTLS13}) {
			t.Errorf("with post-quantum required: key exchanges %v, versions %x", got.SupportedCurves, got.SupportedVersions)
		}
	}
}

// TestBrokenServers: what answers is no TLS server, or not for long.
func TestBrokenServers(t *testing.T) {
	oldHello := append([]byte{22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3}, make([]byte, 32)...) // version 1.2, random
	oldHello = append(oldHello, 0, 0xc0, 0x2f, 0)                                       // no session, a suite, no compression
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		kind   error
		says   string
	}{
		{"plain text", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, ErrNotTLS, "starttls:// or tls://"},
		{"closed", func(net.Conn) {}, ErrCut, "try again"},
		{"reset", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, ErrCut, "try again"},
		{"half a record", func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0, 42, 2}) }, ErrCut, "try again"},
		{"version 1.2 in answer to 1.3", func(c net.Conn) { _, _ = c.Write(oldHello) }, ErrVersion, `min_tls = "1.2"`},
		{"unrecognized name", func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 112}) }, ErrName, "does not serve example.org"},
		{"another alert", func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }, ErrHandshake, "internal error"},
		{"noise in a record", func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0}) }, ErrHandshake, ""},
		{"silence", func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, ErrTimeout, "in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := pair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = server.Read(make([]byte, 4096))
				c.answer(server)
				_ = server.Close()
			}()
			_ = client.SetDeadline(time.Now().Add(300 * time.Millisecond))
			_, _, err := Client(t.Context(), client, Options{Decision: decision(), Endpoint: starttls, Roots: x509.NewCertPool()})
			wantError(t, err, c.kind, c.says)
			_ = client.Close()
			<-done
		})
	}
}

func TestContext(t *testing.T) {
	o := Options{Decision: decision(), Endpoint: starttls, Roots: x509.NewCertPool()}
	client, _ := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := Client(ctx, client, o)
	wantError(t, err, ErrTimeout, "in time")

	client, _ = pair(t)
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	var e *Error
	if _, _, err := Client(ctx, client, o); !errors.Is(err, context.Canceled) || errors.As(err, &e) {
		t.Errorf("a caller that gave up is told %v", err)
	}
}

// failing is a connection whose errors name addresses, as those of package net do.
type failing struct{ net.Conn }

func (failing) Write(b []byte) (int, error) { return len(b), nil }
func (failing) Read([]byte) (int, error) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5222}
	return 0, &net.OpError{Op: "read", Net: "tcp", Source: at, Addr: at, Err: errors.New("network is down")}
}

func TestNoAddresses(t *testing.T) {
	_, _, err := Client(t.Context(), failing{}, Options{Decision: decision(), Endpoint: starttls})
	wantError(t, err, ErrHandshake, "network is down")
}

// untouched fails a test that writes.
type untouched struct {
	net.Conn
	t *testing.T
}

func (c untouched) Write([]byte) (int, error) {
	c.t.Error("something was sent")
	return 0, io.ErrClosedPipe
}
func (c untouched) Read([]byte) (int, error) { return 0, io.EOF }

// TestZeroRefuses: no part of the decision has a default.
func TestZeroRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"all":                 func(o *Options) { *o = Options{} },
		"decision":            func(o *Options) { o.Decision = policy.Decision{} },
		"endpoint":            func(o *Options) { o.Endpoint = policy.Endpoint{} },
		"domain":              func(o *Options) { o.Decision.Target.Domain = "" },
		"domain with a space": func(o *Options) { o.Decision.Target.Domain = "a b" },
		"tls":                 func(o *Options) { o.Decision.TLS = 0 },
		"tls out of range":    func(o *Options) { o.Decision.TLS = 99 },
		"min_tls":             func(o *Options) { o.Decision.MinTLS = 0 },
		"min_tls 1.1":         func(o *Options) { o.Decision.MinTLS = tls.VersionTLS11 },
		"pq":                  func(o *Options) { o.Decision.PQ = 0 },
		"pin":                 func(o *Options) { o.Decision.Pin = 0 },
		"pin strict, no file": func(o *Options) { o.Decision.Pin = policy.PinTOFUStrict },
		"pins":                func(o *Options) { o.Decision.TLS = policy.TLSPin },
		"a mistyped pin":      func(o *Options) { o.Decision.Pins = []string{"sha256/abc"} },
		"ca, no file":         func(o *Options) { o.Decision.CAFile = bad + "x" },
		"ca, no certificate":  func(o *Options) { o.Decision.CAFile = bad },
		"client_cert":         func(o *Options) { o.Decision.ClientCert = bad },
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Decision: decision(), Endpoint: starttls}
			change(&o)
			_, _, err := Client(t.Context(), untouched{t: t}, o)
			wantError(t, err, ErrSettings, "")
		})
	}
}
