package tests

import (
	"strings"
	"testing"

	"xmpp-gw/tests/lab"
)

// Once onion, never in the clear again, until the owner says so: with the program
// itself, which keeps that over a restart.
func TestOnceOnion(t *testing.T) {
	t.Parallel()
	const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
	clear := "SRV 0 0 5222 " + hiddenHost + "."
	h := newHidden(t, false, (*hidden).echo)
	name := "_xmpp-client._tcp." + hiddenDomain
	h.dns.SetRecords(name, clear, "SRV 9 0 5222 "+onion+".")
	h.socks.Map(onion+":5222", h.server.Addr())
	targets := func(requests []lab.SOCKSRequest) string {
		var list []string
		for _, r := range requests {
			list = append(list, r.Target)
		}
		return strings.Join(list, " ")
	}
	if got := targets(h.visit(t, user, user)); !strings.Contains(got, onion+":5222") || strings.Contains(got, hiddenHost) {
		t.Fatalf("the first login asked for %s", got)
	}

	// DNS names it no more, and it is gone: the domain is refused, with the way out.
	h.dns.SetRecords(name, clear)
	h.socks.Map(onion+":5222", "127.0.0.1:1")
	must(t, h.daemon.Restart(t.Context()))
	before := len(h.socks.Requests())
	c := dial(t, h.daemon.C2S, h.daemon.CA, hiddenDomain)
	c.tryLogin()
	v, raw := c.verdict()
	if v.condition != "remote-connection-failed" || !strings.Contains(raw, "xmpp-gw onion map forget "+hiddenDomain) {
		t.Errorf("told %+v, %s", v, raw)
	}
	if got := targets(h.socks.Requests()[before:]); strings.Contains(got, hiddenHost) {
		t.Errorf("asked for %s", got)
	}

	for _, secret := range []string{hiddenDomain, onion} {
		if strings.Contains(h.daemon.Log(), secret) {
			t.Errorf("the log names %s", secret)
		}
	}

	// The owner says so, while the daemon runs.
	if out, err := h.daemon.Command(t.Context(), "onion map forget", hiddenDomain); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := targets(h.visit(t, user, user)); !strings.Contains(got, hiddenHost+":5222") {
		t.Errorf("after that, asked for %s", got)
	}
}
