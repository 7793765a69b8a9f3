package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
)

// hidden is a world that only a SOCKS server knows: a domain, its DNS server and
// its XMPP server.
type hidden struct {
	daemon *daemon.Daemon
	socks  *lab.SOCKSServer
	dns    *lab.DNSServer
	server *lab.Script
	user   atomic.Pointer[string] // who logs in next
}

const (
	hiddenDomain   = "capulet.invalid"      // RFC 6761 §6.4: no resolver on earth has it
	hiddenHost     = "xmpp.capulet.invalid" // where its SRV record leads
	hiddenResolver = "192.0.2.53:53"        // RFC 5737: nobody is there
)

// newHidden starts that world, with a daemon whose way out is Tor or, with hop, a
// socks hop. run is what the XMPP server does.
func newHidden(t *testing.T, hop bool, run func(*hidden, *server)) *hidden {
	t.Helper()
	h := &hidden{}
	name := user
	h.user.Store(&name)
	ca, err := lab.NewCA()
	must(t, err)
	dir := t.TempDir()
	must(t, ca.Write(dir))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	h.server, err = lab.NewScript(func(c *lab.ScriptConn) {
		run(h, &server{ScriptConn: c, row: &row{domain: hiddenDomain}, ca: ca, key: key})
	})
	must(t, err)
	t.Cleanup(h.server.Close)
	h.dns, err = lab.DNSStart(lab.DNSZone{
		"_xmpp-client._tcp." + hiddenDomain: {"SRV 0 0 5222 " + hiddenHost + "."},
	}, nil)
	must(t, err)
	t.Cleanup(func() { h.dns.Close() })
	h.socks, err = lab.SOCKSStart("tcp", "127.0.0.1:0", map[string]string{
		hiddenHost + ":5222": h.server.Addr(),
		hiddenResolver:       h.dns.Addr(),
	})
	must(t, err)
	t.Cleanup(func() { h.socks.Close() })

	config := fmt.Sprintf("[tor]\nmode = \"system\"\nsocks = [%q]\n[default]\nroute = \"tor\"\n", h.socks.Addr())
	if hop {
		config = fmt.Sprintf("[socks.hop]\nurl = \"socks5://%s\"\n[default]\nroute = \"socks:hop\"\n", h.socks.Addr())
	}
	names, err := h.dns.Section("tcp://"+hiddenResolver, dir)
	must(t, err)
	h.daemon = daemon.Run(t, daemon.Options{Config: config + names + fmt.Sprintf("[domain.%q]\nca = %q\n", hiddenDomain, filepath.Join(dir, "ca.pem"))})
	return h
}

// echo lets the next account in and sends its messages back.
func (h *hidden) echo(s *server) {
	s.secure().Login(s.domain, *h.user.Load(), password)
	s.echo()
}

// visit logs an account in and out, and returns the requests that the SOCKS
// server got from that.
func (h *hidden) visit(t *testing.T, spelled, account string) []lab.SOCKSRequest {
	t.Helper()
	before := len(h.socks.Requests())
	h.user.Store(&account)
	c := dial(t, h.daemon.C2S, h.daemon.CA, hiddenDomain)
	c.loginAs(spelled)
	c.echo()
	c.send("</stream:stream>")
	c.rest()
	return h.socks.Requests()[before:]
}

// Never 2: a name that only the SOCKS server knows is resolved nowhere else. The
// resolver gets the SRV questions, through the proxy as well; the host goes to
// the proxy as a name, once for each connection. Tor, and no other proxy, is also
// asked for the domain's web server, which may name an onion address.
func TestNoNameOutsideTheRoute(t *testing.T) {
	t.Parallel()
	for name, hop := range map[string]bool{"tor": false, "hop": true} {
		t.Run(name, func(t *testing.T) {
			h := newHidden(t, hop, (*hidden).echo)
			requests := withoutHostMeta(t, h.visit(t, user, user), hiddenDomain, !hop)
			want := []lab.SOCKSRequest{{Target: hiddenResolver}, {Target: hiddenHost + ":5222", Name: true}}
			if !hop {
				want = append(want, want[1])
			}
			if len(requests) != len(want) {
				t.Fatalf("a login makes the connections %+v, want %+v", requests, want)
			}
			if !hop && (requests[2].User == requests[1].User || requests[2].Password == requests[1].Password) {
				t.Errorf("the second look is by the circuit of the first: %+v", requests)
			}
			for i, r := range requests {
				if r.Target != want[i].Target || r.Name != want[i].Name || r.Reply != 0 {
					t.Errorf("connection %d is %+v, want %+v", i, r, want[i])
				}
			}
			if n := h.server.Accepted(); n != len(want)-1 {
				t.Errorf("the server got %d connections for %d CONNECTs", n, len(want)-1)
			}
			asked := map[string]int{}
			for _, q := range h.dns.Queries() {
				asked[q.Type+" "+q.Name+" "+q.Over]++
			}
			for _, question := range []string{"SRV _xmpp-client._tcp." + hiddenDomain, "SRV _xmpps-client._tcp." + hiddenDomain, "DNSKEY ", "DS invalid"} {
				if asked[question+" tcp"] != 1 {
					t.Errorf("DNS was asked %v, want each SRV name and each key once", asked)
				}
			}
			// What is asked besides is the keys of the zones above, and no address.
			for question, times := range asked {
				if qtype, _, _ := strings.Cut(question, " "); times != 1 || !strings.HasSuffix(question, " tcp") || !slices.Contains([]string{"SRV", "DS", "DNSKEY"}, qtype) {
					t.Errorf("DNS was asked for %s %d times", question, times)
				}
			}

			// What the proxy does not know ends there: no other resolver, no
			// other route (never 1).
			before := len(h.socks.Requests())
			c := dial(t, h.daemon.C2S, h.daemon.CA, "montague.invalid")
			c.tryLogin()
			if v, raw := c.verdict(); v.condition != "remote-connection-failed" {
				t.Errorf("a domain that nobody knows gives %+v (%q)", v, raw)
			}
			requests = withoutHostMeta(t, h.socks.Requests()[before:], "montague.invalid", !hop)
			if len(requests) != 2 || requests[0].Target != hiddenResolver || requests[1].Target != "montague.invalid:5222" || !requests[1].Name {
				t.Errorf("a domain that nobody knows makes the connections %+v", requests)
			}
		})
	}
}

