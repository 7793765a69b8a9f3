package proxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// An onion address is as good as what named it. Who is in the middle of one circuit,
// with a certificate that an authority gave out wrongly, can name an onion of his own
// in the domain's host-meta, and nobody is between Tor and that. So the second look
// asks what the domain says over the other circuit.
func TestWitnessOnion(t *testing.T) {
	for _, c := range []struct {
		name    string
		forged  bool // the web server that the account's circuit meets is somebody else's
		known   bool // the domain's key is
		change  func(*policy.Decision)
		there   bool // the login is tried at the onion address
		witness string
		kept    bool // the onion address is remembered
	}{
		{name: "named by both", there: true, witness: "the same key over a second circuit", kept: true},
		{name: "named by one, first visit", forged: true, there: true, witness: "not named over a second circuit"},
		{name: "named by one, report", forged: true, known: true, change: func(d *policy.Decision) { d.Mode = policy.Report }, there: true, witness: "not named over a second circuit"},
		// The next place of the domain's is tried then.
		{name: "named by one, strict", forged: true, change: func(d *policy.Decision) { d.Pin = policy.PinTOFUStrict }, witness: "the same key over a second circuit"},
		{name: "named by one, always", forged: true, change: func(d *policy.Decision) { d.Witness = policy.WitnessAlways }, witness: "the same key over a second circuit"},
		{name: "named by one, known", forged: true, known: true, witness: "not asked: the key is known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ca, err := lab.NewCA()
			check(t, err)
			leaf, err := ca.Leaf(lab.CALeaf{Names: []string{testDomain}})
			check(t, err)
			web := func(link string) *lab.Script {
				s, err := lab.NewScript(func(c *lab.ScriptConn) {
					req := c.HTTPS(leaf)
					if req.Host != testDomain {
						c.WebSocket(req, "xmpp")
						c.WebLogin(testDomain, testUser, testPassword)
						echo(c)
						return
					}
					body := `<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0">` + link + `</XRD>`
					c.Answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
				})
				check(t, err)
				t.Cleanup(s.Close)
				return s
			}
			naming := web(`<Link rel="urn:xmpp:alt-connections:websocket" href="wss://` + someOnion + `/ws"/>`)
			silent := web("")
			memory := &reached{}
			r := newRiver(t, func(d *policy.Decision, conf *Config) {
				conf.Roots.AddCert(ca.Certificate())
				conf.Lookup = func(egress.Dialer) resolve.SRVLookup {
					return &lookup{records: []resolve.SRV{srv("xmpp."+testDomain, 0)}}
				}
				conf.Onions = memory
				d.Endpoints, d.Upgrade, d.DNSSEC = nil, policy.UpgradeSticky, policy.DNSSECOff
				if c.change != nil {
					c.change(d)
				}
			})
			if c.known {
				line := testDomain + " first=2026-01-01 last=2026-01-01 " + tlsauth.SPKI(r.cert.Leaf) + "\n"
				check(t, os.WriteFile(r.pins.Path(), []byte(line), 0o600))
			}
			r.socks.Steer(func(q lab.SOCKSRequest) string {
				if c.forged && strings.HasPrefix(q.User, "witness") && q.Target == testDomain+":443" {
					return silent.Addr()
				}
				if q.Target == testDomain+":443" || q.Target == someOnion+":443" {
					return naming.Addr()
				}
				return ""
			})
			info, told := r.login()
			if told != "" || info.Witness != c.witness || (memory.String() != "") != c.kept {
				t.Errorf("told %q, witness %q, warnings %q, remembered %q", told, info.Witness, info.Warnings, memory)
			}
			if doubted := c.forged && c.there; (len(info.Warnings) > 0) != doubted || strings.Contains(naming.Received(), "<auth") != c.there {
				t.Errorf("warnings %q, and the server at the onion address heard %s", info.Warnings, naming.Received())
			}
			seen, _, err := r.pins.Seen(testDomain)
			check(t, err)
			if kept := strings.Contains(strings.Join(seen.Keys, " "), tlsauth.SPKI(leaf.Leaf)); kept != c.kept {
				t.Errorf("keys: %q", seen.Keys)
			}
			if !c.forged {
				return
			}
			// What was doubted is not there for the next login to take.
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			asked := false
			r.gw.links.Over(resolve.HostMeta{Dial: dialFunc(func() { asked = true })}, "another")(ctx, testDomain)
			if !asked {
				t.Error("the address is still among those that are known")
			}
		})
	}
}

// dialFunc tells of a dial, which fails.
type dialFunc func()

func (f dialFunc) DialContext(context.Context, string, string) (net.Conn, error) {
	f()
	return nil, os.ErrDeadlineExceeded
}
