package conformance

import (
	"slices"
	"testing"

	"xmpp-gw/server/store"
)

// RFC 6121 §4: who learns of whose presence.
func TestPresence(t *testing.T) {
	w := newWorld(t)
	// juliet sees romeo and is seen by him; nurse only sees juliet; tybalt neither.
	w.befriend(t, "juliet", "romeo", store.SubBoth)
	w.befriend(t, "nurse", "juliet", store.SubTo)
	w.account(t, "tybalt")
	romeo, nurse, tybalt := w.online(t, "romeo", "orchard"), w.online(t, "nurse", "hall"), w.online(t, "tybalt", "street")
	garden := w.online(t, "juliet", "garden")
	syncAll(t, romeo, nurse, tybalt, garden)

	chamber := w.login("juliet", "chamber")
	t.Run("4.2.2 initial presence", func(t *testing.T) {
		chamber.send(t, "<presence><status>here</status></presence>")
		chamber.sync(t)
		for _, c := range []*client{romeo, nurse, garden} {
			c.wants(t, "<presence from='%s' type='-'><status>here</status></presence>", chamber.jid)
		}
		chamber.has(t, "<presence from='%s' type='-'><status>here</status></presence>", chamber.jid)
		chamber.has(t, "<presence from='%s' type='-'></presence>", romeo.jid) // §4.3: by a probe
		chamber.has(t, "<presence from='%s' type='-'></presence>", garden.jid)
		chamber.lacks(t, "<presence from='%s' type='-'></presence>", nurse.jid) // juliet does not see her
		tybalt.quiet(t)
	})
	t.Run("4.4.2 later presence", func(t *testing.T) {
		chamber.send(t, "<presence><show>away</show></presence>")
		chamber.sync(t)
		chamber.has(t, "<presence from='%s' type='-'><show>away</show></presence>", chamber.jid)
		for _, c := range []*client{romeo, nurse, garden} {
			c.wants(t, "<presence from='%s' type='-'><show>away</show></presence>", chamber.jid)
		}
		chamber.lacks(t, "<presence from='%s' type='-'></presence>", romeo.jid) // it is not asked for again
		tybalt.quiet(t)
	})
	t.Run("4.3.2 probes", func(t *testing.T) {
		for _, who := range []*client{romeo, nurse} {
			who.send(t, "<presence type='probe' to='%s'/>", bare("juliet"))
			who.wants(t, "<presence from='%s' to='%s' type='-'><show>away</show></presence>", chamber.jid, who.jid)
			who.has(t, "<presence from='%s' to='%s' type='-'/>", garden.jid, who.jid)
		}
		// Who may not see somebody learns as much as of somebody who does not exist: the
		// answer is not delivered in the asker's state (§A.3.4).
		for _, r := range []struct {
			who *client
			to  string
		}{{tybalt, "juliet"}, {tybalt, "nobody"}, {chamber, "nurse"}} {
			w.routed.take()
			r.who.send(t, "<presence type='probe' to='%s'/>", bare(r.to))
			r.who.quiet(t)
			want := []string{"unsubscribed from " + bare(r.to) + " to " + r.who.jid}
			if r.to == "nobody" { // §8.5.1: or nothing at all
				want = nil
			}
			if got := w.routed.take(); !slices.Equal(got, want) {
				t.Errorf("answered %q, want %q", got, want)
			}
		}
		juliet := bare("juliet")
		chamber.send(t, "<presence type='probe' to='%s'/>", juliet)
		chamber.wants(t, "<presence from='%s' type='-'/>", garden.jid) // oneself
		syncAll(t, romeo, nurse, tybalt, garden)
	})
	t.Run("4.6.3 directed presence", func(t *testing.T) {
		chamber.send(t, "<presence to='%s'><status>for you</status></presence>", tybalt.jid)
		chamber.sync(t)
		tybalt.wants(t, "<presence from='%s' to='%s' type='-'><status>for you</status></presence>", chamber.jid, tybalt.jid)
		nurse.quiet(t)
		chamber.send(t, "<presence><show>dnd</show></presence>")
		chamber.sync(t)
		tybalt.quiet(t) // changes are not for whom presence was directed to
		syncAll(t, romeo, nurse, garden)
	})
	t.Run("4.5.2 unavailable presence", func(t *testing.T) {
		chamber.send(t, "<presence type='unavailable'><status>good night</status></presence>")
		chamber.sync(t)
		chamber.has(t, "<presence from='%s' type='unavailable'><status>good night</status></presence>", chamber.jid)
		for _, c := range []*client{romeo, nurse, garden, tybalt} {
			c.wants(t, "<presence from='%s' type='unavailable'><status>good night</status></presence>", chamber.jid)
		}
		chamber.send(t, "<presence type='unavailable'/>")
		chamber.sync(t)
		for _, c := range []*client{romeo, nurse, garden, tybalt} {
			c.quiet(t) // it was unavailable already
		}
	})
	t.Run("4.5.2 the end of a session", func(t *testing.T) {
		garden.Close()
		for _, c := range []*client{romeo, nurse} {
			c.eventually(t, "<presence from='%s' type='unavailable'></presence>", garden.jid)
		}
		tybalt.quiet(t)
	})
	t.Run("4.3.2 nobody is there", func(t *testing.T) {
		romeo.send(t, "<presence type='probe' to='%s'/>", bare("juliet"))
		romeo.wants(t, "<presence from='%s' type='unavailable'></presence>", bare("juliet"))
	})
}

