package saslserver

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

const (
	client = "d4565fa7-4d72-4749-b3d3-740edbf87770"
	agent  = "<user-agent id='" + client + "'><software>Test</software><device>A\tphone</device></user-agent>"
)

func request(mechanism string) string {
	return agent + "<request-token xmlns='urn:xmpp:fast:0' mechanism='" + mechanism + "'/>"
}

// phone is a client with a password, and then with a token.
type phone struct {
	t     testing.TB
	srv   *Server
	link  Link
	token string
}

// password logs in by SCRAM and keeps the token that it gets.
func (p *phone) password(children string) *Login {
	p.t.Helper()
	c := p.srv.Conn(p.link)
	a := handle(p.t, c, auth(saslauth.SASL2, "SCRAM-SHA-256", "n,,n=juliet,r=abc", children))
	a = handle(p.t, c, response(saslauth.SASL2, attempt{flag: "n,,"}.final(p.t, "n=juliet,r=abc", a.challenge(p.t), password)))
	if a.Login == nil {
		p.t.Fatalf("password: %v", a.Failure)
	}
	p.keep(a.Login)
	return a.Login
}

// keep reads the token of a success, if there is one.
func (p *phone) keep(l *Login) (got bool) {
	p.t.Helper()
	n := node(p.t, string(l.Success(juliet)))
	c := n.Child(nsFast, "token")
	if c == nil {
		return false
	}
	p.token = c.Attr("token")
	if at, err := time.Parse(time.RFC3339, c.Attr("expiry")); err != nil || !at.After(p.srv.cfg.Now()) || len(p.token) < 40 {
		p.t.Errorf("token %v", c)
	}
	return true
}

// fast logs in by token.
func (p *phone) fast(mechanism, attrs string) Answer {
	p.t.Helper()
	var data []byte
	for _, m := range fastMechanisms {
		if m.name == mechanism && m.binding != "" {
			data, _ = saslauth.ServerBinding(p.link.TLS, p.link.Certificate, m.binding)
		}
	}
	message := "juliet\x00" + string(tokenMAC([]byte(p.token), "Initiator", data))
	a := handle(p.t, p.srv.Conn(p.link), auth(saslauth.SASL2, mechanism, message, agent+"<fast xmlns='urn:xmpp:fast:0' "+attrs+"/>"))
	if a.Login != nil {
		n := node(p.t, string(a.Login.Success(juliet)))
		if got := unb64(p.t, n.ChildText(xmppstream.NSSASL2, "additional-data")); string(got) != string(tokenMAC([]byte(p.token), "Responder", data)) {
			p.t.Errorf("the server is not proven")
		}
	}
	return a
}

func newPhone(t testing.TB, version uint16, m *memory) (*phone, *clock) {
	srv, at := newServer(t, m)
	return &phone{t: t, srv: srv, link: connect(t, version).link()}, at
}

func TestFast(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, f := range fastMechanisms {
			t.Run(tls.VersionName(version)+"/"+f.name, func(t *testing.T) {
				m := newMemory(t, "juliet")
				p, _ := newPhone(t, version, m)
				features := string(p.srv.Conn(p.link).AppendFeatures(t.Context(), nil))
				offered := strings.Contains(features, "<mechanism>"+f.name+"</mechanism>")
				if want := version == tls.VersionTLS12 || f.binding != saslauth.TLSUnique; offered != want {
					t.Fatalf("offered: %v", offered)
				}
				login := p.password(request(f.name))
				if (p.token != "") != offered {
					t.Fatalf("token %q", p.token)
				}
				if !offered {
					return
				}
				if login.UserAgent != (UserAgent{client, "Test", "A phone"}) {
					t.Errorf("user agent %+v", login.UserAgent)
				}
				writes := m.puts
				a := p.fast(f.name, "")
				if a.Login == nil || a.Login.Account != juliet || a.Login.Mechanism != f.name || a.Login.Binding != f.binding {
					t.Fatalf("%+v", a)
				}
				if m.puts != writes {
					t.Error("a login by token writes")
				}
				for _, other := range fastMechanisms { // each token has one mechanism
					if other.name == f.name || !strings.Contains(features, other.name) {
						continue
					}
					if a := p.fast(other.name, ""); a.condition() != saslauth.NotAuthorized {
						t.Errorf("%s: %+v", other.name, a)
					}
				}
				if f.binding == saslauth.TLSExporter || f.binding == saslauth.TLSUnique { // bound to a connection
					here := p.link
					p.link = connect(t, version).link()
					message := auth(saslauth.SASL2, f.name, "juliet\x00"+string(tokenMAC([]byte(p.token), "Initiator", mustBinding(t, here, f.binding))), agent+"<fast xmlns='urn:xmpp:fast:0'/>")
					if a := handle(t, p.srv.Conn(p.link), message); a.condition() != saslauth.NotAuthorized {
						t.Errorf("replayed over another connection: %+v", a)
					}
				}
			})
		}
	}
}

