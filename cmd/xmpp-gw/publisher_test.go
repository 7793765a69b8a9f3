package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/config"
	"xmpp-gw/internal/control"
	"xmpp-gw/internal/forward"
	"xmpp-gw/internal/haproxy"
	"xmpp-gw/onion"
)

// stage is a publisher whose tors are given one by one.
type stage struct {
	t    *testing.T
	p    *publisher
	dir  string
	tors chan *fakeTor
	out  *strings.Builder // of the console; read it only after the end
	end  func()
}

// publish starts a publisher; before may change it and its shelf.
func publish(t *testing.T, mode string, before func(*publisher)) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), tors: make(chan *fakeTor, 5), out: new(strings.Builder)}
	c, err := config.Parse("", []byte("[tor]\nmode = \""+mode+"\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := openShelf(paths{state: s.dir, runtime: s.dir}, func() *settings { return &settings{c} })
	if err != nil {
		t.Fatal(err)
	}
	keeper := newTorKeeper(func(ctx context.Context, _ func(onion.Progress)) (torDaemon, error) {
		select {
		case tor := <-s.tors:
			return tor, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, func(control.Tor) {})
	keeper.pause = time.Millisecond
	g := newGates(filepath.Join(s.dir, "gates"), forward.DefaultLimits, slog.New(slog.DiscardHandler))
	s.p = newPublisher(shelf, keeper, g, newConsole(newUI(s.out, s.out)), func() {})
	s.p.pause = time.Millisecond
	if before != nil {
		before(s.p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { keeper.run(ctx); ended <- struct{}{} }()
	go func() { s.p.run(ctx); ended <- struct{}{} }()
	s.end = func() {
		cancel()
		for range 2 {
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("the publisher does not end")
			}
		}
		s.end = func() {}
	}
	t.Cleanup(func() { s.end() })
	return s
}

// eventually waits until ok.
func (s *stage) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not in five seconds: %s", what)
		}
	}
}

// has waits until this tor publishes exactly these addresses.
func (s *stage) has(tor *fakeTor, addresses ...string) {
	s.t.Helper()
	s.eventually("publishing "+strings.Join(addresses, " "), func() bool {
		tor.mu.Lock()
		defer tor.mu.Unlock()
		if len(tor.published) != len(addresses) {
			return false
		}
		for i, p := range tor.published {
			if p.Address != addresses[i] {
				return false
			}
		}
		return true
	})
}

func (s *stage) add(name, target string) control.Onion {
	s.t.Helper()
	o, err := s.p.Publish(context.Background(), control.Publication{Name: name, Ports: []control.OnionPort{{Port: 5222, Target: target}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

func (s *stage) get(name string) control.Onion {
	s.t.Helper()
	o, err := s.p.Onion(context.Background(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// A tor that was killed and started again gets what the one before it had; so
// does the tor of a daemon that finds the shelf as another left it.
func TestRepublish(t *testing.T) {
	var before onion.Entry
	first, second := newFakeTor("unix:/1"), newFakeTor("unix:/2")
	s := publish(t, "managed", func(p *publisher) {
		var err error
		before, err = p.services.Create(onion.Service{Name: "node", CircuitID: true, Ports: []onion.Port{{Virtual: 5222, Target: "127.0.0.1:1"}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
	})
	if o := s.get("node"); o.State != control.OnionWaiting {
		t.Errorf("without tor: %+v", o)
	}
	s.tors <- first // nobody asked for tor but the shelf
	s.has(first, before.Address)
	another := s.add("another", "127.0.0.1:2")
	s.has(first, another.Address, before.Address)
	if o := s.get("node"); o.State != control.OnionPublishing || o.Uploaded != 3 || o.Uploads != 6 {
		t.Errorf("while descriptors are on the way: %+v", o)
	}

	s.tors <- second
	first.err = errors.New("signal: killed")
	close(first.done)
	s.has(second, another.Address, before.Address)
	second.mu.Lock()
	second.state = onion.StatePublished
	second.mu.Unlock()
	s.p.changed()
	if o := s.get("node"); o.State != control.OnionPublished || o.Address != before.Address {
		t.Errorf("published again: %+v", o)
	}
	if published, all := s.p.count(); published != 2 || all != 2 {
		t.Errorf("%d of %d are published", published, all)
	}

	if err := s.p.Unpublish(context.Background(), "another", true); err != nil {
		t.Error(err)
	}
	s.has(second, before.Address)
	if err := s.p.Unpublish(context.Background(), "node", false); err != nil {
		t.Error(err)
	}
	s.has(second)
	if o := s.get("node"); o.State != control.OnionUnpublished || o.Address != before.Address {
		t.Errorf("unpublished: %+v", o)
	}
	s.add("node", "127.0.0.1:1")
	s.has(second, before.Address)
	s.end()
	if !strings.Contains(s.out.String(), "node is published at "+before.Address+", port 5222") {
		t.Errorf("not told:\n%s", s.out)
	}
}

// What tor connects to is a gate that leads to the target, and knows whether that
// is there.
func TestGates(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tor := newFakeTor("")
	s := publish(t, "managed", nil)
	s.tors <- tor
	v2, no := "v2", false
	o, err := s.p.Publish(context.Background(), control.Publication{
		Name: "node", Proxy: &v2, Ports: []control.OnionPort{{Port: 5222, Target: target.Addr().String()}},
	})
	if err != nil || o.Ports[0].Error != "" || !o.CircuitID {
		t.Fatalf("%+v, %v", o, err)
	}
	s.has(tor, o.Address)
	tor.mu.Lock()
	path, ok := strings.CutPrefix(tor.published[0].Targets[0].Target, "unix:")
	tor.mu.Unlock()
	info, err := os.Stat(path)
	if !ok || err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the gate %s: %v, %v", path, info, err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(append(haproxy.ForCircuit(9, 5222).Append(nil, haproxy.V1), "hello"...))
	server, err := target.Accept() // the probe's
	if err == nil {
		server.Close()
		server, err = target.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	want := append(haproxy.ForCircuit(9, 5222).Append(nil, haproxy.V2), "hello"...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(server, got); err != nil || string(got) != string(want) {
		t.Errorf("the target got %q, %v", got, err)
	}
	server.Close()
	target.Close()

	// The target is not there any more; and without circuit numbers tor goes there
	// by itself.
	o, err = s.p.Publish(context.Background(), control.Publication{Name: "node", CircuitID: &no})
	if err == nil {
		t.Error("a PROXY header without circuit numbers")
	}
	none := ""
	o, err = s.p.Publish(context.Background(), control.Publication{Name: "node", CircuitID: &no, Proxy: &none})
	if err != nil || !strings.Contains(o.Ports[0].Error, "nothing listens there") {
		t.Errorf("%+v, %v", o, err)
	}
	if list := onionTroubles(o); len(list) != 1 || !strings.Contains(list[0], "port 5222: the target does not answer") {
		t.Errorf("%q", list)
	}
	tor.mu.Lock()
	direct := tor.published[0].Targets[0].Target
	tor.mu.Unlock()
	if direct != o.Ports[0].Target {
		t.Errorf("tor connects to %s", direct)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the gate's socket is still there")
	}
	s.end()
	s.p.gates.close()
	if left, _ := filepath.Glob(filepath.Join(s.dir, "gates*")); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
}

// A former address is given up when its time is over, with nobody asking.
func TestRotatedKeyExpires(t *testing.T) {
	tor := newFakeTor("")
	s := publish(t, "managed", nil)
	s.tors <- tor
	old := s.add("node", "127.0.0.1:1")
	now, err := s.p.Rotate(context.Background(), "node", time.Second)
	if err != nil || now.Address == old.Address || len(now.Previous) != 1 || now.Previous[0].Address != old.Address {
		t.Fatalf("%+v, %v", now, err)
	}
	s.has(tor, now.Address, old.Address)
	s.has(tor, now.Address)
	if o := s.get("node"); len(o.Previous) != 0 {
		t.Errorf("%+v", o)
	}
}

// What tor refuses is told, stands on the shelf, and is tried again.
func TestTorRefuses(t *testing.T) {
	tor := newFakeTor("")
	tor.refuses = errors.New("tor does not take the settings")
	s := publish(t, "managed", nil)
	s.tors <- tor
	s.p.tor.want()
	s.eventually("tor", func() bool { return s.p.tor.Status().State == control.StateReady })
	if o := s.add("node", "127.0.0.1:1"); o.State != control.OnionFailed || !strings.Contains(o.Error, "does not take") {
		t.Errorf("%+v", o)
	}
	client, err := s.p.AddClient(context.Background(), "node", "juliet")
	if err != nil || client.Private == "" {
		t.Errorf("the string is lost: %+v, %v", client, err)
	}
	err = s.p.RemoveClient(context.Background(), "node", "juliet")
	if err == nil || !strings.Contains(err.Error(), "not do it yet") {
		t.Errorf("a removal that tor does not know of: %v", err)
	}
	tor.mu.Lock()
	tor.refuses = nil
	tor.mu.Unlock()
	s.has(tor, s.get("node").Address)
	s.eventually("no error", func() bool { return s.get("node").Error == "" })
	s.end()
	if n := strings.Count(s.out.String(), "does not take"); n != 1 {
		t.Errorf("told %d times:\n%s", n, s.out)
	}
}

// One service that the system's tor cannot do does not keep the others from it.
func TestSystemTor(t *testing.T) {
	tor := newFakeTor("")
	tor.system = true
	s := publish(t, "system", nil)
	s.tors <- tor
	plain, yes := s.add("plain", "127.0.0.1:1"), true
	if plain.CircuitID {
		t.Error("circuit numbers are the default where there are none")
	}
	if _, err := s.p.Publish(context.Background(), control.Publication{Name: "counted", CircuitID: &yes, Ports: []control.OnionPort{{Port: 80, Target: "127.0.0.1:1"}}}); err != nil {
		t.Fatal(err)
	}
	s.has(tor, plain.Address)
	s.eventually("the state", func() bool { return s.get("counted").State == control.OnionFailed })
	if o := s.get("counted"); !strings.Contains(o.Error, "managed") {
		t.Errorf("%+v", o)
	}
	if o := s.get("plain"); o.State != control.OnionPublishing || o.Error != "" {
		t.Errorf("%+v", o)
	}
}

// In mode auto the system's tor is given up for one of our own, which alone can
// do all that publishing takes.
func TestAutoTakesOurOwn(t *testing.T) {
	system, own := newFakeTor("unix:/system"), newFakeTor("unix:/own")
	system.system = true
	s := publish(t, "auto", nil)
	s.tors <- system
	s.tors <- own
	s.p.tor.want()
	if socks, err := s.p.tor.SOCKS(short(t)); socks != "unix:/system" {
		t.Fatal(socks, err)
	}
	o := s.add("node", "127.0.0.1:1")
	s.has(own, o.Address)
	<-system.closed
	if len(system.published) > 0 {
		t.Error("the system's tor was asked")
	}
}

// Keys for other people's services go to tor, and leave it.
func TestAuthorize(t *testing.T) {
	tor := newFakeTor("")
	s := publish(t, "managed", nil)
	s.tors <- tor
	o := s.add("node", "127.0.0.1:1")
	client, err := s.p.AddClient(context.Background(), "node", "romeo")
	if err != nil {
		t.Fatal(err)
	}
	address, err := s.p.AddAuth(context.Background(), client.Private)
	if err != nil || address != o.Address {
		t.Fatalf("%s, %v", address, err)
	}
	keys := func() int {
		tor.mu.Lock()
		defer tor.mu.Unlock()
		return len(tor.keys)
	}
	s.eventually("a key", func() bool { return keys() == 1 })
	if list, err := s.p.Auths(context.Background()); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := s.p.RemoveAuth(context.Background(), address); err != nil {
		t.Error(err)
	}
	s.eventually("no key", func() bool { return keys() == 0 })
}

// Keys that tor does not take are no fault of our own services, and are not lost.
func TestAuthorizeFails(t *testing.T) {
	tor := newFakeTor("")
	tor.locked = errors.New("no control port")
	s := publish(t, "managed", nil)
	s.tors <- tor
	o := s.add("node", "127.0.0.1:1")
	s.has(tor, o.Address)
	client, err := s.p.AddClient(context.Background(), "node", "romeo")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.p.AddAuth(context.Background(), client.Private); err == nil || !strings.Contains(err.Error(), "no control port") {
		t.Errorf("AddAuth = %v", err)
	}
	if o := s.get("node"); o.Error != "" {
		t.Errorf("%+v", o)
	}
	tor.mu.Lock()
	tor.locked = nil
	tor.mu.Unlock()
	s.eventually("a key", func() bool {
		tor.mu.Lock()
		defer tor.mu.Unlock()
		return len(tor.keys) == 1
	})
}

// A broken service is told of and does not keep the others from the network.
func TestBrokenService(t *testing.T) {
	tor := newFakeTor("")
	s := publish(t, "managed", nil)
	s.tors <- tor
	s.add("bad", "127.0.0.1:1")
	good := s.add("good", "127.0.0.1:1")
	if err := os.Chmod(filepath.Join(s.dir, "onions", "bad", "hs_ed25519_secret_key"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.p.changed()
	s.has(tor, good.Address)
	list, err := s.p.Onions(context.Background())
	if err != nil || len(list) != 2 || list[0].State != control.OnionFailed || !strings.Contains(list[0].Error, "chmod 600") ||
		list[1].State != control.OnionPublishing || list[1].Error != "" {
		t.Errorf("%+v, %v", list, err)
	}
}

// Where nothing is published, tor is not asked for anything, not even for nothing:
// the system's would need its control port for that.
func TestNothingToPublish(t *testing.T) {
	tor := newFakeTor("")
	tor.refuses = errors.New("no control port")
	s := publish(t, "auto", nil)
	s.tors <- tor
	if s.p.needsTor() {
		t.Error("tor is needed for nothing")
	}
	s.p.tor.want()
	s.eventually("tor", func() bool { return s.p.tor.Status().State == control.StateReady })
	s.p.changed()
	time.Sleep(20 * time.Millisecond)
	s.end()
	if s.out.Len() > 0 {
		t.Errorf("it says %s", s.out)
	}
}

// A key is kept as long as tor still publishes its service.
func TestForgetKey(t *testing.T) {
	tor := newFakeTor("")
	s := publish(t, "managed", nil)
	s.tors <- tor
	o := s.add("node", "127.0.0.1:1")
	s.has(tor, o.Address)
	refuse := func(err error) {
		tor.mu.Lock()
		defer tor.mu.Unlock()
		tor.refuses = err
	}
	refuse(errors.New("not now"))
	if err := s.p.Unpublish(context.Background(), "node", true); err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("forgotten: %v", err)
	}
	if o := s.get("node"); o.State != control.OnionUnpublished {
		t.Errorf("%+v", o)
	}
	refuse(nil)
	if err := s.p.Unpublish(context.Background(), "node", true); err != nil {
		t.Error(err)
	}
	s.has(tor)
	if _, err := s.p.Onion(context.Background(), "node"); err == nil {
		t.Error("it is still there")
	}
	s.add("bad", "127.0.0.1:1")
	if err := os.Chmod(filepath.Join(s.dir, "onions", "bad", "hs_ed25519_secret_key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.p.Unpublish(context.Background(), "bad", true); err != nil {
		t.Errorf("a broken one cannot be removed: %v", err)
	}
	if err := s.p.Unpublish(context.Background(), "none", true); err == nil || !strings.Contains(err.Error(), "no onion service of that name") {
		t.Errorf("one that is not there: %v", err)
	}
}

// Tor may take minutes to start a second one; answers do not wait for that, and
// the string of a client is not lost.
func TestBusyTor(t *testing.T) {
	tor := newFakeTor("")
	s := publish(t, "managed", nil)
	s.tors <- tor
	o := s.add("node", "127.0.0.1:1")
	s.has(tor, o.Address)
	busy := make(chan struct{})
	tor.mu.Lock()
	tor.busy = busy
	tor.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if c, err := s.p.AddClient(ctx, "node", "juliet"); err != nil || c.Private == "" {
		t.Errorf("AddClient = %+v, %v", c, err)
	}
	if err := s.p.RemoveClient(ctx, "node", "juliet"); err == nil || !strings.Contains(err.Error(), "not do it yet") {
		t.Errorf("RemoveClient = %v", err)
	}
	close(busy)
	if err := s.p.Open(context.Background(), "node"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Strangers must not go out by the gateway, however the target is spelled, and
// whenever it began to listen there.
func TestTargetIsOurselves(t *testing.T) {
	for _, tt := range []struct {
		target, place string
		same          bool
	}{
		{"127.0.0.1:5222", "127.0.0.1:5222", true},
		{"127.0.0.1:5223", "127.0.0.1:5222", false},
		{"127.0.0.2:5222", "127.0.0.1:5222", false},
		{"127.0.0.1:5222", "0.0.0.0:5222", true},
		{"127.0.0.2:5222", "[::]:5222", true},
		{"[::ffff:127.0.0.1]:5222", "127.0.0.1:5222", true},
		{"[0:0:0:0:0:0:0:1]:5222", "[::1]:5222", true},
		{"0.0.0.0:5222", "127.0.0.1:5222", true},
		{"[::]:5222", "[::1]:5222", true},
		{"192.0.2.1:5222", "0.0.0.0:5222", false},
		{"192.0.2.1:5222", "127.0.0.1:5222", false},
		{"unix:/run/x", "127.0.0.1:5222", false},
		{"unix:/run/./x", "unix:/run/x", true},
		{"unix:/run/y", "unix:/run/x", false},
	} {
		if got := leadsTo(tt.target, tt.place); got != tt.same {
			t.Errorf("%s leads to %s: %v", tt.target, tt.place, got)
		}
	}

	tor := newFakeTor("")
	var listening atomic.Bool
	s := publish(t, "managed", func(p *publisher) {
		p.listening = func() []control.Listener {
			list := []control.Listener{{Kind: kindSTARTTLS, Address: "127.0.0.1:5222"}, {Kind: kindNodeSTARTTLS, Address: "127.0.0.1:1"}}
			if listening.Load() {
				list = append(list, control.Listener{Kind: kindSTARTTLS, Address: "127.0.0.1:15222"})
			}
			return list
		}
	})
	s.tors <- tor
	for _, target := range []string{"127.0.0.1:5222", "[::ffff:127.0.0.1]:5222", "unix:" + filepath.Join(s.dir, "control.sock")} {
		if _, err := s.p.Publish(context.Background(), control.Publication{Name: "node", Ports: []control.OnionPort{{Port: 1, Target: target}}}); err == nil || !strings.Contains(err.Error(), "gateway itself") {
			t.Errorf("%s: %v", target, err)
		}
	}
	o, other := s.add("node", "127.0.0.1:15222"), s.add("other", "127.0.0.1:1")
	s.has(tor, o.Address, other.Address)
	listening.Store(true) // a reload
	s.p.changed()
	s.has(tor, other.Address)
	s.eventually("the reason", func() bool {
		o := s.get("node")
		return o.State == control.OnionFailed && strings.Contains(o.Error, "gateway itself")
	})
}

// A daemon that was started with mode = "system" stays at that, whatever a reload
// says: it is not started again and again.
func TestReplacedOnce(t *testing.T) {
	first, second := newFakeTor("unix:/1"), newFakeTor("unix:/2")
	first.system, second.system = true, true
	s := publish(t, "auto", nil)
	s.tors <- first
	s.tors <- second
	no := false
	o, err := s.p.Publish(context.Background(), control.Publication{Name: "node", CircuitID: &no, Ports: []control.OnionPort{{Port: 1, Target: "127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.has(second, o.Address)
}

// The configuration may name a folder of keys, as Tor has them.
func TestClientKeysOfConfiguration(t *testing.T) {
	tor, dir := newFakeTor(""), t.TempDir()
	s := publish(t, "managed", func(p *publisher) { p.settings().Onion.ClientKeys = dir })
	s.tors <- tor
	s.add("node", "127.0.0.1:1")
	client, err := s.p.AddClient(context.Background(), "node", "romeo")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "romeo.auth_private")
	if err := os.WriteFile(file, []byte(client.Private+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.p.changed()
	s.eventually("a key", func() bool {
		tor.mu.Lock()
		defer tor.mu.Unlock()
		return len(tor.keys) == 1 && tor.keys[0].Address() == client.Address
	})
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.p.clientKeys(); err == nil || !strings.Contains(err.Error(), "chmod 600") || strings.Contains(err.Error(), "x25519") {
		t.Errorf("a key that others may read: %v", err)
	}
}
