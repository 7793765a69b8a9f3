package tlsauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const (
	onion      = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
	otherOnion = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"
)

// TestWhatProves: every way in which a server may be proved, crossed with servers
// that have only one of the proofs.
func TestWhatProves(t *testing.T) {
	ca := newCA(t)
	good := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	own := newLeaf(t, ca, lab.CALeaf{Names: []string{"a.test"}, SelfSigned: true, Expired: true})
	at := func(host string) policy.Endpoint {
		return policy.Endpoint{Transport: policy.STARTTLS, Host: host, Port: 5222}
	}
	atOnion := at(onion)
	pin := func(cert tls.Certificate) string { return SPKI(cert.Leaf) }
	for _, c := range []struct {
		name     string
		decision func(*policy.Decision)
		endpoint policy.Endpoint
		server   tls.Certificate
		identity string
		kind     error
		says     string
	}{
		{"pin in place of a certificate", func(d *policy.Decision) { d.TLS, d.Pins = policy.TLSPin, []string{pin(own)} }, starttls, own, "pin", nil, ""},
		{"second pin", func(d *policy.Decision) { d.TLS, d.Pins = policy.TLSPin, []string{pin(good), pin(own)} }, starttls, own, "pin", nil, ""},
		{"other pin", func(d *policy.Decision) { d.TLS, d.Pins = policy.TLSPin, []string{pin(own)} }, starttls, good, "", ErrPin, pin(good)},
		{"pin is no certificate", func(d *policy.Decision) { d.Pins = []string{pin(own)} }, starttls, own, "", ErrExpired, ""},
		{"pin and certificate", func(d *policy.Decision) { d.Pins = []string{pin(good)} }, starttls, good, "DNS-ID example.org", nil, ""},
		{"certificate and other pin", func(d *policy.Decision) { d.Pins = []string{pin(own)} }, starttls, good, "", ErrPin, ""},

		{"the domain is the onion address", func(d *policy.Decision) { d.Target.Domain = onion }, atOnion, own, "onion", nil, ""},
		{"in other letters", func(d *policy.Decision) { d.Target.Domain = onion }, at(strings.ToUpper(onion) + "."), own, "onion", nil, ""},
		{"strict, and still the address is the key", func(d *policy.Decision) { d.Target.Domain, d.Pin = onion, policy.PinTOFUStrict }, atOnion, own, "onion", nil, ""},
		{"the domain is another onion address", func(d *policy.Decision) { d.Target.Domain = otherOnion }, atOnion, own, "", ErrExpired, ""},
		{"onion address without Tor", func(d *policy.Decision) {
			d.Target.Domain, d.Route = onion, policy.Route{Kind: policy.RouteSOCKS, Name: "x"}
		}, atOnion, own, "", ErrExpired, ""},
		{"onion address and other pin", func(d *policy.Decision) { d.Target.Domain, d.Pins = onion, []string{pin(good)} }, atOnion, own, "", ErrPin, ""},
		{"onion endpoint of a domain", func(d *policy.Decision) {}, atOnion, own, "", ErrExpired, ""},
		{"onion endpoint of a domain, certificate", func(d *policy.Decision) {}, atOnion, good, "DNS-ID example.org", nil, ""},
		{"onion endpoint of a domain, pin", func(d *policy.Decision) { d.TLS, d.Pins = policy.TLSPin, []string{pin(own)} }, atOnion, own, "pin", nil, ""},

		{"bound onion address", func(d *policy.Decision) { d.TLS, d.Onion = policy.TLSOnion, &atOnion }, atOnion, own, "onion", nil, ""},
		{"bound as endpoint", func(d *policy.Decision) { d.TLS, d.Endpoints = policy.TLSOnion, []policy.Endpoint{starttls, atOnion} }, atOnion, own, "onion", nil, ""},
		{"onion address from DNS", func(d *policy.Decision) { d.TLS = policy.TLSOnion }, atOnion, own, "", ErrSettings, "set onion"},
		{"bound, and another one reached", func(d *policy.Decision) { d.TLS, d.Onion = policy.TLSOnion, &atOnion }, at(otherOnion), own, "", ErrSettings, ""},
		{"bound, and no onion address reached", func(d *policy.Decision) { d.TLS, d.Endpoints = policy.TLSOnion, []policy.Endpoint{starttls} }, starttls, good, "", ErrSettings, ""},
		{"bound, without Tor", func(d *policy.Decision) {
			d.TLS, d.Onion, d.Route = policy.TLSOnion, &atOnion, policy.Route{Kind: policy.RouteDirect}
		}, atOnion, own, "", ErrSettings, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := decision()
			c.decision(&d)
			r, err := meet(t, Options{Decision: d, Endpoint: c.endpoint, Roots: ca.Pool()}, serverWith(c.server))
			if c.kind != nil {
				wantError(t, err, c.kind, c.says)
			} else if err != nil {
				t.Fatal(err)
			} else if r.Identity != c.identity {
				t.Errorf("identity %q, want %q", r.Identity, c.identity)
			}
		})
	}
}