// RFC 6121 §8.5.1: what is sent to an account that does not exist, and to a domain
// that is not served.
func TestNoSuchUser(t *testing.T) {
	w := newWorld(t)
	c := w.online(t, "romeo", "orchard")
	c.sync(t)
	for _, r := range []struct{ section, sent, want string }{
		{"8.5.1", "<iq type='get' id='x' to='nobody@example.org'><query xmlns='jabber:iq:version'/></iq>", "service-unavailable"},
		{"8.5.1", "<iq type='set' id='x' to='nobody@example.org/r'><query xmlns='jabber:iq:version'/></iq>", "service-unavailable"},
		{"8.5.1", "<iq type='result' id='x' to='nobody@example.org'/>", ""},
		{"8.5.1", "<message type='chat' id='x' to='nobody@example.org'><body>hi</body></message>", "service-unavailable"},
		{"8.5.1", "<message type='error' id='x' to='nobody@example.org'><body>hi</body></message>", ""},
		{"8.5.1", "<presence id='x' to='nobody@example.org'/>", ""},
		{"8.5.1", "<presence id='x' type='unavailable' to='nobody@example.org'/>", ""},
		{"8.5.1", "<presence id='x' type='subscribe' to='nobody@example.org'/>", ""},
		{"8.5.1", "<presence id='x' type='unsubscribe' to='nobody@example.org'/>", ""},
		// RFC 6120 §10.4: no connection to other servers yet
		{"10.4", "<message type='chat' id='x' to='a@elsewhere.example'><body>hi</body></message>", "remote-server-not-found"},
		{"10.4", "<iq type='get' id='x' to='elsewhere.example'><query xmlns='jabber:iq:version'/></iq>", "remote-server-not-found"},
	} {
		c.send(t, "%s", r.sent)
		got := ""
		for _, n := range c.sync(t) {
			if n.Attr("type") == "error" {
				got = condition(n)
			}
		}
		if got != r.want {
			t.Errorf("%s: %s\n gets %q, want %q", r.section, r.sent, got, r.want)
		}
	}
}