func mustBinding(t testing.TB, l Link, typ string) []byte {
	t.Helper()
	b, ok := saslauth.ServerBinding(l.TLS, l.Certificate, typ)
	if !ok {
		t.Fatal("no binding")
	}
	return b
}

const none = "HT-SHA-256-NONE"

func TestFastRotation(t *testing.T) {
	m := newMemory(t, "juliet")
	p, at := newPhone(t, tls.VersionTLS13, m)
	key := juliet.String() + " " + client
	p.password(request(none))
	first := p.token

	at.add(23 * time.Hour)
	if a := p.fast(none, ""); a.Login == nil || p.keep(a.Login) {
		t.Fatalf("too early for a new token: %+v", a)
	}
	at.add(2 * time.Hour)
	a := p.fast(none, "")
	if a.Login == nil || !p.keep(a.Login) || p.token == first {
		t.Fatalf("a day old: %+v", a)
	}
	lost := p.token
	at.add(time.Minute)
	p.token = first // the client never received the new one
	if a = p.fast(none, ""); a.Login == nil || !p.keep(a.Login) || p.token == lost {
		t.Fatalf("the old token: %+v", a)
	}
	second := p.token
	if p.token = lost; p.fast(none, "").condition() != saslauth.NotAuthorized {
		t.Error("a token that a newer one replaced is good")
	}
	if p.token = second; p.fast(none, "").Login == nil {
		t.Fatal("the new token is not good")
	}
	if p.token = first; p.fast(none, "").condition() != saslauth.NotAuthorized {
		t.Error("the old token is good after the use of the new one")
	}
	if len(m.tokens[key]) != 1 {
		t.Errorf("%d tokens are kept", len(m.tokens[key]))
	}
	for range 4 { // by password: the one in use stays
		p.password(request(none))
		at.add(time.Second)
	}
	if len(m.tokens[key]) != 2 {
		t.Errorf("%d tokens are kept", len(m.tokens[key]))
	}
	if p.token = second; p.fast(none, "").Login == nil {
		t.Error("the token in use is gone though no other was used")
	}

	at.add(22 * 24 * time.Hour)
	if got := p.fast(none, "").condition(); got != saslauth.CredentialsExpired {
		t.Errorf("expired: %q", got)
	}
}

// A client that asks for a token with the one it has keeps that until the new one
// is used, even where both are of the same moment.
func TestFastAsksForToken(t *testing.T) {
	p, _ := newPhone(t, tls.VersionTLS13, newMemory(t, "juliet"))
	p.password(request(none))
	p.password(request(none))
	used := p.token
	a := p.fast(none, "/><request-token xmlns='urn:xmpp:fast:0' mechanism='"+none+"'")
	if a.Login == nil || !p.keep(a.Login) {
		t.Fatalf("%+v", a)
	}
	if p.token = used; p.fast(none, "").Login == nil {
		t.Error("the token in use is gone")
	}
}

func TestFastCounter(t *testing.T) {
	p, _ := newPhone(t, tls.VersionTLS13, newMemory(t, "juliet"))
	p.password(request(none))
	early := p.link
	early.EarlyData = true
	late := p.link
	tests := []struct {
		early bool
		attrs string
		want  saslauth.Condition
	}{
		{true, "", saslauth.MalformedRequest},
		{true, "count='0'", saslauth.CredentialsExpired},
		{true, "count='1'", ""},
		{true, "count='1'", saslauth.CredentialsExpired},
		{false, "count='5'", ""},
		{true, "count='5'", saslauth.CredentialsExpired},
		{true, "count='4'", saslauth.CredentialsExpired},
		{false, "count='5'", saslauth.CredentialsExpired},
		{false, "", ""},
		{true, "count='6'", ""},
		{false, "count='-7'", saslauth.MalformedRequest},
		{false, "count='x'", saslauth.MalformedRequest},
		{false, "count='99999999999999999999'", saslauth.MalformedRequest},
	}
	for i, tt := range tests {
		if p.link = late; tt.early {
			p.link = early
		}
		if got := p.fast(none, tt.attrs).condition(); got != tt.want {
			t.Errorf("%d: %+v: %q", i, tt, got)
		}
	}
	if a := handle(t, p.srv.Conn(early), auth(saslauth.SASL2, "SCRAM-SHA-1", "n,,n=juliet,r=abc", "")); a.condition() != saslauth.MalformedRequest {
		t.Errorf("a password in early data: %v", a.Failure)
	}
}

