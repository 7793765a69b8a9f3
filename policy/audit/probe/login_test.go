package probe

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/tests/lab"
)

// enterAt looks at a house with its account.
func (l *lot) enterAt(host string, h house, login Login) (*audit.Login, *lab.Script) {
	l.t.Helper()
	s := l.start(host+":5222", h.run)
	login.JID = "Romeo@" + domain + "/x"
	if login.Password == nil {
		login.Password = []byte(password)
	}
	given := string(login.Password)
	seen := look(l.t, Target{Domain: domain, Endpoints: []policy.Endpoint{at("starttls://" + host)}}, Options{Dialer: l.net, Roots: l.ca.Pool(), Budget: 16 * time.Second, Step: 2 * time.Second, Login: &login})
	if given != string(login.Password) {
		l.t.Error("the password is the caller's to wipe")
	}
	return seen.Login, s
}

// TestLogin is everything that an account is shown, and everything that is sent.
func TestLogin(t *testing.T) {
	t.Parallel()
	l := newLot(t)
	seen, script := l.enterAt("full.test", house{cert: l.cert(lab.CALeaf{Names: []string{domain}}), hash: "right", answer: full,
		others: "<sm xmlns='urn:xmpp:sm:3'/><csi xmlns='urn:xmpp:csi:0'/>"}, Login{})
	want := audit.Login{
		Mechanism: "SCRAM-SHA-256-PLUS", Binding: "tls-exporter", Downgrade: "refused", Hidden: "noticed", Protection: "verified",
		Features: []string{"urn:ietf:params:xml:ns:xmpp-bind bind", "urn:xmpp:sm:3 sm", "urn:xmpp:csi:0 csi"}, Location: "elsewhere.test:5222",
		Server: audit.Disco{Identities: []string{"server/im"}, Features: []string{nsInfo, "urn:xmpp:extdisco:2"},
			Items: []string{"upload." + domain, "elsewhere.test", "rooms." + domain}},
		Account: audit.Disco{Identities: []string{"pubsub/pep"}, Features: []string{"urn:xmpp:mam:2"}},
		Components: map[string]audit.Disco{
			"rooms." + domain:  {Identities: []string{"conference/text"}, Features: []string{"http://jabber.org/protocol/muc"}},
			"upload." + domain: {Features: []string{nsUpload}}},
		Private: true, Software: "Soft 1.2 (Plan 9)", Contacts: []string{"mailto:abuse@example.test"},
		Services: []string{"turn.example.test", "192.0.2.7", "put.example.test", "get.example.test"},
	}
	if got, want := fmt.Sprintf("%+v", *seen), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("seen:\n%s\nwant:\n%s", got, want)
	}
	sent := script.Received()
	for _, never := range []string{"<presence", "to='elsewhere.test'", "roster", "type='set' id='[^']*' to", "<resource", "mechanism='PLAIN'"} {
		if strings.Contains(sent, never) {
			t.Errorf("%q was sent", never)
		}
	}
	if n := strings.Count(sent, "type='set'"); n != 1 { // binding
		t.Errorf("%d requests change something", n)
	}
	if n := strings.Count(sent, "<request xmlns='"+nsUpload+"' filename='a.txt' size='1' "); n != 1 || strings.Count(sent, "<request") != 1 {
		t.Errorf("%d slots were asked for", n)
	}
	if n := strings.Count(sent, "<auth "); n != 3 {
		t.Errorf("%d logins were tried", n)
	}
}

