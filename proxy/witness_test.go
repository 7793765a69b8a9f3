package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/dane"
	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// river is a ground behind Tor where somebody may be in the middle of some circuits:
// with a certificate for the domain that a public authority gave out, and the
// password, so that only the key tells.
type river struct {
	*ground
	socks    *lab.SOCKSServer
	impostor *lab.Script
	pins     *tlsauth.PinStore
	key      string // the server's own

	mu       sync.Mutex
	captured string // circuits whose user begins so lead to the impostor
	cut      string // and those nowhere
	looks    chan struct{}
}

func newRiver(t *testing.T, change func(*policy.Decision, *Config)) *river {
	t.Helper()
	r := &river{looks: make(chan struct{}, 16), captured: "-", cut: "-"}
	ca, err := lab.NewCA()
	check(t, err)
	forged, err := ca.Leaf(lab.CALeaf{Names: []string{testDomain}})
	check(t, err)
	r.impostor, err = lab.NewScript(func(c *lab.ScriptConn) {
		c.Good(testDomain, forged, testUser, testPassword)
		echo(c)
	})
	check(t, err)
	t.Cleanup(r.impostor.Close)
	r.socks, err = lab.SOCKSStart("tcp", "127.0.0.1:0", nil)
	check(t, err)
	t.Cleanup(func() { r.socks.Close() })
	r.ground = newGround(t, good, func(d *policy.Decision, c *Config) {
		c.Egress, err = egress.New(egress.Config{Tor: func(context.Context) (string, error) { return r.socks.Addr(), nil },
			Budgets: egress.Budgets{Exit: 5 * time.Second}})
		check(t, err)
		c.Isolate = func(parts ...string) egress.Isolation {
			return egress.Isolation{User: strings.Join(parts, " "), Password: "x"}
		}
		c.Roots.AddCert(ca.Certificate())
		r.pins = c.Pins
		d.Route.Kind = policy.RouteTor
		d.Endpoints = []policy.Endpoint{{Transport: policy.STARTTLS, Host: "xmpp." + testDomain, Port: 5222}}
		d.Witness = policy.WitnessOnChange
		if change != nil {
			change(d, c)
		}
	})
	r.key = tlsauth.SPKI(r.cert.Leaf)
	r.socks.Map("xmpp."+testDomain+":5222", r.server.Addr())
	r.socks.Steer(func(q lab.SOCKSRequest) string {
		if strings.HasPrefix(q.User, "witness") {
			r.looks <- struct{}{}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case strings.HasPrefix(q.User, r.cut):
			return "unix:/nowhere"
		case strings.HasPrefix(q.User, r.captured):
			return r.impostor.Addr()
		}
		return ""
	})
	return r
}

// set captures and cuts circuits: "account", "witness", or "-" for none.
func (r *river) set(captured, cut string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.captured, r.cut = captured, cut
}

// users are whose circuits were used since the last call.
func (r *river) users(from int) (list []string) {
	for _, q := range r.socks.Requests()[from:] {
		list = append(list, q.User)
	}
	return list
}

// login gives what status shows of the session, or what the client was told.
func (r *river) login() (SessionInfo, string) {
	r.t.Helper()
	c := r.dial()
	c.startTLS(r.ground)
	c.auth(testUser, testPassword)
	got := c.expect(`<success[^>]*/>|</stream:error>|</failure>`)
	if !strings.Contains(got, "<success") {
		return SessionInfo{}, got
	}
	c.open()
	c.bind()
	all := r.gw.Sessions(r.t.Context())
	_ = c.Close()
	r.drained()
	return all[len(all)-1], ""
}

func (r *river) remembered() bool {
	r.t.Helper()
	seen, _, err := r.pins.Seen(testDomain)
	check(r.t, err)
	return slices.Equal(seen.Keys, []string{r.key})
}

// clean demands that the impostor heard nothing of a login.
func (r *river) clean() {
	r.t.Helper()
	if heard := r.impostor.Received(); strings.Contains(heard, "<auth") || strings.Contains(heard, "<authenticate") {
		r.t.Errorf("the impostor heard a login: %s", heard)
	}
}

// A key is looked at twice when it is new, over a circuit of its own, and not again.
func TestWitnessFirst(t *testing.T) {
	r := newRiver(t, nil)
	info, told := r.login()
	if told != "" || info.Witness != "the same key over a second circuit" || len(info.Warnings) > 0 || !r.remembered() {
		t.Fatalf("%s %+v", told, info)
	}
	users := r.users(0)
	if len(users) != 2 || !strings.HasPrefix(users[0], "account") || !strings.HasPrefix(users[1], "witness "+users[0]) {
		t.Errorf("circuits: %q", users)
	}
	if info, told = r.login(); told != "" || info.Witness != "not asked: the key is known" || len(r.users(2)) != 1 {
		t.Errorf("%s %+v, circuits %q", told, info, r.users(2))
	}
	r.clean()
}