// RFC 6121 §8.5.2.1.3, §8.5.3: IQs to accounts and resources.
func TestIQ(t *testing.T) {
	w := newWorld(t)
	romeo, juliet := w.online(t, "romeo", "orchard"), w.online(t, "juliet", "balcony")
	silent := w.login("juliet", "silent")
	syncAll(t, romeo, juliet, silent)
	for _, r := range []struct {
		section, to, typ string
		want             string // the session that gets it, or the error that comes back
	}{
		{"8.5.3.1", juliet.jid, "get", "balcony"},
		{"8.5.3.1", juliet.jid, "set", "balcony"},
		{"8.5.3.1", juliet.jid, "result", "balcony"},
		{"8.5.3.1", juliet.jid, "error", "balcony"},
		{"8.5.3.1", silent.jid, "get", "silent"},
		{"8.5.3.2.3", bare("juliet") + "/nobody", "get", "service-unavailable"},
		{"8.5.3.2.3", bare("juliet") + "/nobody", "set", "service-unavailable"},
		{"8.5.3.2.3", bare("juliet") + "/nobody", "result", ""},
		{"8.5.3.2.3", bare("juliet") + "/nobody", "error", ""},
		{"8.5.2.1.3", bare("juliet"), "get", "service-unavailable"}, // of an unknown namespace
		{"8.5.2.1.3", bare("juliet"), "set", "service-unavailable"},
		{"8.5.2.1.3", bare("juliet"), "result", ""},
	} {
		payload := "<query xmlns='urn:example:unknown'/>"
		if r.typ == "error" {
			payload = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
		}
		romeo.send(t, "<iq to='%s' type='%s' id='q'>%s</iq>", r.to, r.typ, payload)
		got := ""
		for _, n := range romeo.sync(t) {
			if n.Attr("type") == "error" {
				got += condition(n)
			}
		}
		for name, c := range map[string]*client{"balcony": juliet, "silent": silent} {
			for _, n := range c.sync(t) {
				if n.Name == "iq" && n.Attr("id") == "q" && n.Attr("from") == romeo.jid {
					got += name
				}
			}
		}
		if got != r.want {
			t.Errorf("%s: %s to %s: %q, want %q", r.section, r.typ, r.to, got, r.want)
		}
	}
}

// RFC 6121 §8.5.2.1.2, §8.5.3: presence that strangers send.
func TestPresenceRouting(t *testing.T) {
	w := newWorld(t)
	romeo, juliet := w.online(t, "romeo", "orchard"), w.online(t, "juliet", "balcony")
	minus := w.login("juliet", "minus")
	minus.send(t, "<presence><priority>-5</priority></presence>")
	silent := w.login("juliet", "silent")
	syncAll(t, romeo, juliet, minus, silent)
	for _, r := range []struct {
		section, to, typ string
		want             map[*client]bool
	}{
		{"8.5.2.1.2", bare("juliet"), "", map[*client]bool{juliet: true, minus: true}},
		{"8.5.2.1.2", bare("juliet"), "unavailable", map[*client]bool{juliet: true, minus: true}},
		{"8.5.3.1", juliet.jid, "", map[*client]bool{juliet: true}},
		{"8.5.3.1", silent.jid, "", map[*client]bool{silent: true}},
		{"8.5.3.1", minus.jid, "unavailable", map[*client]bool{minus: true}},
		{"8.5.3.2.2", bare("juliet") + "/nobody", "", nil},
		{"8.5.3.2.2", bare("juliet") + "/nobody", "unavailable", nil},
		{"8.5.2.1.2", bare("juliet"), "subscribe", map[*client]bool{juliet: true, minus: true}},
	} {
		typ := ""
		if r.typ != "" {
			typ = "type='" + r.typ + "'"
		}
		romeo.send(t, "<presence to='%s' id='p' %s/>", r.to, typ)
		romeo.sync(t)
		for _, c := range []*client{juliet, minus, silent} {
			got := false
			for _, n := range c.sync(t) {
				got = got || n.Name == "presence"
			}
			if got != r.want[c] {
				t.Errorf("%s: %q to %s reaches %s: %v, want %v", r.section, r.typ, r.to, c.jid, got, r.want[c])
			}
		}
	}
}