// TestOwnAuthority: ca counts for its domain, beside the others.
func TestOwnAuthority(t *testing.T) {
	ca, own := newCA(t), newCA(t)
	dir := t.TempDir()
	if err := own.Write(dir); err != nil {
		t.Fatal(err)
	}
	d := decision()
	d.CAFile = filepath.Join(dir, "ca.pem")
	o := Options{Decision: d, Endpoint: starttls, Roots: ca.Pool()}
	for _, issuer := range []*lab.CA{ca, own} {
		if _, err := meet(t, o, serverWith(newLeaf(t, issuer, lab.CALeaf{Names: []string{domain}}))); err != nil {
			t.Error(err)
		}
	}
	_, err := meet(t, o, serverWith(newLeaf(t, own, lab.CALeaf{Names: []string{domain}, Expired: true})))
	wantError(t, err, ErrExpired, "")
	_, err = meet(t, o, serverWith(newLeaf(t, newCA(t), lab.CALeaf{Names: []string{domain}})))
	wantError(t, err, ErrAuthority, "")
	if err := os.Chmod(d.CAFile, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = meet(t, o, serverWith(newLeaf(t, own, lab.CALeaf{Names: []string{domain}})))
	wantError(t, err, ErrSettings, "chmod")
}

func openPins(t *testing.T) *PinStore {
	t.Helper()
	pins, err := OpenPins(filepath.Join(t.TempDir(), "pins"))
	if err != nil {
		t.Fatal(err)
	}
	return pins
}

// TestFirstUse: a key is remembered, and another one is told or refused.
func TestFirstUse(t *testing.T) {
	ca := newCA(t)
	a := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	b := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	renewed := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}, Key: a.PrivateKey.(crypto.Signer)})
	meetAt := func(pins *PinStore, mode policy.PinMode, cert tls.Certificate) (*Result, error) {
		d := decision()
		d.Pin = mode
		return meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Pins: pins}, serverWith(cert))
	}
	want := func(r *Result, err error, state PinState, warning string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if r.PinState != state || len(r.Warnings) > 0 != (warning != "") || warning != "" && !strings.Contains(r.Warnings[0], warning) {
			t.Errorf("%s with %q, want %s with %q", r.PinState, r.Warnings, state, warning)
		}
	}
	pins := openPins(t)
	r, err := meetAt(pins, policy.PinOff, a)
	want(r, err, PinNotUsed, "")
	if _, ok, _ := pins.Seen(domain); ok {
		t.Error("a key was remembered that should not be")
	}
	r, err = meetAt(nil, policy.PinTOFUWarn, a)
	want(r, err, PinNotUsed, "")

	r, err = meetAt(pins, policy.PinTOFUWarn, a)
	want(r, err, PinFirst, "")
	r, err = meetAt(pins, policy.PinTOFUWarn, renewed)
	want(r, err, PinKnown, "")
	r, err = meetAt(pins, policy.PinTOFUWarn, b)
	want(r, err, PinNew, SPKI(b.Leaf))
	r, err = meetAt(pins, policy.PinTOFUWarn, b)
	want(r, err, PinKnown, "")
	r, err = meetAt(pins, policy.PinTOFUWarn, a)
	want(r, err, PinKnown, "")

	pins = openPins(t)
	r, err = meetAt(pins, policy.PinTOFUStrict, a)
	want(r, err, PinFirst, "")
	_, err = meetAt(pins, policy.PinTOFUStrict, b)
	wantError(t, err, ErrKeyChanged, pins.Path())
	_, err = meetAt(pins, policy.PinTOFUStrict, b)
	wantError(t, err, ErrKeyChanged, "") // and was not remembered
	r, err = meetAt(pins, policy.PinTOFUStrict, renewed)
	want(r, err, PinKnown, "")

	// A person adds the key, as the error says.
	text, err := os.ReadFile(pins.Path())
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), SPKI(a.Leaf), SPKI(a.Leaf)+" "+SPKI(b.Leaf), 1)
	if err := os.WriteFile(pins.Path(), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err = meetAt(pins, policy.PinTOFUStrict, b)
	want(r, err, PinKnown, "")

	// A line that nobody can read must not be taken for no line.
	if err := os.WriteFile(pins.Path(), []byte(domain+" sha256/oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = meetAt(pins, policy.PinTOFUStrict, a)
	wantError(t, err, ErrKeyChanged, "line 1")
	r, err = meetAt(pins, policy.PinTOFUWarn, a)
	want(r, err, PinNotUsed, "line 1")
}

// TestRace: two sessions meet a new domain at once, each at another server. Both
// pass the look into the file during the handshake; the second to finish is still
// refused, and its key not kept.
func TestRace(t *testing.T) {
	d := decision()
	d.Pin = policy.PinTOFUStrict
	pins := openPins(t)
	for i, key := range []string{keyA, keyB} {
		v, err := newVerifier(Options{Decision: d, Endpoint: starttls, Pins: pins})
		if err != nil {
			t.Fatal(err)
		}
		v.spki = key
		if err := v.remember(); i == 0 && err != nil {
			t.Fatal(err)
		} else if i == 1 {
			wantError(t, err, ErrKeyChanged, keyB)
		}
	}
	if seen, _, _ := pins.Seen(domain); len(seen.Keys) != 1 {
		t.Errorf("remembered %+v", seen)
	}
}

// TestUnprovedKey: a server that shows a certificate without having its key
// leaves no trace in the file, or anybody could poison it.
func TestUnprovedKey(t *testing.T) {
	ca := newCA(t)
	cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	thief, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.PrivateKey = thief
	for _, mode := range []policy.PinMode{policy.PinTOFUWarn, policy.PinTOFUStrict} {
		pins := openPins(t)
		d := decision()
		d.Pin = mode
		_, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Pins: pins}, serverWith(cert))
		wantError(t, err, ErrHandshake, "")
		if seen, ok, _ := pins.Seen(domain); ok {
			t.Errorf("remembered %+v", seen)
		}
	}
}

