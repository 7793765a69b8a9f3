package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/tests/lab"
)

// The tables of TestBadServer, TestBadDNS and TestBadWeb are what strangers may do to
// who looks at them. Of each, three things are asked: it ends in its time, what it
// spoils is found and nowhere passes, and it costs no more memory than a look may.

// bad is one row.
type bad struct {
	name string
	// start lays the servers out, and says what to look at and how.
	start func(l *lot) (Target, Options)
	// want are the verdicts, one of which each of these ids must have; none may pass.
	want map[string]string
	// holds is what the row's own servers may take, which live in this process too.
	holds int64
}

const (
	badBudget = 2500 * time.Millisecond
	badStep   = 400 * time.Millisecond
	badMargin = 3 * time.Second // of a busy machine; a hang is longer
	badMemory = 32 << 20        // what a row may cost
)

// look runs a row and holds what comes of it against want.
func (b bad) look(t *testing.T, ca *lab.CA) {
	t.Helper()
	l := &lot{t: t, ca: ca, net: &network{to: map[string]string{}}}
	target, o := b.start(l)
	if target.Domain == "" {
		target.Domain = domain
	}
	o.Dialer, o.Roots = l.net, ca.Pool()
	o.Budget, o.Step = cmp.Or(o.Budget, badBudget), cmp.Or(o.Step, badStep)
	begin := time.Now()
	seen, err := Probe(t.Context(), target, o)
	if err != nil {
		t.Errorf("%s: %v", b.name, err)
		return
	}
	if took := time.Since(begin); took > o.Budget+badMargin {
		t.Errorf("%s: it took %v of %v", b.name, took, o.Budget)
	}
	found := map[string][]audit.Finding{}
	for _, f := range audit.Judge(seen, audit.Checks()) {
		found[f.ID] = append(found[f.ID], f)
	}
	for id, want := range b.want {
		said := slices.ContainsFunc(found[id], func(f audit.Finding) bool { return strings.Contains(want, f.Verdict.String()) })
		passed := slices.ContainsFunc(found[id], func(f audit.Finding) bool { return f.Verdict == audit.Pass })
		if !said || passed {
			t.Errorf("%s: %s should be %s: %+v", b.name, id, want, found[id])
		}
	}
}

// heap is how much memory objects take, the dead ones that were not collected too.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// highest is the highest heap until ctx ends.
func highest(ctx context.Context) (most uint64) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		most = max(most, heap())
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

// limited runs f, which may not take more memory than that.
func limited(t *testing.T, what string, most int64, f func()) {
	t.Helper()
	runtime.GC()
	before, peak := heap(), make(chan uint64)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { peak <- highest(ctx) }()
	f()
	cancel()
	cost := int64(<-peak) - int64(before)
	t.Logf("%s: %d KiB", what, cost>>10)
	if cost > most {
		t.Errorf("%s: %d MiB, and no more than %d are allowed", what, cost>>20, most>>20)
	}
}

