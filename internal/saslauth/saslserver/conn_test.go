package saslserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

// What a client may say about channel binding, and what becomes of it.
func TestFlags(t *testing.T) {
	srv, _ := newServer(t, newMemory(t, "juliet"))
	tls12, tls13 := connect(t, tls.VersionTLS12).link(), connect(t, tls.VersionTLS13).link()
	noCertificate := tls13
	noCertificate.Certificate = nil
	onion := Link{Private: true}
	const bound, unbound = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
	tests := []struct {
		name      string
		link      Link
		mechanism string
		gs2       string
		want      saslauth.Condition
	}{
		{"cannot bind", tls13, unbound, "n,,", ""},
		{"saw no -PLUS though it was offered", tls13, unbound, "y,,", saslauth.NotAuthorized},
		{"saw no -PLUS though it was offered", tls12, unbound, "y,,", saslauth.NotAuthorized},
		{"saw no -PLUS, and none was offered", onion, unbound, "y,,", ""},
		{"binds without -PLUS", tls13, unbound, "p=tls-exporter,,", saslauth.MalformedRequest},
		{"-PLUS without binding", tls13, bound, "n,,", saslauth.MalformedRequest},
		{"-PLUS without binding", tls13, bound, "y,,", saslauth.MalformedRequest},
		{"exporter", tls13, bound, "p=tls-exporter,,", ""},
		{"exporter", tls12, bound, "p=tls-exporter,,", ""},
		{"end point", tls13, bound, "p=tls-server-end-point,,", ""},
		{"end point of an unknown certificate", noCertificate, bound, "p=tls-server-end-point,,", saslauth.NotAuthorized},
		{"unique", tls12, bound, "p=tls-unique,,", ""},
		{"unique under TLS 1.3", tls13, bound, "p=tls-unique,,", saslauth.NotAuthorized},
		{"a type that nobody knows", tls13, bound, "p=tls-magic,,", saslauth.NotAuthorized},
		{"-PLUS without TLS", onion, bound, "p=tls-exporter,,", saslauth.InvalidMechanism},
		{"own authzid", tls13, unbound, "n,a=juliet@example.org,", ""},
		{"own authzid, written otherwise", tls13, unbound, "n,a=Juliet@EXAMPLE.org,", ""},
		{"authzid of another", tls13, unbound, "n,a=romeo@example.org,", saslauth.InvalidAuthzid},
		{"authzid of another domain", tls13, unbound, "n,a=juliet@example.net,", saslauth.InvalidAuthzid},
		{"authzid with a resource", tls13, unbound, "n,a=juliet@example.org/balcony,", saslauth.InvalidAuthzid},
	}
	for _, tt := range tests {
		for _, user := range []string{"juliet", "nobody"} {
			if user == "nobody" && strings.Contains(tt.gs2, "a=") {
				continue
			}
			a := handle(t, srv.Conn(tt.link), auth(saslauth.SASL1, tt.mechanism, tt.gs2+"n="+user+",r=abc", ""))
			if a.condition() != tt.want {
				t.Errorf("%s (%s %s for %s): %v", tt.name, tt.mechanism, tt.gs2, user, a.Failure)
			}
		}
	}
}

// attempt is a login with a proof that is right for the given connection's keys.
type attempt struct {
	flag    string // gs2-header
	binding []byte
	change  func(final string) string
}

// final makes a client-final-message from the challenge, by the RFC alone.
func (x attempt) final(t testing.TB, bare, challenge, password string) string {
	t.Helper()
	server := attributes(challenge)
	var iterations int
	fmt.Sscan(server['i'], &iterations)
	without := "c=" + b64(x.flag+string(x.binding)) + ",r=" + server['r']
	message := bare + "," + challenge + "," + without
	client, err := scram.SHA256.NewClientUnprepped("x", password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(unb64(t, server['s'])), Iters: iterations})
	if err != nil {
		t.Fatal(err)
	}
	salted := salt(t, password, unb64(t, server['s']), iterations)
	proof := mac(SHA256, salted, []byte("Client Key"))
	for i, b := range mac(SHA256, stored.StoredKey, []byte(message)) {
		proof[i] ^= b
	}
	final := without + ",p=" + b64(string(proof))
	if x.change != nil {
		final = x.change(final)
	}
	return final
}

