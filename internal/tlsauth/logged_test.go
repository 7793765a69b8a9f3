package tlsauth

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/dane"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// What public logs say of a certificate counts where nothing but public authorities
// proves the server.
func TestLogged(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ca, own := newCA(t), newCA(t)
	ownFile := t.TempDir()
	must(own.Write(ownFile))
	a, err := lab.NewCTLog("one", "log a")
	must(err)
	b, err := lab.NewCTLog("two", "log b")
	must(err)
	list, err := ct.ParseList(lab.CTList(time.Now(), a, b))
	must(err)
	logged := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}, SCTs: lab.LoggedBy(a, b)})
	plain := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	half := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}, SCTs: lab.LoggedBy(a)})
	withStaple := func(cert tls.Certificate, status int) tls.Certificate {
		staple, err := ca.Staple(cert.Leaf, lab.CAStaple{Status: status})
		must(err)
		cert.OCSPStaple = staple
		return cert
	}
	for name, c := range map[string]struct {
		cert   tls.Certificate
		list   *ct.List // nil: list
		change func(*policy.Decision)
		onion  bool
		kind   error
		logs   string // in the fact
		warns  string
	}{
		"vouched for":          {cert: logged, logs: "vouched for by log a, log b"},
		"not":                  {cert: plain, kind: ErrUnlogged},
		"by one only":          {cert: half, kind: ErrUnlogged},
		"unknown logs":         {cert: logged, list: ct.BuiltIn(), kind: ErrUnlogged},
		"off":                  {cert: plain, change: func(d *policy.Decision) { d.SCT = policy.SCTOff }, logs: `not asked: sct = "off"`},
		"warn":                 {cert: half, change: func(d *policy.Decision) { d.SCT = policy.SCTWarn }, logs: "not vouched for: 1 of 2 logs", warns: "public logs do not vouch"},
		"warn, vouched for":    {cert: logged, change: func(d *policy.Decision) { d.SCT = policy.SCTWarn }, logs: "vouched for by"},
		"pins beside":          {cert: plain, change: func(d *policy.Decision) { d.Pins = []string{SPKI(plain.Leaf)} }, logs: "not asked: the key is one of pins"},
		"pin":                  {cert: plain, change: func(d *policy.Decision) { d.TLS, d.Pins = policy.TLSPin, []string{SPKI(plain.Leaf)} }},
		"own authority":        {cert: newLeaf(t, own, lab.CALeaf{Names: []string{domain}}), change: func(d *policy.Decision) { d.CAFile = ownFile + "/ca.pem" }, logs: "not asked: the authority is the domain's own"},
		"own, but not used":    {cert: plain, change: func(d *policy.Decision) { d.CAFile = ownFile + "/ca.pem" }, kind: ErrUnlogged},
		"onion":                {cert: plain, onion: true},
		"TLSA":                 {cert: plain, change: func(d *policy.Decision) { d.TLS = policy.TLSDANE }, logs: "not asked: TLSA records"},
		"revoked":              {cert: withStaple(logged, ocsp.Revoked), kind: ErrRevoked},
		"revoked, sct off":     {cert: withStaple(plain, ocsp.Revoked), change: func(d *policy.Decision) { d.SCT = policy.SCTOff }, kind: ErrRevoked},
		"revoked, only report": {cert: withStaple(plain, ocsp.Revoked), change: func(d *policy.Decision) { d.Mode = policy.Report }, kind: ErrRevoked},
		"good":                 {cert: withStaple(logged, ocsp.Good), logs: "vouched for"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			d := decision()
			d.SCT, d.MinTLS = policy.SCTRequire, tls.VersionTLS12
			if c.change != nil {
				c.change(&d)
			}
			o := Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Logs: list, TLSA: &dane.Set{}}
			if c.list != nil {
				o.Logs = c.list
			}
			if c.onion {
				o.Decision.Target.Domain, o.Endpoint.Host = onion, onion
			}
			if d.TLS == policy.TLSDANE {
				o.TLSA = set(record(dane.DANEEE, c.cert.Leaf))
			}
			conf := serverWith(c.cert)
			conf.MaxVersion = version
			r, err := meet(t, o, conf)
			if !errors.Is(err, c.kind) || (err == nil) != (c.kind == nil) {
				t.Errorf("%s: %v, want %v", name, err, c.kind)
				continue
			}
			if err != nil {
				continue
			}
			if !strings.HasPrefix(r.Logs.Text, c.logs) || c.logs == "" && r.Logs.Text != "" || r.Logs.Warns != (c.warns != "") || strings.Contains(r.Logs.Text, domain) {
				t.Errorf("%s: logs: %+v, want %q", name, r.Logs, c.logs)
			}
			if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, c.warns) || c.warns == "" && w != "" {
				t.Errorf("%s: warnings %q", name, w)
			}
		}
	}

	d := decision()
	d.SCT, d.Mode = policy.SCTRequire, policy.Report
	r, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Logs: list}, serverWith(plain))
	if err != nil || len(r.Objections) != 1 || !strings.Contains(r.Objections[0], "public logs do not vouch") {
		t.Errorf(`mode = "report": %v, %+v`, err, r)
	}
	_, err = meet(t, Options{Decision: func() policy.Decision { d.Mode = policy.Enforce; return d }(), Endpoint: starttls, Roots: ca.Pool()}, serverWith(logged))
	if err == nil || !strings.Contains(err.Error(), "its log is not in the list of 20") || !strings.Contains(err.Error(), "[ct] logs") {
		t.Errorf("the sentence does not lead to a newer list: %v", err)
	}
}
