package audit

import (
	"slices"
	"strings"
	"testing"
)

// TestSuiteLevels is what the report says of each suite: the level, and what is
// missing for the next one.
func TestSuiteLevels(t *testing.T) {
	without := func(features ...string) func(*Observation) {
		drop := func(list []string) []string {
			return slices.DeleteFunc(list, func(f string) bool { return slices.Contains(features, f) })
		}
		return func(o *Observation) {
			l := o.Login
			l.Features, l.Server.Features, l.Account.Features = drop(l.Features), drop(l.Server.Features), drop(l.Account.Features)
			for name, d := range l.Components {
				d.Features = drop(d.Features)
				l.Components[name] = d
			}
		}
	}
	const outside = " (XEP-0114 cannot be seen from outside)"
	for _, tt := range []struct {
		name, id string
		change   func(*Observation)
		want     string
	}{
		{"all", "suite.core", without(), "level Advanced Server" + outside},
		{"all", "suite.web", without(), "level Advanced Server"},
		{"all", "suite.im", without(), "level Advanced Server"},
		{"all", "suite.mobile", without(), "level Advanced Server"},
		{"all", "suite.av", without(), "level Advanced Server"},
		{"no direct TLS", "suite.core", func(o *Observation) { o.Endpoints = slices.Delete(o.Endpoints, 1, 2) },
			"level Server; for Advanced Server: Direct TLS (XEP-0368) missing" + outside},
		{"no direct TLS, and nobody looked", "suite.mobile", func(o *Observation) { o.DNS, o.Endpoints = nil, slices.Delete(o.Endpoints, 1, 2) },
			"level Server; for Advanced Server: Direct TLS (XEP-0368) not seen"},
		{"no disco", "suite.av", without("http://jabber.org/protocol/disco#info"), "no level; for Server: Feature discovery (XEP-0030) missing"},
		{"no TURN", "suite.av", without("urn:xmpp:extdisco:2"), "no level; for Server: STUN and TURN discovery (XEP-0215) missing"},
		{"no push", "suite.mobile", without("urn:xmpp:push:0"), "level Server; for Advanced Server: Push notifications (XEP-0357) missing"},
		{"no carbons, no upload, no blocking", "suite.im", without("urn:xmpp:carbons:2", "urn:xmpp:http:upload:0", "urn:xmpp:blocking"),
			"no level; for Server: Outbound message synchronization (XEP-0280), File upload (XEP-0363) missing"},
		{"no archives, no caps", "suite.im", func(o *Observation) {
			without("urn:xmpp:mam:2")(o)
			for i := range o.Endpoints {
				o.Endpoints[i].Secure.CapsNode = ""
			}
		}, "level Server; for Advanced Server: Group chat history (XEP-0313), History (XEP-0313), Feature broadcasts (XEP-0115) missing"},
		{"private storage that is not told", "suite.im", func(o *Observation) { without("jabber:iq:private")(o); o.Login.Private = true }, "level Advanced Server"},
		{"rooms in silence", "suite.im", func(o *Observation) { o.Login.Components["rooms.example.org"] = Disco{Err: "timeout"} }, "for Server: Group chat (XEP-0045) not seen"},
	} {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			o := good(t)
			tt.change(o)
			i := slices.IndexFunc(Checks(), func(c Check) bool { return c.ID == tt.id })
			found := Checks()[i].Run(o)
			if len(found) != 1 || found[0].Evidence != tt.want || strings.HasPrefix(tt.want, "level") != (found[0].Verdict == Pass) {
				t.Errorf("%+v, want %q", found, tt.want)
			}
		})
	}
}
