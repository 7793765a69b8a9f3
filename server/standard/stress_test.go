package standard_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
)

// Clients that come, talk, break off, resume and take each other's places, while their
// accounts are disabled, deleted and made anew: nothing waits for ever, nothing is left.
func TestEverythingAtOnce(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	before := runtime.NumGoroutine()
	s := servertest.NewWith(t, func(c *server.Config) {
		c.AllowPlain, c.Store = true, db
		l := &c.Limits
		l.Resume, l.Drain, l.Sessions, l.Queue, l.Unacked = 200*time.Millisecond, 500*time.Millisecond, 4, 64<<10, 200
	}, standard.Modules(db, standard.Options{})...)
	var owners []address.Address
	for _, name := range stressed {
		owners = append(owners, s.Account(t, name+"@example.org"))
	}
	for _, a := range owners {
		for _, b := range owners {
			if _, err := db.PutRosterItem(t.Context(), a, store.RosterItem{Contact: b, Sub: store.SubBoth, InRoster: true}, 100); err != nil {
				t.Fatal(err)
			}
		}
	}

	end := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			c := restless{Rand: rand.New(rand.NewPCG(seed, 1)), addr: s.DirectTLS}
			for time.Now().Before(end) {
				c.visit()
			}
		})
	}
	for i := 0; time.Now().Before(end); i++ {
		time.Sleep(200 * time.Millisecond)
		a := owners[i%len(owners)]
		if i%2 == 0 {
			if err := s.DeleteAccount(t.Context(), a); err != nil {
				t.Errorf("delete: %v", err)
			}
			s.Account(t, a.String())
			continue
		}
		if err := s.Disable(t.Context(), a, true); err != nil {
			t.Errorf("disable: %v", err)
		}
		if err := s.Disable(t.Context(), a, false); err != nil {
			t.Errorf("enable: %v", err)
		}
	}
	wg.Wait()
	s.Stop(t)
	if c := s.Counts(); c != (server.Counts{}) {
		t.Errorf("left are %+v", c)
	}
	for range 100 { // those of the clients and of the storage come to their ends
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

var stressed = []string{"a", "b", "c", "d"}

// restless is a client that does anything.
type restless struct {
	*rand.Rand
	addr string
	ids  []string // of sessions that were resumable
}

var enabled = regexp.MustCompile(`<enabled [^>]*id='([^']+)'`)

// visit is one connection.
func (r *restless) visit() {
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	c := tls.Client(conn, servertest.TLS("example.org"))
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	resume := ""
	if n := len(r.ids); n > 0 && r.IntN(2) == 0 {
		resume = "<resume xmlns='urn:xmpp:sm:3' previd='" + r.ids[r.IntN(n)] + "' h='0'/>"
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + stressed[r.IntN(4)] + "\x00" + servertest.Password))
	fmt.Fprintf(c, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>"+
		"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>%s</initial-response><user-agent id='%d'/>%s"+
		"<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/><enable xmlns='urn:xmpp:carbons:2'/></bind></authenticate>",
		plain, r.IntN(3), resume)
	var got []byte
	for b := make([]byte, 4096); !bytes.Contains(got, []byte("<success")); {
		n, err := c.Read(b)
		if got = append(got, b[:n]...); err != nil {
			return
		}
	}
	if m := enabled.FindSubmatch(got); m != nil {
		r.ids = append(r.ids, string(m[1]))
	}
	read, slow := make(chan struct{}), r.IntN(4) == 0
	go func() {
		defer close(read)
		for b := make([]byte, 8192); ; {
			if slow {
				time.Sleep(10 * time.Millisecond)
			}
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	for i := range r.IntN(60) {
		r.say(c, i)
	}
	time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
	if r.IntN(3) == 0 {
		fmt.Fprint(c, "</stream:stream>")
	}
	_ = conn.Close()
	<-read
}

// say sends something.
func (r *restless) say(c net.Conn, i int) {
	to := stressed[r.IntN(4)] + "@example.org"
	switch r.IntN(12) {
	case 0:
		fmt.Fprint(c, "<presence/>")
	case 1:
		fmt.Fprint(c, "<presence type='unavailable'/>")
	case 2:
		fmt.Fprintf(c, "<presence to='%s' type='%s'/>", to, []string{"subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe"}[r.IntN(5)])
	case 3:
		fmt.Fprint(c, "<inactive xmlns='urn:xmpp:csi:0'/>")
	case 4:
		fmt.Fprintf(c, "<iq type='set' id='%d'><%s xmlns='urn:xmpp:blocking'><item jid='%s'/></%[2]s></iq>", i, []string{"block", "unblock"}[r.IntN(2)], to)
	case 5:
		fmt.Fprintf(c, "<iq type='set' id='%d'><query xmlns='urn:xmpp:mam:2'/></iq><iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>", i)
	case 6:
		fmt.Fprintf(c, "<iq type='set' id='%d'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item><x xmlns='urn:x'/></item></publish></pubsub></iq>", i)
	case 7:
		fmt.Fprint(c, "<r xmlns='urn:xmpp:sm:3'/>")
	default:
		fmt.Fprintf(c, "<message to='%s' type='chat' id='%d'><body>%s</body></message>", to, i, strings.Repeat("x", r.IntN(3000)))
	}
}