// withoutHostMeta takes the one request for a domain's web server out, which goes
// beside the others, by the same user and by name; or none where none is wanted.
func withoutHostMeta(t *testing.T, requests []lab.SOCKSRequest, domain string, wanted bool) []lab.SOCKSRequest {
	t.Helper()
	var rest []lab.SOCKSRequest
	asked := 0
	for _, r := range requests {
		if r.Target != domain+":443" {
			rest = append(rest, r)
			continue
		}
		if asked++; !r.Name || r.User != requests[0].User || r.Password != requests[0].Password {
			t.Errorf("the web server was asked for in another way: %+v", r)
		}
	}
	if asked > 1 || wanted != (asked == 1) {
		t.Errorf("the web server of %s was asked for %d times, wanted: %v", domain, asked, wanted)
	}
	return rest
}

// Never 10: each account has a SOCKS username and password of its own, the same
// each time, and they do not tell who it is. The second look at the server's key,
// which comes once, has a pair of its own as well.
func TestAccountsDoNotShareCircuits(t *testing.T) {
	t.Parallel()
	h := newHidden(t, false, (*hidden).echo)
	looks := 1
	pair := func(spelled, account string) string {
		t.Helper()
		requests := h.visit(t, spelled, account)
		if len(requests) == 0 {
			t.Fatalf("%s went another way", account)
		}
		first := requests[0].User + ":" + requests[0].Password
		for _, r := range requests {
			if looks > 0 && r.Target == hiddenHost+":5222" && r.User != requests[0].User {
				looks--
			} else if r.User == "" || r.Password == "" || r.User+":"+r.Password != first {
				t.Errorf("one login of %s uses the pairs %q and %q", account, first, r.User+":"+r.Password)
			}
			for _, s := range []string{account, hiddenDomain, "capulet", account + "@" + hiddenDomain, password} {
				for _, hidden := range []string{s, hex.EncodeToString([]byte(s)), base64.RawStdEncoding.EncodeToString([]byte(s))} {
					if strings.Contains(strings.ToLower(r.User+r.Password), strings.ToLower(hidden)) {
						t.Errorf("the pair %q tells %q", first, s)
					}
				}
			}
		}
		return first
	}
	juliet := pair("juliet", "juliet")
	if again := pair("juliet", "juliet"); again != juliet {
		t.Errorf("the same account has the pair %q and then %q", juliet, again)
	}
	if again := pair("Juliet", "juliet"); again != juliet {
		t.Errorf("another spelling of the account has a pair of its own")
	}
	if again := pair("juliet@"+hiddenDomain, "juliet"); again != juliet {
		t.Errorf("the account as a whole address has a pair of its own")
	}
	if romeo := pair("romeo", "romeo"); romeo == juliet {
		t.Errorf("two accounts share the pair %q", romeo)
	}
	if looks != 0 {
		t.Error("nobody looked at the server's key a second time")
	}

	// A registration belongs to no account yet, so to no account's circuit. A
	// second daemon has other pairs: nobody can link two machines by them.
	other := newHidden(t, false, (*hidden).echo)
	if theirs := other.visit(t, user, user); len(theirs) == 0 || theirs[0].User+":"+theirs[0].Password == juliet {
		t.Errorf("two daemons use the same pair")
	}
}

// Never 6: where a server says to go never reaches the client.
func TestNoPlaceReachesTheClient(t *testing.T) {
	t.Parallel()
	h := newHidden(t, false, func(_ *hidden, s *server) {
		s.good().Expect(`<enable[^>]*/>`)
		s.Send("<enabled xmlns='urn:xmpp:sm:3' id='some-id' location='[2001:db8::5]:9222' resume='true' max='300'/>")
		s.Expect(`<presence/>`)
		s.Send(seeOther("node5." + hiddenDomain))
		s.Hang()
	})
	c := dial(t, h.daemon.C2S, h.daemon.CA, hiddenDomain)
	c.login()
	c.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	enabled := c.expect(`<enabled[^>]*/>`)
	for _, s := range []string{"id='some-id'", "resume='true'", "max='300'", "urn:xmpp:sm:3"} {
		if !strings.Contains(enabled, s) {
			t.Errorf("the client gets %s, without %s", enabled, s)
		}
	}
	c.send("<presence/>")
	v, raw := c.verdict()
	if v.kind != "stream" || v.condition != "reset" {
		t.Errorf("see-other-host becomes %+v (%q), want a stream error reset", v, raw)
	}
	for _, s := range []string{"location", "2001:db8", "9222", "node5", "see-other-host"} {
		if strings.Contains(enabled+raw, s) {
			t.Errorf("the client is told %q: %s %s", s, enabled, raw)
		}
	}
}