// Somebody takes over one circuit of a domain whose key is known: the second one
// shows the known key, and nobody logs in. By the next circuit everything is well.
func TestWitnessIntercepted(t *testing.T) {
	r := newRiver(t, nil)
	if _, told := r.login(); told != "" {
		t.Fatal(told)
	}
	r.set("account", "-")
	for range 2 { // the key is not known the second time either
		_, told := r.login()
		if !strings.Contains(told, "shows another key over a second circuit") || !strings.Contains(told, "the other one is known") {
			t.Fatalf("told: %s", told)
		}
	}
	if !r.remembered() {
		t.Error("the impostor's key is remembered")
	}
	r.clean()
	r.set("-", "-")
	if info, told := r.login(); told != "" || info.Witness != "not asked: the key is known" {
		t.Errorf("afterwards: %s %+v", told, info)
	}
}

// On the first visit nobody can tell which of two keys is right: a warning, or a
// refusal by the stricter settings; and the key does not become a known one.
func TestWitnessFirstIntercepted(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*policy.Decision)
		refused bool
	}{
		"tofu-warn":   {func(d *policy.Decision) {}, false},
		"tofu-strict": {func(d *policy.Decision) { d.Pin = policy.PinTOFUStrict }, true},
		"always":      {func(d *policy.Decision) { d.Witness = policy.WitnessAlways }, true},
		"report":      {func(d *policy.Decision) { d.Witness, d.Mode = policy.WitnessAlways, policy.Report }, false},
		"off":         {func(d *policy.Decision) { d.Witness = policy.WitnessOff }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRiver(t, func(d *policy.Decision, _ *Config) { c.change(d) })
			r.set("account", "-")
			info, told := r.login()
			if (told != "") != c.refused || c.refused && !strings.Contains(told, "neither was seen before") {
				t.Fatalf("told %q", told)
			}
			if c.refused {
				r.clean()
			}
			if off := name == "off"; !c.refused && (len(info.Warnings) == 0) != off {
				t.Errorf("warnings: %q", info.Warnings)
			}
			if name == "tofu-warn" && (!strings.Contains(r.logs.String(), "a second look does not bear out the server's key") || strings.Contains(r.logs.String(), testDomain)) {
				t.Errorf("the log says nothing, or the domain:\n%s", r.logs)
			}
			if seen, _, _ := r.pins.Seen(testDomain); name != "off" && len(seen.Keys) > 0 {
				t.Errorf("%q is remembered", seen.Keys)
			}
		})
	}
}

// The second circuit fails: that is no pass, nor an attack.
func TestWitnessBlind(t *testing.T) {
	r := newRiver(t, nil)
	r.set("-", "witness")
	info, told := r.login()
	if told != "" || info.Witness != "not seen over a second circuit" || len(info.Warnings) != 1 || r.remembered() {
		t.Errorf("on-change: %s %+v", told, info)
	}
	r.set("witness", "-") // the other circuit is the one with somebody in it
	if info, told = r.login(); told != "" || info.Witness != "another key over a second circuit" {
		t.Errorf("on-change: %s %+v", told, info)
	}
	r = newRiver(t, func(d *policy.Decision, _ *Config) { d.Witness = policy.WitnessAlways })
	r.set("-", "witness")
	if _, told := r.login(); !strings.Contains(told, "could not be seen over a second circuit") {
		t.Errorf("always: %s", told)
	}
	if heard := r.server.Received(); strings.Contains(heard, "<auth") {
		t.Errorf("a login was tried: %s", heard)
	}
}

// With "always" the second look begins while the first server is still slow.
func TestWitnessParallel(t *testing.T) {
	r := newRiver(t, func(d *policy.Decision, _ *Config) { d.Witness = policy.WitnessAlways })
	slow, err := lab.NewScript(func(c *lab.ScriptConn) {
		select {
		case <-r.looks:
		case <-time.After(5 * time.Second):
			return // the server never says a word
		}
		good(r.ground, c)
	})
	check(t, err)
	t.Cleanup(slow.Close)
	r.socks.Steer(func(q lab.SOCKSRequest) string {
		if strings.HasPrefix(q.User, "witness") {
			r.looks <- struct{}{}
			return ""
		}
		return slow.Addr()
	})
	if info, told := r.login(); told != "" || info.Witness != "the same key over a second circuit" {
		t.Errorf("%s %+v", told, info)
	}
}

// A route without circuits has no second one, and says so.
func TestWitnessDirect(t *testing.T) {
	g := newGround(t, good, func(d *policy.Decision, _ *Config) { d.Witness = policy.WitnessAlways })
	c := g.dial()
	c.login(g)
	if all := g.gw.Sessions(t.Context()); len(all) != 1 || all[0].Witness != "skipped: the route has no second circuit" || g.server.Accepted() != 1 {
		t.Errorf("%+v", all)
	}
}

