package saslserver

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"xmpp-gw/internal/saslauth"
)

func TestThrottle(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	th := newThrottle(maxBuckets)
	try := func(account, peer string) (refused, delay time.Duration) {
		refused, delay = th.check(account, peer, now)
		if refused <= 0 {
			th.failed(account, peer, now)
		}
		return refused, delay
	}
	for i := range 6 { // the sixth has a consequence for the seventh
		if refused, delay := try("juliet", "mallory"); refused > 0 || delay > 0 {
			t.Fatalf("failure %d: refused %v, delayed %v", i, refused, delay)
		}
	}
	if refused, _ := try("juliet", "mallory"); refused != time.Second {
		t.Errorf("after six failures: %v", refused)
	}
	if refused, _ := try("romeo", "mallory"); refused > 0 {
		t.Errorf("another account at once: %v", refused)
	}
	if refused, delay := th.check("juliet", "juliet's circuit", now); refused > 0 || delay > 0 {
		t.Errorf("the owner from elsewhere: %v %v", refused, delay)
	}
	last := time.Duration(0)
	for range 20 { // as fast as is allowed: the pauses grow
		refused, _ := th.check("juliet", "mallory", now)
		if refused < last || refused > byBoth.most {
			t.Fatalf("%v after %v", refused, last)
		}
		last = refused
		now = now.Add(refused)
		try("juliet", "mallory")
	}
	if last < time.Minute {
		t.Errorf("the pause grew to %v only", last)
	}
	th.succeeded("juliet", "mallory")
	if refused, _ := th.check("juliet", "mallory", now); refused > time.Second*10 {
		t.Errorf("after a success: %v", refused)
	}
	now = now.Add(24 * time.Hour)
	if refused, delay := th.check("juliet", "mallory", now); refused > 0 || delay > 0 {
		t.Errorf("the day after: %v %v", refused, delay)
	}

	// One peer and many names.
	for i := range 30 {
		try(fmt.Sprint("name", i), "sprayer")
	}
	if refused, _ := th.check("fresh", "sprayer", now); refused <= 0 {
		t.Error("who tries many names is not refused")
	}

	// Many peers and one name: its owner waits, for some seconds and no more.
	for i := range 1000 {
		try("juliet", fmt.Sprint("circuit", i))
	}
	refused, delay := th.check("juliet", "juliet's circuit", now)
	if refused > 0 || delay <= 0 || delay > 4*time.Second {
		t.Errorf("the owner: refused %v, delayed %v", refused, delay)
	}
	// Peers that cannot be told apart do not lock each other out.
	for range 1000 {
		try("romeo", "")
	}
	if refused, delay := th.check("romeo", "", now); refused > 0 || delay <= 0 || delay > 4*time.Second {
		t.Errorf("no peer: refused %v, delayed %v", refused, delay)
	}
}

func TestThrottleBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	th := newThrottle(100)
	for range 50 {
		th.failed("juliet", "mallory", now)
	}
	for i := range 10_000 {
		th.failed(fmt.Sprint("name", i), fmt.Sprint("peer", i), now)
	}
	if len(th.buckets) > 100 {
		t.Errorf("%d buckets", len(th.buckets))
	}
	if refused, _ := th.check("juliet", "mallory", now); refused == 0 {
		t.Error("the most guilty was forgotten before the least")
	}
}

// The same through logins: by SCRAM, with and without an account, and the way back.
func TestThrottledLogins(t *testing.T) {
	w := connect(t, tls.VersionTLS13)
	for _, user := range []string{"juliet", "nobody"} {
		srv, at := newServer(t, newMemory(t, "juliet"))
		link := w.link()
		try := func(pass string) Answer {
			c := srv.Conn(link)
			bare := "n=" + user + ",r=abc"
			a := handle(t, c, auth(saslauth.SASL1, "SCRAM-SHA-256", "n,,"+bare, ""))
			if a.Failure != nil {
				return a
			}
			return handle(t, c, response(saslauth.SASL1, attempt{flag: "n,,"}.final(t, bare, a.challenge(t), pass)))
		}
		// Exchanges that begin before the first fails do not escape.
		var open []*Conn
		var finals []string
		for range 10 {
			c := srv.Conn(link)
			a := handle(t, c, auth(saslauth.SASL1, "SCRAM-SHA-256", "n,,n="+user+",r=abc", ""))
			open = append(open, c)
			finals = append(finals, attempt{flag: "n,,"}.final(t, "n="+user+",r=abc", a.challenge(t), "wrong"))
		}
		var got []saslauth.Condition
		for i, c := range open {
			got = append(got, handle(t, c, response(saslauth.SASL1, finals[i])).condition())
		}
		for i, c := range got {
			want := saslauth.NotAuthorized
			if i > int(byBoth.free) {
				want = saslauth.TemporaryAuthFailure
			}
			if c != want {
				t.Errorf("%s: exchange %d: %s", user, i, c)
			}
		}
		if a := try(password); a.condition() != saslauth.TemporaryAuthFailure {
			t.Errorf("%s: %v", user, a.Failure)
		}
		link.Peer = "circuit 2"
		if a := try(password); (a.Login != nil) != (user == "juliet") {
			t.Errorf("%s from elsewhere: %v", user, a.Failure)
		}
		link.Peer = "circuit 1"
		at.add(time.Minute)
		if a := try(password); (a.Login != nil) != (user == "juliet") {
			t.Errorf("%s later: %v", user, a.Failure)
		}
		if user == "juliet" { // the success wiped out what came before
			for range int(byBoth.free) + 1 {
				if a := try("wrong"); a.condition() != saslauth.NotAuthorized {
					t.Errorf("after a success: %v", a.Failure)
				}
			}
		}
		for i := range 50 {
			link.Peer = fmt.Sprint("botnet", i)
			try("wrong")
		}
		if at.slept == nil || at.slept[len(at.slept)-1] > byAccount.most {
			t.Errorf("%s: delays %v", user, at.slept)
		}
	}
}