// TestOnionKeyIsNoted: the address is the proof, and the key is still noted, but
// its change is nobody's business.
func TestOnionKeyIsNoted(t *testing.T) {
	ca, pins := newCA(t), openPins(t)
	d := decision()
	d.Target.Domain, d.Pin = onion, policy.PinTOFUStrict
	o := Options{Decision: d, Endpoint: policy.Endpoint{Transport: policy.STARTTLS, Host: onion, Port: 5222}, Pins: pins}
	for _, want := range []PinState{PinFirst, PinNew} {
		r, err := meet(t, o, serverWith(newLeaf(t, ca, lab.CALeaf{SelfSigned: true})))
		if err != nil {
			t.Fatal(err)
		}
		if r.PinState != want || len(r.Warnings) > 0 {
			t.Errorf("%s with %q, want %s", r.PinState, r.Warnings, want)
		}
	}
	if seen, _, _ := pins.Seen(onion); len(seen.Keys) != 2 {
		t.Errorf("remembered %+v", seen)
	}
}

// TestClientCertificate: it goes to a server that was accepted and asks for it,
// inside encryption, and nowhere else.
func TestClientCertificate(t *testing.T) {
	ca := newCA(t)
	file := filepath.Join(t.TempDir(), "juliet.pem")
	mine := newLeaf(t, ca, lab.CALeaf{XMPPAddr: []string{"juliet@example.org"}, Client: true})
	if err := lab.WriteCertificate(mine, file, file); err != nil {
		t.Fatal(err)
	}
	good := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	other := newLeaf(t, ca, lab.CALeaf{Names: []string{"a.test"}})
	for _, c := range []struct {
		name     string
		server   tls.Certificate
		max      uint16
		min      policy.AuthMin
		asks     bool
		sent     bool
		warns    bool
		kind     error
		pinsFull bool // the domain's key is another one, and strict
	}{
		{name: "asked", server: good, asks: true, sent: true},
		{name: "not asked", server: good},
		{name: "asked by a stranger", server: other, asks: true, kind: ErrName},
		{name: "asked by another key", server: good, asks: true, pinsFull: true, kind: ErrKeyChanged},
		{name: "asked in TLS 1.2", server: good, asks: true, max: tls.VersionTLS12, warns: true},
		{name: "asked in TLS 1.2, no other login", server: good, asks: true, max: tls.VersionTLS12, min: policy.AuthExternal, kind: ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := false
			conf := serverWith(c.server)
			conf.MaxVersion = c.max
			if c.asks {
				conf.ClientAuth = tls.RequestClientCert
			}
			conf.VerifyConnection = func(s tls.ConnectionState) error { sent = len(s.PeerCertificates) > 0; return nil }
			d := decision()
			d.ClientCert, d.MinTLS, d.AuthMin = file, tls.VersionTLS12, max(c.min, policy.AuthSCRAM)
			o := Options{Decision: d, Endpoint: starttls, Roots: ca.Pool()}
			if c.pinsFull {
				o.Pins, o.Decision.Pin = openPins(t), policy.PinTOFUStrict
				if _, _, err := o.Pins.meet(domain, SPKI(other.Leaf), time.Now(), true); err != nil {
					t.Fatal(err)
				}
			}
			r, err := meet(t, o, conf)
			if sent != c.sent {
				t.Errorf("sent: %t", sent)
			}
			if c.kind != nil {
				wantError(t, err, c.kind, "")
			} else if err != nil {
				t.Fatal(err)
			} else if len(r.Warnings) > 0 != c.warns {
				t.Errorf("warnings %q", r.Warnings)
			}
		})
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	d := decision()
	d.ClientCert = file
	_, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool()}, serverWith(good))
	wantError(t, err, ErrSettings, "chmod")
}