// TestLogins makes one thing wrong, or other, at a time.
func TestLogins(t *testing.T) {
	t.Parallel()
	l := newLot(t)
	right := l.cert(lab.CALeaf{Names: []string{domain}})
	downgrade := func(s *audit.Login) any { return s.Err + s.Downgrade + " " + s.Hidden + " " + s.Protection }
	failed := func(s *audit.Login) any {
		return s.Err != "" && s.Mechanism+s.Binding+s.Downgrade+s.Hidden+s.Protection == ""
	}
	for i, tt := range []struct {
		name  string
		h     house
		login Login
		see   func(*audit.Login) any
		want  any
		auths int // how many logins went out
	}{
		{"good", house{}, Login{}, downgrade, "refused refused absent", 3},
		{"it does not look at the binding", house{lax: true}, Login{}, downgrade, "accepted refused absent", 3},
		{"-PLUS can be hidden", house{blind: true}, Login{}, downgrade, "refused accepted absent", 3},
		{"bound to the certificate", house{types: []string{"tls-server-end-point"}}, Login{}, func(s *audit.Login) any { return s.Binding + " " + s.Downgrade }, "tls-server-end-point refused", 3},
		{"a hash", house{hash: "right"}, Login{}, downgrade, "refused noticed verified", 3},
		{"a hash that is wrong", house{hash: "wrong"}, Login{}, func(s *audit.Login) any {
			return fmt.Sprint(strings.Contains(s.Err, "in the middle"), s.Protection+s.Downgrade)
		}, "truewrong", 1},
		{"no -PLUS", house{mechanisms: []string{"SCRAM-SHA-256"}}, Login{}, func(s *audit.Login) any { return s.Mechanism + s.Binding + s.Downgrade }, "SCRAM-SHA-256", 1},
		{"a hash, no -PLUS", house{mechanisms: []string{"SCRAM-SHA-256"}, hash: "right"}, Login{}, downgrade, "  verified", 1},
		{"PLAIN alone", house{mechanisms: []string{"PLAIN"}}, Login{}, failed, true, 0},
		{"PLAIN alone, and allowed", house{mechanisms: []string{"PLAIN"}}, Login{Plain: true}, func(s *audit.Login) any { return s.Err + s.Mechanism + s.Protection }, "PLAINabsent", 1},
		{"PLAIN beside SCRAM, and allowed", house{mechanisms: []string{"PLAIN", "SCRAM-SHA-256"}}, Login{Plain: true}, func(s *audit.Login) any { return s.Err + s.Mechanism }, "SCRAM-SHA-256", 1},
		{"no -PLUS where there must be one", house{mechanisms: []string{"SCRAM-SHA-256"}}, Login{Bound: true}, failed, true, 0},
		{"-PLUS where there must be one", house{}, Login{Bound: true}, func(s *audit.Login) any { return s.Err + s.Mechanism }, "SCRAM-SHA-256-PLUS", 2},
		{"wrong password", house{}, Login{Password: []byte("wrong")}, failed, true, 1},
		{"it does not know the password", house{fake: true}, Login{}, failed, true, 1},
		{"self-signed", house{cert: l.cert(lab.CALeaf{Names: []string{domain}, SelfSigned: true})}, Login{}, failed, true, 0},
		{"another's certificate", house{cert: l.cert(lab.CALeaf{Names: []string{"other.test"}})}, Login{}, failed, true, 0},
		{"expired", house{cert: l.cert(lab.CALeaf{Names: []string{domain}, Expired: true})}, Login{}, failed, true, 0},
		{"another certificate after the first look", house{conf: turncoat(l.cert(lab.CALeaf{Names: []string{"other.test"}}))}, Login{}, failed, true, 0},
		{"in before the login", house{premature: lab.FeatureBind}, Login{}, failed, true, 0},
		{"silence", house{answer: func(string, string) string { return "-" }}, Login{}, func(s *audit.Login) any { return s.Err + s.Server.Err + s.Account.Err + s.Downgrade }, noAnswer + noAnswer + "refused", 3},
		{"no slot", house{answer: func(to, payload string) string {
			if strings.Contains(payload, "<request") {
				return ""
			}
			return full(to, payload)
		}}, Login{}, func(s *audit.Login) any { return fmt.Sprint(s.Services, s.Untold) }, "[turn.example.test 192.0.2.7] [upload slot: service-unavailable]", 3},
		{"errors", house{answer: func(string, string) string { return "" }}, Login{}, func(s *audit.Login) any { return s.Err + s.Server.Err }, "service-unavailable", 3},
		{"a thousand items", house{answer: func(to, payload string) string {
			if strings.Contains(payload, nsItems) {
				var b strings.Builder
				for i := range 1000 {
					fmt.Fprintf(&b, "<item jid='i%d.%s'/>", i, domain)
				}
				return "<query xmlns='" + nsItems + "'>" + b.String() + "</query>"
			}
			return ""
		}}, Login{}, func(s *audit.Login) any { return fmt.Sprint(s.Err, len(s.Server.Items), len(s.Components)) }, fmt.Sprint(maxKept, maxItems), 3},
		{"a form without an end", house{answer: func(to, payload string) string { return strings.Repeat("<x>", 100) }}, Login{},
			func(s *audit.Login) any { return strings.Contains(s.Err, "no XMPP") }, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &lot{t: t, ca: l.ca, net: &network{to: map[string]string{}}}
			if tt.h.cert.Certificate == nil {
				tt.h.cert = right
			}
			if tt.h.answer == nil {
				tt.h.answer = full
			}
			seen, script := l.enterAt(fmt.Sprintf("login%d.test", i), tt.h, tt.login)
			if got := tt.see(seen); got != tt.want {
				t.Errorf("got %v, want %v\n%+v", got, tt.want, seen)
			}
			if n := strings.Count(script.Received(), "<auth "); n != tt.auths {
				t.Errorf("%d logins went out, want %d", n, tt.auths)
			}
			if strings.Contains(script.Received(), "<presence") {
				t.Error("presence was sent")
			}
		})
	}
}