// all runs rows: those of alone one after the other, to see what each costs, and the
// others together, so many at a time: with more than mostly wait, they would wait for
// the processor. At the end nobody may be left.
func all(t *testing.T, rows []bad, together int, alone ...string) {
	t.Helper()
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	t.Run("rows", func(t *testing.T) { // the servers end with it
		for _, b := range rows {
			if slices.Contains(alone, b.name) {
				gc := debug.SetGCPercent(20) // what is dead is not to count for much
				limited(t, b.name, badMemory+b.holds, func() { b.look(t, ca) })
				debug.SetGCPercent(gc)
			}
		}
		limited(t, "all together", 8*badMemory, func() {
			var wg sync.WaitGroup
			turn := make(chan struct{}, together)
			for _, b := range rows {
				if !slices.Contains(alone, b.name) {
					turn <- struct{}{}
					wg.Go(func() {
						b.look(t, ca)
						<-turn
					})
				}
			}
			wg.Wait()
		})
	})
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := runtime.NumGoroutine() - before
		if left <= 0 {
			return
		}
		if time.Now().After(end) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines are left:\n%s", left, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// steps are the places in a login where a server may go wrong, in turn, and the checks
// that cannot be answered then.
var steps = []struct{ name, want string }{
	{"connected", "tls.starttls.offered tls.starttls.required tls.version tls.cipher tls.injection cert.chain cert.name sasl.pretls sasl.scram stream.from"},
	{"header", "tls.starttls.offered tls.starttls.required tls.version tls.cipher tls.injection cert.chain cert.name sasl.pretls sasl.scram stream.from"},
	{"features", "tls.starttls.offered tls.starttls.required tls.version tls.cipher tls.injection cert.chain cert.name sasl.pretls sasl.scram"},
	{"proceed", "tls.version tls.cipher tls.injection cert.chain cert.name sasl.posttls sasl.scram sasl.plus"},
	{"handshake", "tls.version tls.cipher tls.injection cert.chain cert.name cert.expiry cert.key tls.group.pq sasl.posttls sasl.scram sasl.plus"},
	{"header inside", "sasl.posttls sasl.scram sasl.plus cb.types reg.open"},
	{"features inside", "sasl.posttls sasl.scram sasl.plus cb.types reg.open"},
	{"form", "reg.open"},
}

// ways are what a server may do at each of them.
var ways = map[string]func(c *lab.ScriptConn){
	"is silent": func(c *lab.ScriptConn) { c.Hang() },
	"drips": func(c *lab.ScriptConn) {
		for {
			c.Send(" ")
			time.Sleep(200 * time.Millisecond)
		}
	},
	"hangs up": func(*lab.ScriptConn) {},
	"sends garbage": func(c *lab.ScriptConn) {
		b := make([]byte, 4<<10)
		for i := range b {
			b[i] = byte(rand.IntN(256))
		}
		c.Send(string(b))
		c.Hang()
	},
	"has no end of blanks":  flood(" "),
	"has no end of text":    flood("x"),
	"has no end of stanzas": flood("<message/>"),
	"has no end of depth":   flood("<a>"),
	"has no end of names":   flood("<a xmlns='urn:b' c='d' "),
	"has no end of alerts":  flood("\x15\x03\x03\x00\x02\x01\x70"),
	"has no end of records": flood("\x16\x03\x03\x00\x05\x02\x00\x40\x00\x03"),
}

// flood sends something again and again, as fast as it is read.
func flood(piece string) func(c *lab.ScriptConn) {
	return func(c *lab.ScriptConn) {
		text := strings.Repeat(piece, 8<<10/len(piece))
		for {
			c.Send(text)
		}
	}
}

// goesWrong is a good server up to one step.
func goesWrong(cert tls.Certificate, step string, way func(c *lab.ScriptConn)) func(c *lab.ScriptConn) {
	return func(c *lab.ScriptConn) {
		s := server{cert: cert}
		ends := func(here string) {
			if here == step {
				way(c)
				runtime.Goexit()
			}
		}
		ends("connected")
		c.Expect(`<stream:stream[^>]*>`)
		ends("header")
		c.Send(s.header())
		ends("features")
		c.Send("<stream:features>" + lab.FeatureSTARTTLS + "</stream:features>")
		c.Expect(`<starttls[^>]*/>[\s\S]*`)
		ends("proceed")
		c.Send(lab.Proceed)
		ends("handshake")
		s.tls(c)
		c.Expect(`<stream:stream[^>]*>`)
		ends("header inside")
		c.Send(s.header())
		ends("features inside")
		c.Send("<stream:features>" + goodSecure + "</stream:features>")
		c.Expect(`<iq[\s\S]*</iq>`)
		ends("form")
	}
}

// only is one endpoint at which a script runs.
func (l *lot) only(run func(*lab.ScriptConn)) (Target, Options) {
	l.start("bad.test:5222", run)
	return Target{Endpoints: []policy.Endpoint{at("starttls://bad.test")}}, Options{}
}

func wants(ids string, verdicts string) map[string]string {
	m := map[string]string{}
	for _, id := range strings.Fields(ids) {
		m[id] = verdicts
	}
	return m
}

// TestBadServer is every way to go wrong at every step, and servers that lie.
func TestBadServer(t *testing.T) {
	var rows []bad
	lies := func(name string, change func(*server), want map[string]string) {
		rows = append(rows, bad{name: name, want: want, start: func(l *lot) (Target, Options) {
			s := server{cert: l.cert(lab.CALeaf{Names: []string{domain}})}
			change(&s)
			target, o := l.only(s.run)
			o.Budget, o.Step = 10*time.Second, 5*time.Second // all of it is to be seen
			return target, o
		}})
	}
	lies("from another domain", func(s *server) { s.from = "other.test" }, wants("stream.from", "fail"))
	lies("no STARTTLS, and a login in its place", func(s *server) { s.plain = lab.FeatureSASL("PLAIN") },
		wants("tls.starttls.offered tls.starttls.required sasl.pretls", "fail"))
	lies("two sets of mechanisms", func(s *server) { s.secure = sasl + lab.FeatureSASL("PLAIN", "DIGEST-MD5") }, wants("sasl.posttls", "fail"))
	lies("mechanisms that are none", func(s *server) {
		s.secure = lab.FeatureSASL("SCRAM-SHA-256 PLUS", "<b/>", strings.Repeat("S", 300), "SCRAM-SHA-256 -PLUS")
	}, wants("sasl.scram sasl.plus sasl.posttls", "fail warn"))
	lies("a thousand mechanisms", func(s *server) {
		s.secure = lab.FeatureSASL(strings.Split(strings.Repeat("SCRAM-SHA-256 ", 1000), " ")...)
	},
		wants("sasl.scram sasl.posttls", "unknown fail"))
	lies("PLUS without anything to bind to", func(s *server) { s.secure = lab.FeatureSASL("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS") }, wants("cb.types", "warn fail unknown"))
	lies("what was injected is answered", func(s *server) { s.inject = true }, wants("tls.injection", "fail"))
	lies("stanzas behind <proceed/>", func(s *server) { s.clear = "<message/>" }, wants("tls.injection", "fail"))
	lies("every domain is its own", func(s *server) { s.anyHost = true }, wants("stream.unknown-host", "fail warn"))
	lies("a form under another name", func(s *server) { s.form = "<x xmlns='jabber:x:data' type='form'><field var='u'/></x>" }, wants("reg.open", "fail warn"))
	lies("sent elsewhere", func(s *server) {
		s.error = "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>else.test:5222</see-other-host>"
	}, wants("stream.redirect", "fail warn"))
	lies("another version than was asked for", func(s *server) {
		s.conf = func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }
	}, wants("tls.version", "warn fail"))
	rows = append(rows, bad{name: "10 MB of certificates", want: wants("cert.chain cert.name tls.version", "unknown fail warn"), holds: 96 << 20, start: func(l *lot) (Target, Options) {
		many := l.cert(lab.CALeaf{Names: []string{domain}})
		for size := 0; size < 10<<20; size += len(many.Certificate[0]) {
			many.Certificate = append(many.Certificate, many.Certificate[0])
		}
		return l.only(server{cert: many}.run)
	}}, bad{name: "10 MB of certificates, written while they are read", want: wants("cert.chain cert.name tls.version", "unknown fail warn"), start: func(l *lot) (Target, Options) {
		return l.only(goesWrong(tls.Certificate{}, "handshake", func(c *lab.ScriptConn) {
			_, _ = c.Read(make([]byte, 8<<10)) // the ClientHello
			record := func(b []byte) { c.Send("\x16\x03\x03" + string([]byte{byte(len(b) >> 8), byte(len(b))}) + string(b)) }
			hello := append([]byte{2, 0, 0, 38, 3, 3}, bytes.Repeat([]byte{7}, 32)...)
			record(append(hello, 0, 0xC0, 0x2F, 0)) // TLS 1.2, no session, ECDHE_RSA with AES-128-GCM, no compression
			record([]byte{11, 10 << 20 >> 16, 0, 0})
			more := "\x16\x03\x03\x40\x00" + strings.Repeat("\x00", 16384)
			for range 10 << 20 / 16384 {
				c.Send(more)
			}
		}))
	}}, bad{name: "60 kB of certificates", want: wants("cert.chain", "warn fail"), start: func(l *lot) (Target, Options) {
		many := l.cert(lab.CALeaf{Names: []string{domain}})
		for size := 0; size < 60<<10; size += len(many.Certificate[0]) {
			many.Certificate = append(many.Certificate, many.Certificate[0])
		}
		return l.only(server{cert: many}.run)
	}}, bad{name: "twelve silent endpoints", want: wants("tls.version cert.chain sasl.scram", "unknown"), start: func(l *lot) (Target, Options) {
		l.start("bad.test:5222", func(c *lab.ScriptConn) { c.Hang() })
		target := Target{}
		for i := range 40 {
			name := fmt.Sprintf("bad%d.test", i)
			l.net.to[name+":5222"] = l.net.to["bad.test:5222"]
			target.Endpoints = append(target.Endpoints, at("starttls://"+name))
		}
		return target, Options{}
	}})
	for _, step := range steps {
		for name, way := range ways {
			rows = append(rows, bad{name: step.name + ", then it " + name, want: wants(step.want, "unknown fail"),
				start: func(l *lot) (Target, Options) {
					return l.only(goesWrong(l.cert(lab.CALeaf{Names: []string{domain}}), step.name, way))
				}})
		}
	}
	all(t, rows, 40, "10 MB of certificates", "10 MB of certificates, written while they are read", "60 kB of certificates", "a thousand mechanisms")
}