// Of many who come at once with one counter, one is let in.
func TestFastReplayedAtOnce(t *testing.T) {
	m := newMemory(t, "juliet")
	m.slow = time.Millisecond
	p, _ := newPhone(t, tls.VersionTLS13, m)
	p.password(request(none))
	message := auth(saslauth.SASL2, none, "juliet\x00"+string(tokenMAC([]byte(p.token), "Initiator", nil)), agent+"<fast xmlns='urn:xmpp:fast:0' count='1'/>")
	var in atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		n := node(t, message)
		all.Go(func() {
			link := p.link
			link.EarlyData = true
			if a, err := p.srv.Conn(link).Handle(t.Context(), n); err == nil && a.Login != nil {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Errorf("%d were let in", in.Load())
	}
}

func TestFastInvalidation(t *testing.T) {
	m := newMemory(t, "juliet")
	p, at := newPhone(t, tls.VersionTLS13, m)
	p.password(request(none))
	at.add(48 * time.Hour) // due for rotation
	a := p.fast(none, "invalidate='true'")
	if a.Login == nil || p.keep(a.Login) {
		t.Fatalf("%+v", a)
	}
	if a = p.fast(none, ""); a.condition() != saslauth.NotAuthorized {
		t.Errorf("an invalidated token: %+v", a)
	}
}

func TestFastBad(t *testing.T) {
	m := newMemory(t, "juliet", "romeo")
	p, _ := newPhone(t, tls.VersionTLS13, m)
	p.password(request(none))
	proof := string(tokenMAC([]byte(p.token), "Initiator", nil))
	const asked = "<fast xmlns='urn:xmpp:fast:0'/>"
	tests := []struct {
		name, message, children string
		want                    saslauth.Condition
	}{
		{"good", "juliet\x00" + proof, agent + asked, ""},
		{"no <fast/>", "juliet\x00" + proof, agent, saslauth.MalformedRequest},
		{"no user agent", "juliet\x00" + proof, asked, saslauth.MalformedRequest},
		{"another user agent", "juliet\x00" + proof, strings.Replace(agent, "d4", "d5", 1) + asked, saslauth.NotAuthorized},
		{"another account", "romeo\x00" + proof, agent + asked, saslauth.NotAuthorized},
		{"no account", "nobody\x00" + proof, agent + asked, saslauth.NotAuthorized},
		{"no name", "\x00" + proof, agent + asked, saslauth.MalformedRequest},
		{"not UTF-8", "\xff\x00" + proof, agent + asked, saslauth.MalformedRequest},
		{"no NUL", "juliet", agent + asked, saslauth.MalformedRequest},
		{"short", "juliet\x00" + proof[1:], agent + asked, saslauth.MalformedRequest},
		{"the server's word", "juliet\x00" + string(tokenMAC([]byte(p.token), "Responder", nil)), agent + asked, saslauth.NotAuthorized},
		{"an empty token", "juliet\x00" + string(tokenMAC(nil, "Initiator", nil)), agent + asked, saslauth.NotAuthorized},
	}
	for _, tt := range tests {
		srv, _ := newServer(t, m) // with a throttle of its own
		if a := handle(t, srv.Conn(p.link), auth(saslauth.SASL2, none, tt.message, tt.children)); a.condition() != tt.want {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
	m.disabled[juliet] = true
	if a := p.fast(none, ""); a.condition() != saslauth.AccountDisabled {
		t.Errorf("disabled: %+v", a)
	}
	delete(m.keys, juliet)
	if a := p.fast(none, ""); a.condition() != saslauth.NotAuthorized {
		t.Errorf("removed: %+v", a)
	}
}

// Without what FAST needs there is no token, and the login goes on.
func TestNoToken(t *testing.T) {
	m := newMemory(t, "juliet")
	for name, children := range map[string]string{
		"not asked for":        agent,
		"no user agent":        strings.TrimPrefix(request(none), agent),
		"an odd user agent":    strings.Replace(request(none), client, strings.Repeat("x", maxClient+1), 1),
		"an odd mechanism":     request("HT-MD5-NONE"),
		"SCRAM's mechanism":    request("SCRAM-SHA-1"),
		"no mechanism":         request(""),
		"another connection's": request("HT-SHA-256-UNIQ"),
	} {
		p, _ := newPhone(t, tls.VersionTLS13, m)
		if p.password(children); p.token != "" {
			t.Errorf("%s: a token", name)
		}
	}
	if len(m.tokens) != 0 {
		t.Error("a token is stored")
	}
}

// What a success says, and where.
func TestSuccess(t *testing.T) {
	p, _ := newPhone(t, tls.VersionTLS13, newMemory(t, "juliet"))
	l := p.password(request(none) + "<bind xmlns='urn:xmpp:bind:0'><tag>t</tag></bind>")
	if l.Request.Child("urn:xmpp:bind:0", "bind") == nil {
		t.Error("the caller does not see what is asked for inline")
	}
	full := address.Address{Local: "juliet", Domain: domain, Resource: "<t>"}
	n := node(t, string(l.Success(full, []byte("<bound xmlns='urn:xmpp:bind:0'/>"), []byte("<x xmlns='y'/>"))))
	var names []string
	for _, c := range n.Children {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"additional-data", "authorization-identifier", "bound", "x", "token"}) {
		t.Error(names)
	}
	if got := n.ChildText(xmppstream.NSSASL2, "authorization-identifier"); got != full.String() {
		t.Error(got)
	}
	if n := node(t, string(l.Refuse(saslauth.Failure{Condition: saslauth.TemporaryAuthFailure}))); n.Child(xmppstream.NSSASL, "temporary-auth-failure") == nil {
		t.Errorf("%+v", n)
	}

	// XEP-0388 §2.3: an authorization identity other than the stream's from.
	for from, want := range map[string]saslauth.Condition{"": "", "juliet@example.org/x": "", "romeo@example.org": saslauth.InvalidAuthzid} {
		link := p.link
		if from != "" {
			var err error
			if link.From, err = address.Parse(from); err != nil {
				t.Fatal(err)
			}
		}
		for _, gs2 := range []string{"n,,", "n,a=juliet@example.org,"} {
			c := p.srv.Conn(link)
			a := handle(t, c, auth(saslauth.SASL2, "SCRAM-SHA-256", gs2+"n=juliet,r=abc", ""))
			a = handle(t, c, response(saslauth.SASL2, attempt{flag: gs2}.final(t, "n=juliet,r=abc", a.challenge(t), password)))
			if gs2 == "n,," {
				if a.Login == nil {
					t.Errorf("from %s: %v", from, a.Failure)
				}
			} else if a.condition() != want {
				t.Errorf("from %s: %v", from, a.Failure)
			}
		}
	}
}

func TestFeatures(t *testing.T) {
	const inline = "<bind xmlns='urn:xmpp:bind:0'/>"
	srv, _ := newServer(t, newMemory(t), func(c *Config) { c.Inline = []byte(inline); c.AllowPlain = true })
	for version, types := range map[uint16][]string{
		tls.VersionTLS12: {saslauth.TLSExporter, saslauth.TLSUnique, saslauth.TLSServerEndPoint},
		tls.VersionTLS13: {saslauth.TLSExporter, saslauth.TLSServerEndPoint},
	} {
		got := srv.Conn(connect(t, version).link()).AppendFeatures(t.Context(), []byte("<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"))
		o, err := saslauth.ParseOffer(node(t, string(got)+"</stream:features>"))
		want := []string{"SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"}
		if err != nil || !slices.Equal(o.Mechanisms, want) || !slices.Equal(o.SASL2, want) || !slices.Equal(o.BindingTypes, types) {
			t.Errorf("%x: %+v %v", version, o, err)
		}
		if !strings.Contains(string(got), "<inline>"+inline+"<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism>") {
			t.Errorf("%s", got)
		}
	}
	got := string(srv.Conn(Link{Private: true}).AppendFeatures(t.Context(), nil))
	if want := "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-512</mechanism><mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>"; got != want {
		t.Errorf("without TLS: %s", got)
	}
	odd := connect(t, tls.VersionTLS13).link() // a certificate whose signature has no hash of its own (RFC 5929 §4.1)
	odd.Certificate = &x509.Certificate{SignatureAlgorithm: x509.PureEd25519, Raw: []byte("x")}
	if got := string(srv.Conn(odd).AppendFeatures(t.Context(), nil)); strings.Contains(got, saslauth.TLSServerEndPoint) || strings.Contains(got, "ENDP") || !strings.Contains(got, plus) {
		t.Errorf("Ed25519: %s", got)
	}
	unbound, _ := newServer(t, newMemory(t), func(c *Config) { c.NoBinding = true })
	if got := string(unbound.Conn(connect(t, tls.VersionTLS13).link()).AppendFeatures(t.Context(), nil)); strings.Contains(got, plus) ||
		strings.Contains(got, "channel-binding") || strings.Contains(got, "EXPR") || !strings.Contains(got, "SCRAM-SHA-512") {
		t.Errorf("without channel binding: %s", got)
	}
	bare, _ := newServer(t, newMemory(t), func(c *Config) { c.Tokens = nil })
	if got := string(bare.Conn(connect(t, tls.VersionTLS13).link()).AppendFeatures(t.Context(), nil)); strings.Contains(got, "inline") || strings.Contains(got, "PLAIN") {
		t.Errorf("nothing inline: %s", got)
	}
}