// TestLoginInTime is a good endpoint beside one that says nothing for as long as there
// is time at all.
func TestLoginInTime(t *testing.T) {
	t.Parallel()
	l := newLot(t)
	h := house{cert: l.cert(lab.CALeaf{Names: []string{domain}}), mechanisms: []string{"SCRAM-SHA-256"}, answer: full}
	l.start("good.test:5222", h.run)
	l.net.to["silent.test:5222"] = ""
	seen := look(t, Target{Domain: domain, Endpoints: []policy.Endpoint{at("starttls://silent.test"), at("starttls://good.test")}},
		Options{Dialer: l.net, Roots: l.ca.Pool(), Budget: 3 * time.Second, Step: 3 * time.Second, Login: &Login{JID: "romeo@" + domain, Password: []byte(password)}})
	if seen.Login.Err != "" || seen.Login.Software == "" || seen.Endpoints[0].Err == "" {
		t.Errorf("%+v, %q", seen.Login, seen.Endpoints[0].Err)
	}
}

// turncoat shows another certificate from the second handshake on.
func turncoat(other tls.Certificate) func(*tls.Config) {
	var shaken atomic.Int32
	return func(c *tls.Config) {
		if shaken.Add(1) > 1 {
			c.Certificates = []tls.Certificate{other}
		}
	}
}

// TestLoginElsewhere is accounts that nobody logs in with.
func TestLoginElsewhere(t *testing.T) {
	for _, login := range []Login{
		{JID: "romeo@other.test", Password: []byte("x")}, {JID: "romeo@" + domain}, {JID: domain, Password: []byte("x")},
		{JID: "@", Password: []byte("x")}, {JID: "romeo@sub." + domain, Password: []byte("x")},
	} {
		n := &network{to: map[string]string{}}
		if seen, err := Probe(t.Context(), Target{Domain: domain}, Options{Dialer: n, Login: &login}); err == nil || seen != nil || len(n.dialed) > 0 {
			t.Errorf("%q was taken: %v", login.JID, err)
		}
	}
	// An endpoint that nobody could reach.
	n := &network{to: map[string]string{}}
	seen := look(t, Target{Domain: domain}, Options{Dialer: n, Login: &Login{JID: "romeo@" + domain, Password: []byte("x")}})
	if seen.Login == nil || seen.Login.Err == "" {
		t.Errorf("%+v", seen.Login)
	}
}

