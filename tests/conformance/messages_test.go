package conformance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What a recipient's session is like, by its resource.
var sessions = map[string]string{
	"five":     "<presence><priority>5</priority></presence>",
	"one":      "<presence><priority>1</priority></presence>",
	"zero":     "<presence/>",
	"alsozero": "<presence><show>away</show></presence>",
	"minus":    "<presence><priority>-1</priority></presence>",
	"silent":   "", // connected, not available
}

// route is one row of the rules for messages.
type route struct {
	section string
	there   string // the recipient's sessions
	to      string // "" the bare address, else a resource
	typ     string
	want    string // who gets it: sessions, "offline", "error" (service-unavailable) or "" for nobody
}

// RFC 6121 §8.5. Where the RFC leaves a choice, the row has the one that was made:
// of several resources those of the highest priority that is not negative take a
// message (§8.5.2.1.1), and what cannot be delivered waits (§8.5.2.2.1).
var messageTable = []route{
	// §8.5.2.1.1: to the bare address, resources are available
	{"8.5.2.1.1", "zero", "", "normal", "zero"},
	{"8.5.2.1.1", "zero", "", "chat", "zero"},
	{"8.5.2.1.1", "zero", "", "", "zero"}, // §5.2.2: none is normal
	{"8.5.2.1.1", "zero", "", "nonsense", "zero"},
	{"8.5.2.1.1", "zero", "", "groupchat", "error"},
	{"8.5.2.1.1", "zero", "", "headline", "zero"},
	{"8.5.2.1.1", "zero", "", "error", ""},
	{"8.5.2.1.1", "five one", "", "chat", "five"},
	{"8.5.2.1.1", "five one", "", "normal", "five"},
	{"8.5.2.1.1", "one zero", "", "chat", "one"},
	{"8.5.2.1.1", "zero alsozero", "", "chat", "zero alsozero"},
	{"8.5.2.1.1", "zero alsozero", "", "normal", "zero alsozero"},
	{"8.5.2.1.1", "zero minus", "", "chat", "zero"},
	{"8.5.2.1.1", "zero silent", "", "chat", "zero"},
	{"8.5.2.1.1", "five one zero", "", "headline", "five one zero"},
	{"8.5.2.1.1", "five minus silent", "", "headline", "five"},
	{"8.5.2.1.1", "five one zero", "", "groupchat", "error"},
	{"8.5.2.1.1", "five one zero", "", "error", ""},
	// only negative priorities: as if nobody were there
	{"8.5.2.1.1", "minus", "", "chat", "offline"},
	{"8.5.2.1.1", "minus", "", "normal", "offline"},
	{"8.5.2.1.1", "minus", "", "headline", ""},
	{"8.5.2.1.1", "minus", "", "groupchat", "error"},
	{"8.5.2.1.1", "minus", "", "error", ""},

	// §8.5.2.2.1: to the bare address, none is available
	{"8.5.2.2.1", "", "", "normal", "offline"},
	{"8.5.2.2.1", "", "", "chat", "offline"},
	{"8.5.2.2.1", "", "", "groupchat", "error"},
	{"8.5.2.2.1", "", "", "headline", ""},
	{"8.5.2.2.1", "", "", "error", ""},
	{"8.5.2.2.1", "silent", "", "chat", "offline"},
	{"8.5.2.2.1", "silent", "", "normal", "offline"},
	{"8.5.2.2.1", "silent", "", "groupchat", "error"},
	{"8.5.2.2.1", "silent", "", "headline", ""},
	{"8.5.2.2.1", "silent", "", "error", ""},

	// §8.5.3.1: to a resource that is there, whatever its presence
	{"8.5.3.1", "zero five", "zero", "normal", "zero"},
	{"8.5.3.1", "zero five", "zero", "chat", "zero"},
	{"8.5.3.1", "zero five", "zero", "groupchat", "zero"},
	{"8.5.3.1", "zero five", "zero", "headline", "zero"},
	{"8.5.3.1", "zero five", "zero", "error", "zero"},
	{"8.5.3.1", "minus", "minus", "chat", "minus"},
	{"8.5.3.1", "minus", "minus", "groupchat", "minus"},
	{"8.5.3.1", "silent zero", "silent", "chat", "silent"},
	{"8.5.3.1", "silent zero", "silent", "headline", "silent"},

	// §8.5.3.2.1: to a resource that is not there
	{"8.5.3.2.1", "zero", "nobody", "chat", "zero"}, // as to the bare address
	{"8.5.3.2.1", "five one", "nobody", "chat", "five"},
	{"8.5.3.2.1", "minus", "nobody", "chat", "offline"},
	{"8.5.3.2.1", "", "nobody", "chat", "offline"},
	{"8.5.3.2.1", "zero", "nobody", "normal", "error"},
	{"8.5.3.2.1", "zero", "nobody", "groupchat", "error"},
	{"8.5.3.2.1", "zero", "nobody", "headline", ""},
	{"8.5.3.2.1", "zero", "nobody", "error", ""},
	{"8.5.3.2.1", "", "nobody", "groupchat", "error"},
	{"8.5.3.2.1", "", "nobody", "headline", ""},
	{"8.5.3.2.1", "", "nobody", "error", ""},
}

func TestMessages(t *testing.T) {
	w := newWorld(t)
	romeo := w.login("romeo", "orchard")
	for i, r := range messageTable {
		name := fmt.Sprintf("%s/%s_%s_to_%s", r.section, strings.ReplaceAll(r.there, " ", "+"), r.typ, cmp.Or(r.to, "bare"))
		t.Run(name, func(t *testing.T) {
			local := fmt.Sprint("juliet", i)
			there := w.arrive(t, local, r.there)
			w.account(t, local)
			to := local + "@" + domain
			if r.to != "" {
				to += "/" + r.to
			}
			body := "<body>message " + name + "</body>"
			if r.typ == "error" {
				body = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
			}
			typ := ""
			if r.typ != "" {
				typ = "type='" + r.typ + "'"
			}
			romeo.send(t, "<message to='%s' id='m%d' %s>%s</message>", to, i, typ, body)

			var got []string
			for _, n := range romeo.sync(t) {
				if n.Name == "message" && n.Attr("id") == fmt.Sprint("m", i) && n.Attr("type") == "error" {
					got = append(got, condition(n))
				}
			}
			for resource, c := range there {
				for _, n := range c.sync(t) {
					if n.Name == "message" {
						got = append(got, resource)
						if n.Attr("from") != romeo.jid || n.Attr("to") != to {
							t.Errorf("from %s to %s, want from %s to %s", n.Attr("from"), n.Attr("to"), romeo.jid, to)
						}
					}
				}
			}
			for range w.waiting(t, local) {
				got = append(got, "offline")
			}
			slices.Sort(got)
			want := strings.Fields(r.want)
			if r.want == "error" {
				want = []string{"service-unavailable"}
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("to %v, want %v", got, want)
			}
		})
	}
}