// Proofs that are right but for one thing.
func TestFinal(t *testing.T) {
	m := newMemory(t, "juliet")
	w, other := connect(t, tls.VersionTLS13), connect(t, tls.VersionTLS13)
	data := func(w wire) []byte {
		s := w.client.ConnectionState()
		b, err := s.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	replace := func(old, with string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Errorf("no %q in %q", old, s)
			}
			return strings.Replace(s, old, with, 1)
		}
	}
	const exp = "p=tls-exporter,,"
	tests := []struct {
		name string
		x    attempt
		gs2  string // what the first message says
		want saslauth.Condition
	}{
		{"bound", attempt{exp, data(w), nil}, exp, ""},
		{"bound to another connection", attempt{exp, data(other), nil}, exp, saslauth.NotAuthorized},
		{"bound to nothing", attempt{exp, nil, nil}, exp, saslauth.NotAuthorized},
		{"another gs2-header than before", attempt{"n,,", nil, nil}, exp, saslauth.NotAuthorized},
		{"y turned into n on the way", attempt{"y,,", nil, nil}, "n,,", saslauth.NotAuthorized},
		{"data that nobody asked for", attempt{"n,,", data(w), nil}, "n,,", saslauth.NotAuthorized},
		{"unbound", attempt{"n,,", nil, nil}, "n,,", ""},
		{"another nonce", attempt{"n,,", nil, replace(",r=abc", ",r=abd")}, "n,,", saslauth.MalformedRequest},
		{"the client's nonce alone", attempt{"n,,", nil, func(s string) string {
			i, j := strings.Index(s, ",r=abc"), strings.Index(s, ",p=")
			return s[:i] + ",r=abc" + s[j:]
		}}, "n,,", saslauth.MalformedRequest},
		{"an extension that was not signed", attempt{"n,,", nil, replace(",p=", ",x=1,p=")}, "n,,", saslauth.NotAuthorized},
		{"a mandatory extension", attempt{"n,,", nil, replace(",p=", ",m=1,p=")}, "n,,", saslauth.MalformedRequest},
		{"a short proof", attempt{"n,,", nil, func(s string) string { return s[:strings.Index(s, ",p=")] + ",p=AAAA" }}, "n,,", saslauth.MalformedRequest},
		{"an empty message", attempt{"n,,", nil, func(string) string { return "" }}, "n,,", saslauth.MalformedRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv, _ := newServer(t, m, func(c *Config) { c.Hashes = []Hash{SHA256} })
			c := srv.Conn(w.link())
			mechanism := "SCRAM-SHA-256"
			if tt.gs2 == exp {
				mechanism += plus
			}
			bare := "n=juliet,r=abc"
			a := handle(t, c, auth(saslauth.SASL1, mechanism, tt.gs2+bare, ""))
			a = handle(t, c, response(saslauth.SASL1, tt.x.final(t, bare, a.challenge(t), password)))
			if a.condition() != tt.want || (a.Login != nil) != (tt.want == "") {
				t.Errorf("%v", a.Failure)
			}
		})
	}
}

func salt(t testing.TB, password string, salt []byte, iterations int) []byte {
	t.Helper()
	// Hi() of RFC 5802 §2.2, in its own words.
	u := mac(SHA256, []byte(password), append(bytes.Clone(salt), 0, 0, 0, 1))
	sum := bytes.Clone(u)
	for range iterations - 1 {
		u = mac(SHA256, []byte(password), u)
		for i := range sum {
			sum[i] ^= u[i]
		}
	}
	return sum
}