// TestLoginOnion is an onion address without TLS, which proves itself, and a name to
// which somebody else's onion address leads, which does not.
func TestLoginOnion(t *testing.T) {
	t.Parallel()
	const onion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad.onion"
	for name, tt := range map[string]struct {
		target string
		proves func(policy.Endpoint) bool
		want   string
	}{
		"its own":             {onion, nil, "SCRAM-SHA-256"},
		"another's":           {domain, nil, ""},
		"bound to the domain": {domain, func(e policy.Endpoint) bool { return e.Host == onion }, "SCRAM-SHA-256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLot(t)
			h := house{mechanisms: []string{"SCRAM-SHA-256", "PLAIN"}, answer: func(string, string) string { return "" }}
			s := l.start(onion+":5222", func(c *lab.ScriptConn) {
				c.Open(tt.target, lab.FeatureSASL(h.mechanisms...))
				m := c.Expect(`<auth [^>]*mechanism='([^']*)'>([^<]*)</auth>`)
				if !h.login(c, m[1], m[2]) {
					return
				}
				c.Open(tt.target, lab.FeatureBind)
				h.session(c)
			})
			target := Target{Domain: tt.target, Endpoints: []policy.Endpoint{at("starttls://" + onion)}}
			if tt.target == onion { // as nobody names its endpoints
				target.Endpoints = nil
			}
			begin := time.Now()
			seen := look(t, target, Options{Dialer: l.net, Login: &Login{JID: "romeo@" + tt.target, Password: []byte(password), Proves: tt.proves, Plain: true}})
			if seen.Login.Mechanism != tt.want || (tt.want == "") != (seen.Login.Err != "") || tt.want == "" && strings.Contains(s.Received(), "<auth") {
				t.Errorf("%+v\n%s", seen.Login, s.Received())
			}
			if took := time.Since(begin); took > 6*time.Second {
				t.Errorf("it took %v", took)
			}
			if last := l.net.dialed[len(l.net.dialed)-1]; tt.target == onion && last != onion+":5223" {
				t.Errorf("%s was dialled last, and not a port that may end the circuit", last)
			}
		})
	}
}

// TestTwin compares an onion service with its clearnet twin.
func TestTwin(t *testing.T) {
	const onion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad.onion"
	l := newLot(t)
	both := l.cert(lab.CALeaf{Names: []string{domain, onion}})
	caps := func(node, ver string) string {
		return sasl + "<c xmlns='" + nsCaps + "' hash='sha-1' node='" + node + "' ver='" + ver + "'/>"
	}
	for i, tt := range []struct {
		name  string
		twin  server
		same  bool
		proof string
		err   string
		what  string
	}{
		{"the same", server{}, true, "", "", ""},
		{"the same, and tells it", server{cert: both}, true, "its certificate names the onion address", "", ""},
		{"other software", server{secure: caps("https://other.test", "x=")}, false, "", "", "software in the capabilities: https://soft.test here, https://other.test there"},
		{"other features or contacts", server{secure: strings.Replace(goodSecure, "ver='x='", "ver='y='", 1)}, false, "", "", "capabilities: other features or contacts"},
		{"a form", server{form: "<username/><password/>"}, false, "", "", "fields for new accounts: none here, username password there"},
		{"somebody else", server{cert: l.cert(lab.CALeaf{Names: []string{"other.test"}})}, false, "", "its certificate does not prove that it is the domain's", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &lot{t: t, ca: l.ca, net: &network{to: map[string]string{}}}
			here := server{cert: l.cert(lab.CALeaf{Names: []string{onion}}), anyHost: true}
			if tt.twin.cert.Certificate == nil {
				tt.twin.cert = l.cert(lab.CALeaf{Names: []string{domain}})
			}
			l.start(onion+":5222", here.run)
			host := fmt.Sprintf("twin%d.test", i)
			l.start(host+":5222", tt.twin.run)
			z := zone{"_xmpp-client._tcp." + domain: {"SRV 0 5 5222 " + host + "."}}
			seen := look(t, Target{Domain: onion, Twin: domain}, Options{Dialer: l.net, Lookup: z.lookup, Roots: l.ca.Pool()})
			o := seen.Onion
			if tt.err != "" {
				if o.TwinSame != nil || o.TwinErr != tt.err {
					t.Errorf("%+v", o)
				}
				return
			}
			if o.TwinSame == nil || *o.TwinSame != tt.same || o.TwinProof != tt.proof || o.TwinErr != "" || strings.Join(o.TwinDiffers, "; ") != tt.what && !(tt.what != "" && strings.Contains(strings.Join(o.TwinDiffers, "; "), tt.what)) {
				t.Errorf("%+v", o)
			}
		})
	}
	// Nobody at the twin.
	n := &network{to: l.net.to}
	l.start(onion+":5222", server{cert: both, anyHost: true, conf: func(*tls.Config) {}}.run)
	if seen := look(t, Target{Domain: onion, Twin: domain}, Options{Dialer: n, Roots: l.ca.Pool()}); seen.Onion.TwinSame != nil || seen.Onion.TwinErr == "" {
		t.Errorf("nobody there: %+v", seen.Onion)
	}
}
