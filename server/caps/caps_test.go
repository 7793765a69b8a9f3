package caps_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/server"
	"xmpp-gw/server/caps"
	"xmpp-gw/server/disco"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
)

// world is a server that knows clients; told are the sessions that became known.
type world struct {
	*servertest.Server
	clients *caps.Caps
	told    chan string
}

func start(t *testing.T) *world {
	w := &world{told: make(chan string, 100)}
	w.clients = caps.New(func(_ context.Context, s *server.Session) { w.told <- s.JID().Resource })
	w.Server = servertest.New(t, w.clients, ping.New())
	return w
}

// knows are the features ending in "+n" that are known of a client, in order.
func (w *world) knows(c *servertest.Client) string {
	return strings.Join(w.clients.Interests(w.Session(c.JID), "+n"), " ")
}

func (w *world) timesTold() int {
	n := 0
	for len(w.told) > 0 {
		<-w.told
		n++
	}
	return n
}

const pc = "<identity category='client' type='pc'/>"

func features(names ...string) string {
	b := ""
	for _, n := range names {
		b += "<feature var='" + n + "'/>"
	}
	return b
}

func ver(text string) string {
	sum := sha1.Sum([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func c(hash, ver string) string {
	return "<presence><c xmlns='http://jabber.org/protocol/caps' hash='" + hash + "' node='urn:n' ver='" + ver + "'/></presence>"
}

// answer reads the server's question and answers it.
func answer(c *servertest.Client, children string) {
	c.T.Helper()
	n := c.Expect("<iq type='get' from='example.org'><query xmlns='" + disco.NSInfo + "' node='*'/></iq>")
	c.Sendf("<iq type='result' to='example.org' id='%s'><query xmlns='%s'>%s</query></iq>", n.Attr("id"), disco.NSInfo, children)
	c.ExpectNothing()
}

// A kind of client is asked once; what it answered holds for all of its kind if it
// hashes to what they announce.
func TestOncePerKind(t *testing.T) {
	sum := sha256.Sum256([]byte("client/pc//<a+n<b<"))
	for name, tt := range map[string]struct {
		hash, ver string
		shared    bool
	}{
		"sha-1":        {"sha-1", ver("client/pc//<a+n<b<"), true},
		"sha-256":      {"sha-256", base64.StdEncoding.EncodeToString(sum[:]), true},
		"another hash": {"md2", ver("client/pc//<a+n<b<"), false},
		"wrong":        {"sha-1", ver("something else"), false},
	} {
		w := start(t)
		first := servertest.Dial(t, w.Server, "romeo@example.org/1")
		first.Send(c(tt.hash, tt.ver))
		answer(first, pc+features("b", "a+n"))
		if got := w.knows(first); got != "a" || w.timesTold() != 1 {
			t.Errorf("%s: known is %q", name, got)
		}
		second := servertest.Dial(t, w.Server, "juliet@example.org/2")
		second.Send(c(tt.hash, tt.ver))
		if !tt.shared {
			if got := w.knows(second); got != "" {
				t.Errorf("%s: known of another is %q", name, got)
			}
			answer(second, pc+features("c+n"))
			if got := w.knows(second) + w.knows(first); got != "ca" {
				t.Errorf("%s: then known are %q", name, got)
			}
			continue
		}
		second.ExpectNothing()
		if got := w.knows(second); got != "a" || w.timesTold() != 1 {
			t.Errorf("%s: known of another is %q", name, got)
		}
	}
}

// Nobody can make others of a kind seem to have less or other features than they have:
// neither with a wrong answer, nor with one that hashes the same.
func TestPoison(t *testing.T) {
	good := pc + features("a+n", "b", "x+n")
	text := "client/pc//<a+n<b<x+n<"
	form := func(kind, name, value string) string {
		return "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>" + kind + "</value></field><field var='" + name + "'><value>" + value + "</value></field></x>"
	}
	for name, poison := range map[string]string{
		"less":               pc + features("a+n"),
		"more":               good + features("z+n"),
		"twice":              good + features("b"),
		"features as a form": pc + form("a+n", "b", "x+n"), // the same string
		"nothing":            "",
	} {
		w := start(t)
		tybalt := servertest.Dial(t, w.Server, "tybalt@example.org/1")
		tybalt.Send(c("sha-1", ver(text)))
		answer(tybalt, poison)
		romeo := servertest.Dial(t, w.Server, "romeo@example.org/2")
		romeo.Send(c("sha-1", ver(text)))
		if strings.HasPrefix(name, "features as") {
			romeo.ExpectNothing()
		} else {
			answer(romeo, good)
		}
		if got := w.knows(romeo); got != "a x" {
			t.Errorf("%s: known is %q", name, got)
		}
	}
}

// Answers that nobody asked for, from whomever, say nothing.
func TestUnasked(t *testing.T) {
	w := start(t)
	romeo := servertest.Dial(t, w.Server, "romeo@example.org/1")
	tybalt := servertest.Dial(t, w.Server, "tybalt@example.org/2")
	tybalt.Send(c("sha-1", ver("client/pc//<t+n<")))
	question := tybalt.Expect("<iq type='get'/>")
	romeo.Send(c("sha-1", ver("client/pc//<a+n<")))
	asked := romeo.Expect("<iq type='get'/>")
	result := func(id string) string {
		return "<iq type='result' to='example.org' id='" + id + "'><query xmlns='" + disco.NSInfo + "'>" + pc + features("a+n") + "</query></iq>"
	}
	// tybalt answers in romeo's place, by an id that he has guessed.
	tybalt.Send(result(asked.Attr("id")))
	tybalt.ExpectNothing()
	for i := range 20 {
		tybalt.Send(result(fmt.Sprintf("caps-%d", i+100)))
	}
	tybalt.ExpectNothing()
	if got := w.knows(romeo) + w.knows(tybalt); got != "" {
		t.Errorf("known are %q", got)
	}
	// An error says that nothing is known, and a second answer comes too late.
	romeo.Sendf("<iq type='error' to='example.org' id='%s'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", asked.Attr("id"))
	romeo.Send(result(asked.Attr("id")))
	romeo.ExpectNothing()
	if got := w.knows(romeo); got != "" {
		t.Errorf("after an error known is %q", got)
	}
	// An answer to what is not announced any more does not hold.
	tybalt.Send(c("sha-1", ver("client/pc//<u+n<")))
	later := tybalt.Expect("<iq type='get'/>")
	tybalt.Sendf("<iq type='result' to='example.org' id='%s'><query xmlns='%s'>%s</query></iq>", question.Attr("id"), disco.NSInfo, pc+features("t+n"))
	tybalt.ExpectNothing()
	if got := w.knows(tybalt); got != "" {
		t.Errorf("of what was announced before, known is %q", got)
	}
	tybalt.Sendf("<iq type='result' to='example.org' id='%s'><query xmlns='%s'>%s</query></iq>", later.Attr("id"), disco.NSInfo, pc+features("u+n"))
	tybalt.ExpectNothing()
	if got := w.knows(tybalt); got != "u" {
		t.Errorf("known is %q", got)
	}
}

// When others are told: when something is known anew, and after an absence.
func TestTold(t *testing.T) {
	w := start(t)
	romeo := servertest.Dial(t, w.Server, "romeo@example.org/1")
	one, two := c("sha-1", ver("client/pc//<a+n<")), c("sha-1", ver("client/pc//<b+n<"))
	step := func(what, send, answered string, want int, knows string) {
		t.Helper()
		romeo.Send(send)
		if answered != "" {
			answer(romeo, answered)
		}
		romeo.ExpectNothing()
		if n := w.timesTold(); n != want || w.knows(romeo) != knows {
			t.Errorf("%s: told %d times, want %d; known is %q, want %q", what, n, want, w.knows(romeo), knows)
		}
	}
	step("without", "<presence/>", "", 0, "")
	step("old form", "<presence><c xmlns='http://jabber.org/protocol/caps' node='urn:n' ver='1.0' ext='a'/></presence>", "", 0, "")
	step("first", one, pc+features("a+n"), 1, "a")
	step("again", one, "", 0, "a")
	step("without any more", "<presence/>", "", 0, "a")
	step("another", two, pc+features("b+n"), 1, "b")
	step("back", one, "", 1, "a")
	step("directed", strings.Replace(two, "<presence", "<presence to='nurse@example.org'", 1)+"<presence type='unavailable'/>", "", 0, "a")
	step("here again", one, "", 1, "a")
}

// What a client says is bounded.
func TestLarge(t *testing.T) {
	w := start(t)
	romeo := servertest.Dial(t, w.Server, "romeo@example.org/1")
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("f%04d+n", i))
	}
	text := "client/pc//<" + strings.Join(many, "<") + "<"
	romeo.Send(c("sha-1", ver(text)))
	answer(romeo, pc+features(many...))
	if n := len(strings.Fields(w.knows(romeo))); n == 0 || n > 512 {
		t.Errorf("%d features are known", n)
	}
	romeo.Send(c("sha-1", "x"))
	answer(romeo, pc+features(strings.Repeat("x", 20<<10)+"+n", "a+n"))
	if got := w.knows(romeo); got != "" {
		t.Errorf("known are %d bytes", len(got))
	}
	if w.clients.Wants(w.Session(romeo.JID), "a+n") {
		t.Error("what is beyond the bounds is known")
	}
}