// Names with and without an account must look the same at each step.
func TestEnumeration(t *testing.T) {
	m := newMemory(t, "juliet", "disabled")
	m.disabled[address.Address{Local: "disabled", Domain: domain}] = true
	noKeys := address.Address{Local: "nokeys", Domain: domain}
	m.keys[noKeys] = nil
	w := connect(t, tls.VersionTLS13)
	salts := map[string]string{}
	for round := range 2 {
		srv, _ := newServer(t, m) // a restart: the secret stays
		for _, user := range []string{"juliet", "disabled", "nokeys", "nobody", "Nobody", "nobody2", "no body", "a/b", "a@b", strings.Repeat("x", 1100)} {
			for _, h := range Hashes() {
				link := w.link()
				link.Peer = "" // there are too many failures here for one peer
				c := srv.Conn(link)
				before := m.asked
				a := handle(t, c, auth(saslauth.SASL2, h.mechanism(), "n,,n="+user+",r=abc", ""))
				challenge := a.challenge(t)
				got := attributes(challenge)
				if len(got) != 4 || got['i'] != "4096" || len(unb64(t, got['s'])) != saltSize || got['h'] == "" || len(got['r']) != len("abc")+24 {
					t.Errorf("%.20s: challenge %q", user, challenge)
				}
				if valid := !strings.ContainsAny(user, " /@") && len(user) < 1024; valid && m.asked != before+1 {
					t.Errorf("%.20s: %d lookups", user, m.asked-before)
				}
				key := strings.ToLower(user) + h.String()
				if old, ok := salts[key]; ok && old != got['s'] {
					t.Errorf("%.20s: another salt in round %d", user, round)
				}
				salts[key] = got['s']
				final := "c=biws,r=" + got['r'] + ",p=" + b64(strings.Repeat("p", h.Size()))
				a = handle(t, c, response(saslauth.SASL2, final))
				want := string(saslauth.SASL2.Failure(*errRefused))
				if string(a.Element) != want {
					t.Errorf("%.20s: %s", user, a.Element)
				}
			}
		}
	}
	different := map[string]bool{}
	for _, s := range salts {
		different[s] = true
	}
	if len(different) != len(salts) {
		t.Errorf("%d salts for %d names and hashes", len(different), len(salts))
	}
	other, _ := newServer(t, m, func(c *Config) { c.Secret = bytes.Repeat([]byte("t"), 32) })
	if got := attributes(handle(t, other.Conn(w.link()), auth(saslauth.SASL2, "SCRAM-SHA-1", "n,,n=nobody,r=abc", "")).challenge(t)); got['s'] == salts["nobodySHA-1"] {
		t.Error("the salt does not depend on the secret")
	}
	// Who proves to own a disabled account learns of it.
	srv, _ := newServer(t, m, func(c *Config) { c.Hashes = []Hash{SHA256} })
	c := srv.Conn(w.link())
	a := handle(t, c, auth(saslauth.SASL2, "SCRAM-SHA-256", "n,,n=disabled,r=abc", ""))
	a = handle(t, c, response(saslauth.SASL2, attempt{flag: "n,,"}.final(t, "n=disabled,r=abc", a.challenge(t), password)))
	if a.condition() != saslauth.AccountDisabled {
		t.Errorf("disabled: %v", a.Failure)
	}
}