// What public logs say is in status and in the log, or keeps the login back.
func TestLogs(t *testing.T) {
	a, err := lab.NewCTLog("one", "log a")
	check(t, err)
	b, err := lab.NewCTLog("two", "log b")
	check(t, err)
	list, err := ct.ParseList(lab.CTList(time.Now(), a, b))
	check(t, err)
	for name, c := range map[string]struct {
		sct    policy.SCT
		logged bool
		told   string
		logs   string
	}{
		"require, logged": {policy.SCTRequire, true, "", "vouched for by log a, log b"},
		"require":         {policy.SCTRequire, false, "public logs do not vouch for the certificate of the server of " + testDomain, ""},
		"warn":            {policy.SCTWarn, false, "", "not vouched for: no log vouches for it: the server shows no timestamp of any"},
		"off":             {policy.SCTOff, false, "", `not asked: sct = "off"`},
	} {
		t.Run(name, func(t *testing.T) {
			ca, err := lab.NewCA()
			check(t, err)
			leaf := lab.CALeaf{Names: []string{testDomain}}
			if c.logged {
				leaf.SCTs = lab.LoggedBy(a, b)
			}
			cert, err := ca.Leaf(leaf)
			check(t, err)
			g := newGround(t, func(g *ground, s *lab.ScriptConn) { s.Good(testDomain, cert, testUser, testPassword); echo(s) },
				func(d *policy.Decision, conf *Config) {
					d.SCT, conf.Logs = c.sct, list
					conf.Roots.AddCert(ca.Certificate())
				})
			client := g.dial()
			client.startTLS(g)
			client.auth(testUser, testPassword)
			got := client.expect(`<success[^>]*/>|</stream:error>|</failure>`)
			if c.told != "" {
				if !strings.Contains(got, c.told) || strings.Contains(g.server.Received(), "<auth") {
					t.Errorf("told %s", got)
				}
				return
			}
			client.open()
			client.bind()
			info := g.gw.Sessions(t.Context())[0]
			warned := strings.Contains(g.logs.String(), "public logs do not vouch")
			if info.Logs != c.logs || warned != (name == "warn") || (len(info.Warnings) == 1) != warned || strings.Contains(g.logs.String(), testDomain) {
				t.Errorf("%+v\n%s", info, g.logs)
			}
		})
	}
}

// A server that TLSA records of its authority prove is looked at twice by the same
// rules: its certificate may be for the host alone. One of whose own key there is a
// record, or a pin, is looked at once.
func TestWitnessTLSA(t *testing.T) {
	ca, err := lab.NewCA()
	check(t, err)
	cert, err := ca.Leaf(lab.CALeaf{Names: []string{"xmpp." + testDomain}})
	check(t, err)
	server, err := lab.NewScript(func(c *lab.ScriptConn) {
		c.Good(testDomain, cert, testUser, testPassword)
		echo(c)
	})
	check(t, err)
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		usage    uint8
		of       *x509.Certificate
		pin      bool
		captured string
		looks    int // -1: as it comes
		witness  string
		told     string
	}{
		"authority":              {usage: dane.PKIXTA, of: ca.Certificate(), looks: 1, witness: "the same key over a second circuit"},
		"authority, intercepted": {usage: dane.PKIXTA, of: ca.Certificate(), captured: "witness", looks: 1, told: "could not be seen over a second circuit"},
		"key":                    {usage: dane.DANEEE, of: cert.Leaf, looks: -1, witness: "not asked: TLSA records in DNS prove the key"},
		"pin":                    {usage: dane.DANEEE, of: cert.Leaf, pin: true, witness: "not asked: the key is one of pins"},
	} {
		t.Run(name, func(t *testing.T) {
			var tree *lab.SignedTree
			r := newRiver(t, func(d *policy.Decision, conf *Config) {
				d.TLS, d.DNSSEC, d.Witness = policy.TLSDANE, policy.DNSSECPrefer, policy.WitnessAlways
				if c.pin {
					d.Pins = []string{tlsauth.SPKI(cert.Leaf)}
				}
				conf.Roots.AddCert(ca.Certificate())
				conf.Prover = func(context.Context, egress.Dialer) resolve.Prover {
					return dnssec.New(dnssec.Config{Exchange: tree.Exchange, Anchors: tree.Anchors()})
				}
			})
			sum := sha256.Sum256(c.of.RawSubjectPublicKeyInfo)
			tree = lab.SignTree(time.Now(), lab.SignedZone{Name: testDomain + ".", Records: []string{
				"xmpp." + testDomain + ". IN A 192.0.2.1",
				fmt.Sprintf("_5222._tcp.xmpp.%s. IN TLSA %d 1 1 %x", testDomain, c.usage, sum)}})
			r.socks.Map("xmpp."+testDomain+":5222", server.Addr())
			if c.captured != "" {
				r.set(c.captured, "-")
			}
			info, told := r.login()
			if !strings.Contains(told, c.told) || c.told == "" && told != "" || info.Witness != c.witness || c.looks >= 0 && len(r.looks) != c.looks {
				t.Errorf("told %q, witness %q, %d looks", told, info.Witness, len(r.looks))
			}
		})
	}
}