// What does not follow the order of things.
func TestOrder(t *testing.T) {
	const (
		ns1   = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
		ns2   = "xmlns='urn:xmpp:sasl:2'"
		first = "n,,n=juliet,r=abc"
	)
	good := auth(saslauth.SASL1, "SCRAM-SHA-1", first, "")
	tests := []struct {
		name     string
		elements []string
		want     saslauth.Condition // of the last
	}{
		{"a response to nothing", []string{"<response " + ns1 + "/>"}, saslauth.MalformedRequest},
		{"an abort of nothing", []string{"<abort " + ns2 + "/>"}, saslauth.MalformedRequest},
		{"a server's element", []string{"<success " + ns1 + "/>"}, saslauth.MalformedRequest},
		{"a challenge", []string{good, "<challenge " + ns1 + "/>"}, saslauth.MalformedRequest},
		{"a login in a login", []string{good, good}, saslauth.MalformedRequest},
		{"after which it may begin anew", []string{good, good, good}, ""},
		{"the other protocol", []string{good, response(saslauth.SASL2, "c=biws,r=abc,p=AAAA")}, saslauth.MalformedRequest},
		{"the other protocol for the first message", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'/>", response(saslauth.SASL2, first)}, saslauth.MalformedRequest},
		{"aborted", []string{good, "<abort " + ns1 + "/>"}, saslauth.Aborted},
		{"aborted, and on", []string{good, "<abort " + ns1 + "/>", response(saslauth.SASL1, "x")}, saslauth.MalformedRequest},
		{"no mechanism", []string{"<auth " + ns1 + "/>"}, saslauth.InvalidMechanism},
		{"an unknown mechanism", []string{auth(saslauth.SASL2, "DIGEST-MD5", "", "")}, saslauth.InvalidMechanism},
		{"another case", []string{auth(saslauth.SASL2, "scram-sha-1", first, "")}, saslauth.InvalidMechanism},
		{"a token's mechanism in SASL", []string{auth(saslauth.SASL1, "HT-SHA-256-NONE", "juliet\x00"+strings.Repeat("x", 32), "")}, saslauth.InvalidMechanism},
		{"no base64", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'>§</auth>"}, saslauth.IncorrectEncoding},
		{"base64 in lines", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'>biws\nbj11c2VyLHI9YWJj</auth>"}, saslauth.IncorrectEncoding},
		{"base64 without padding", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'>bg</auth>"}, saslauth.IncorrectEncoding},
		{"base64 with loose bits", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'>bh==</auth>"}, saslauth.IncorrectEncoding},
		{"an empty first message", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'>=</auth>"}, saslauth.MalformedRequest},
		{"no first message: asked for", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'/>"}, ""},
		{"and given", []string{"<auth " + ns1 + " mechanism='SCRAM-SHA-1'/>", response(saslauth.SASL1, first)}, ""},
		{"the same in SASL2", []string{"<authenticate " + ns2 + " mechanism='SCRAM-SHA-1'/>", response(saslauth.SASL2, first)}, ""},
		{"two first messages", []string{good, response(saslauth.SASL1, first)}, saslauth.MalformedRequest},
	}
	m := newMemory(t, "juliet")
	w := connect(t, tls.VersionTLS13)
	for _, tt := range tests {
		srv, _ := newServer(t, m)
		c := srv.Conn(w.link())
		var a Answer
		for _, e := range tt.elements {
			a = handle(t, c, e)
		}
		if a.condition() != tt.want {
			t.Errorf("%s: %v", tt.name, a.Failure)
		}
		if a.Failure != nil {
			n := node(t, string(a.Element))
			if n.Name != "failure" || n.Child(xmppstream.NSSASL, string(tt.want)) == nil {
				t.Errorf("%s: sent %s", tt.name, a.Element)
			}
		}
	}

	srv, _ := newServer(t, m)
	c := srv.Conn(Link{}) // no TLS, not private
	if got := c.AppendFeatures(t.Context(), nil); got != nil || c.Mechanisms(t.Context()) != nil {
		t.Errorf("offered without TLS: %s", got)
	}
	if a := handle(t, c, good); a.condition() != saslauth.EncryptionRequired {
		t.Errorf("without TLS: %v", a.Failure)
	}
	if a := handle(t, srv.Conn(Link{Private: true}), auth(saslauth.SASL2, "SCRAM-SHA-1", first, "")); a.condition() != saslauth.EncryptionRequired {
		t.Errorf("SASL2 without TLS: %v", a.Failure)
	}

	c = srv.Conn(w.link())
	ends := func(name, raw, want string) {
		t.Helper()
		var e *xmppstream.Error
		if _, err := c.Handle(t.Context(), node(t, raw)); !errors.As(err, &e) || e.Condition != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	ends("a stanza before the login", "<iq xmlns='jabber:client'/>", "not-authorized")
	for range maxAttempts {
		handle(t, c, auth(saslauth.SASL1, "NONSENSE", "", ""))
	}
	ends("one attempt too many", good, "policy-violation")
	c = srv.Conn(w.link())
	a := handle(t, c, auth(saslauth.SASL1, "SCRAM-SHA-256", "n,,n=juliet,r=abc", ""))
	handle(t, c, response(saslauth.SASL1, attempt{flag: "n,,"}.final(t, "n=juliet,r=abc", a.challenge(t), password)))
	ends("a login after the login", good, "policy-violation")
}

// A stream that goes wrong in the middle of a login.
func TestAuthenticate(t *testing.T) {
	srv, _ := newServer(t, newMemory(t, "juliet"))
	l := connect(t, tls.VersionTLS13).link()
	var policy *xmppstream.Error
	tests := []struct {
		name, rest string
		proto      saslauth.Protocol
		ok         func(error) bool
	}{
		{"gone", "", saslauth.SASL1, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"closed", "</stream:stream>", saslauth.SASL2, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"a stanza", "<message/>", saslauth.SASL1, func(err error) bool { return errors.As(err, &policy) && policy.Condition == "not-authorized" }},
		{"whitespace in SASL2", " <abort xmlns='urn:xmpp:sasl:2'/>", saslauth.SASL2, func(err error) bool { return errors.As(err, &policy) && policy.Condition == "policy-violation" }},
		{"whitespace in SASL", " <abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", saslauth.SASL1, func(err error) bool {
			var f *saslauth.Failure
			return errors.As(err, &f) && f.Condition == saslauth.Aborted
		}},
		{"broken XML", "<a></b>", saslauth.SASL1, func(err error) bool { return errors.As(err, &policy) && policy.Condition == "not-well-formed" }},
	}
	for _, tt := range tests {
		r := xmppstream.NewReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"+tt.rest), xmppstream.PreAuthLimits())
		if _, err := r.ReadHeader(); err != nil {
			t.Fatal(err)
		}
		var sent bytes.Buffer
		login, err := srv.Conn(l).Authenticate(t.Context(), saslauth.Over(r, xmppstream.NewWriter(&sent)), node(t, auth(tt.proto, "SCRAM-SHA-1", "n,,n=juliet,r=abc", "")))
		if login != nil || !tt.ok(err) {
			t.Errorf("%s: %v, sent %s", tt.name, err, sent.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := srv.Conn(l).Authenticate(ctx, saslauth.Over(nil, xmppstream.NewWriter(io.Discard)), node(t, auth(saslauth.SASL1, "SCRAM-SHA-1", "n,,n=juliet,r=abc", ""))); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

// A storage that fails is not the client's fault.
func TestStorageFails(t *testing.T) {
	m := newMemory(t, "juliet")
	m.err = errors.New("the disk is full")
	srv, _ := newServer(t, m, func(c *Config) { c.AllowPlain = true })
	l := connect(t, tls.VersionTLS13).link()
	for _, e := range []string{
		auth(saslauth.SASL1, "SCRAM-SHA-1", "n,,n=juliet,r=abc", ""),
		auth(saslauth.SASL1, plain, "\x00juliet\x00pencil", ""),
		auth(saslauth.SASL2, "HT-SHA-256-NONE", "juliet\x00"+strings.Repeat("x", 32), agent+"<fast xmlns='urn:xmpp:fast:0'/>"),
	} {
		a := handle(t, srv.Conn(l), e)
		if a.condition() != saslauth.TemporaryAuthFailure || strings.Contains(string(a.Element), "disk") {
			t.Errorf("%s", a.Element)
		}
	}
}

func TestNew(t *testing.T) {
	good := Config{Domain: domain, Accounts: newMemory(t), Secret: make([]byte, minSecret)}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for name, f := range map[string]func(*Config){
		"zero":                 func(c *Config) { *c = Config{} },
		"no domain":            func(c *Config) { c.Domain = "" },
		"an account as domain": func(c *Config) { c.Domain = "a@example.org" },
		"upper case":           func(c *Config) { c.Domain = "Example.org" },
		"no accounts":          func(c *Config) { c.Accounts = nil },
		"a short secret":       func(c *Config) { c.Secret = c.Secret[1:] },
		"no hash":              func(c *Config) { c.Hashes = []Hash{} },
		"an unknown hash":      func(c *Config) { c.Hashes = []Hash{9} },
	} {
		cfg := good
		f(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
