//go:build e2e

package tornet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xmpp-gw/onion"
)

// shelf is a new shelf of services.
func shelf(t *testing.T) *onion.Shelf {
	t.Helper()
	s, err := onion.OpenShelf(filepath.Join(shortDir(t), "onions"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// create puts a service on the shelf that leads to an echo.
func create(t *testing.T, s *onion.Shelf, name string, edit func(*onion.Service)) onion.Entry {
	t.Helper()
	service := onion.Service{Name: name, Ports: []onion.Port{{Virtual: 5222, Target: echo(t).String()}}}
	if edit != nil {
		edit(&service)
	}
	e, err := s.Create(service, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// publish makes tor publish the whole shelf and waits for it.
func publish(t *testing.T, tor *onion.Tor, s *onion.Shelf) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	all, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var pubs []onion.Publication
	for _, e := range all {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		pubs = append(pubs, e.Publications(nil)...)
	}
	if err := tor.Publish(ctx, pubs); err != nil {
		t.Fatal(err)
	}
	for _, p := range pubs {
		if err := tor.WaitPublished(ctx, p.Address); err != nil {
			t.Fatal(err)
		}
	}
}

func state(t *testing.T, tor *onion.Tor, address string) onion.ServiceState {
	t.Helper()
	for _, s := range tor.Services() {
		if s.Address == address {
			return s
		}
	}
	t.Fatalf("%s is not among the services", address)
	return onion.ServiceState{}
}

// refused wants a connection to an onion address to fail with one of Tor's codes.
func refused(t *testing.T, why, address string, codes ...int) {
	t.Helper()
	c, err := dial(t, managed.SOCKS(), "refused"+time.Now().String(), address+":5222")
	if err == nil {
		c.Close()
		t.Fatalf("%s: connected", why)
	}
	for _, code := range codes {
		if strings.Contains(err.Error(), fmt.Sprint(code)) {
			return
		}
	}
	t.Errorf("%s: %v, want one of the codes %d", why, err, codes)
}

// nowhere wants an onion address to lead nowhere. Tor takes its time with an old
// descriptor, so not connecting for a while is enough.
func nowhere(t *testing.T, why, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if c, err := dialContext(ctx, managed.SOCKS(), "gone"+time.Now().String(), address+":5222"); err == nil {
		c.Close()
		t.Errorf("%s: connected", why)
	}
}

func TestPublish(t *testing.T) {
	s, dir := shelf(t), shortDir(t)
	tor := start(t, onion.Options{DataDir: dir})
	one := create(t, s, "one", func(v *onion.Service) {
		v.PoW = onion.PoW{Enabled: true, Rate: 100, Burst: 200}
		v.MaxStreams, v.IntroPoints = 10, 4
	})
	publish(t, tor, s)
	for i := range 4 { // each a circuit of its own, right after the upload
		open(t, managed.SOCKS(), fmt.Sprint("publish", i), one.Address+":5222")
	}
	got := state(t, tor, one.Address)
	if got.State != onion.StatePublished || got.Uploads == 0 || got.Uploaded != got.Uploads || got.Name != "one" {
		t.Errorf("the state is %+v", got)
	}

	t.Run("a second one leaves the first alone", func(t *testing.T) {
		c := open(t, managed.SOCKS(), "stays", one.Address+":5222")
		two := create(t, s, "two", nil)
		publish(t, tor, s)
		open(t, managed.SOCKS(), "publish", two.Address+":5222")
		if _, err := c.Write([]byte("still there?\n")); err != nil {
			t.Error(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Errorf("an open connection of the first: %q, %v", line, err)
		}
		if _, err := s.Update("two", func(v *onion.Service) error { v.Disabled = true; return nil }); err != nil {
			t.Fatal(err)
		}
		publish(t, tor, s)
		if len(tor.Services()) != 1 {
			t.Errorf("published are %+v", tor.Services())
		}
		nowhere(t, "a service that was taken back", two.Address)
	})
	t.Run("a reload forgets nothing", func(t *testing.T) {
		if _, err := tor.Control().Request(t.Context(), "SIGNAL HUP"); err != nil {
			t.Fatal(err)
		}
		open(t, managed.SOCKS(), "reload", one.Address+":5222")
	})
	// After a crash the same address answers.
	syscall.Kill(tor.PID(), syscall.SIGKILL)
	<-tor.Done()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for state(t, tor, one.Address).State != onion.StateFailed && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if got := state(t, tor, one.Address); got.State != onion.StateFailed {
		t.Errorf("while tor is dead: %+v", got)
	}
	tor.Close()
	tor = start(t, onion.Options{DataDir: dir})
	publish(t, tor, s)
	open(t, managed.SOCKS(), "crash", one.Address+":5222")

	t.Run("a service that tor does not take", func(t *testing.T) {
		e, err := s.Get("one")
		if err != nil {
			t.Fatal(err)
		}
		p := e.Publications(nil)
		p[0].Backend = p[0].Address // without the file that goes with it
		if err := tor.Publish(t.Context(), p); err == nil || !strings.Contains(err.Error(), "ob_config") {
			t.Errorf("got %v", err)
		}
		publish(t, tor, s)
	})
}

func TestCircuitID(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(shortDir(t), "target socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, tor := shelf(t), start(t, onion.Options{})
	e := create(t, s, "ids", func(v *onion.Service) {
		v.Ports[0].Target, v.CircuitID = "unix:"+l.Addr().String(), true
	})
	publish(t, tor, s)
	lines := make(map[string]bool)
	for _, user := range []string{"ida", "idb"} {
		c, err := dial(t, managed.SOCKS(), user, e.Address+":5222")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "x")
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "PROXY TCP6 fc00:dead:beef:4dad::") {
			t.Errorf("the target got %q, %v", line, err)
		}
		lines[line] = true
	}
	if len(lines) != 2 {
		t.Errorf("two circuits look like one: %v", lines)
	}
}

// The keys of clients work at once, both ways: whoever is removed is out, though
// Tor still has the old descriptor.
func TestClientAuthorization(t *testing.T) {
	s, tor := shelf(t), start(t, onion.Options{})
	e := create(t, s, "club", nil)
	publish(t, tor, s)
	open(t, managed.SOCKS(), "open to all", e.Address+":5222")

	add := func(name string) onion.ClientKey {
		t.Helper()
		k, err := s.AddClient("club", name)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, tor, s)
		return k
	}
	authorize := func(keys ...onion.ClientKey) {
		t.Helper()
		if err := managed.Authorize(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	defer authorize()

	alice := add("alice")
	refused(t, "closed from the first client on", e.Address, 0xF4)
	authorize(alice)
	open(t, managed.SOCKS(), "alice", e.Address+":5222")
	bob := add("bob")
	open(t, managed.SOCKS(), "alice again", e.Address+":5222")
	authorize(bob)
	open(t, managed.SOCKS(), "bob", e.Address+":5222")
	authorize()
	refused(t, "without a key any more", e.Address, 0xF4)

	authorize(bob)
	open(t, managed.SOCKS(), "bob again", e.Address+":5222")
	if err := s.RemoveClient("club", "bob"); err != nil {
		t.Fatal(err)
	}
	publish(t, tor, s)
	refused(t, "removed", e.Address, 0xF5)
	authorize(alice)
	open(t, managed.SOCKS(), "alice stays", e.Address+":5222")
	if err := s.RemoveClient("club", "alice"); err != nil {
		t.Fatal(err)
	}
	publish(t, tor, s)
	refused(t, "the last one removed", e.Address, 0xF5)
	authorize()
	refused(t, "a stranger after the last client", e.Address, 0xF4)
	if err := s.Open("club"); err != nil {
		t.Fatal(err)
	}
	publish(t, tor, s)
	open(t, managed.SOCKS(), "open again", e.Address+":5222")
}

func TestRotate(t *testing.T) {
	s, tor := shelf(t), start(t, onion.Options{})
	old := create(t, s, "turn", nil)
	publish(t, tor, s)
	e, err := s.Rotate("turn", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, tor, s)
	open(t, managed.SOCKS(), "new", e.Address+":5222")
	open(t, managed.SOCKS(), "old", old.Address+":5222")
	if _, err := s.Expire(time.Now().Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	publish(t, tor, s)
	open(t, managed.SOCKS(), "new again", e.Address+":5222")
	nowhere(t, "the old address after its time", old.Address)
}

func TestSystemPublish(t *testing.T) {
	c, err := network.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	system := func() *onion.Tor {
		t.Helper()
		tor, err := onion.Start(t.Context(), onion.Options{Mode: onion.ModeSystem, SystemSOCKS: []string{c.SOCKS()}, SystemControl: []string{c.Control()}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tor.Close() })
		return tor
	}
	s, tor := shelf(t), system()
	e := create(t, s, "sys", func(v *onion.Service) { v.MaxStreams, v.PoW.Enabled = 5, true })
	publish(t, tor, s)
	open(t, managed.SOCKS(), "system", e.Address+":5222")

	k, err := s.AddClient("sys", "carol")
	if err != nil {
		t.Fatal(err)
	}
	publish(t, tor, s)
	refused(t, "closed", e.Address, 0xF4)
	if err := managed.Authorize(t.Context(), []onion.ClientKey{k}); err != nil {
		t.Fatal(err)
	}
	defer managed.Authorize(t.Context(), nil)
	open(t, managed.SOCKS(), "carol", e.Address+":5222")

	t.Run("what only a tor of ours can do", func(t *testing.T) {
		p := e.Publications(nil)
		p[0].CircuitID = true
		var managedOnly *onion.ManagedOnlyError
		if err := tor.Publish(t.Context(), p); !errors.As(err, &managedOnly) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("it ends with us and comes again with us", func(t *testing.T) {
		tor.Close()
		nowhere(t, "after Close", e.Address)
		again := system()
		publish(t, again, s)
		open(t, managed.SOCKS(), "carol again", e.Address+":5222")
		c.Kill()
		select {
		case <-again.Done():
		case <-time.After(5 * time.Second):
			t.Fatal("nobody noticed that the system's tor ended")
		}
		if again.Err() == nil {
			t.Error("its end has no reason")
		}
	})
}

func TestSingleHop(t *testing.T) {
	s, dir := shelf(t), filepath.Join(shortDir(t), "tor")
	tor := start(t, onion.Options{DataDir: dir})
	hidden := create(t, s, "hidden", nil)
	direct := create(t, s, "direct", func(v *onion.Service) { v.SingleHop = true })
	publish(t, tor, s)
	open(t, managed.SOCKS(), "hidden", hidden.Address+":5222")
	open(t, managed.SOCKS(), "direct", direct.Address+":5222")
	if found := sockets(t, dir+"-single-hop"); len(found) != 1 || filepath.Base(found[0]) != "control" {
		t.Errorf("the second tor listens on %v", found)
	}
	if mode, err := tor.Control().Request(t.Context(), "GETCONF HiddenServiceSingleHopMode"); err != nil || mode[0] != "HiddenServiceSingleHopMode=0" {
		t.Errorf("the first tor says %v, %v", mode, err)
	}
	second, err := onion.DialControl(t.Context(), "unix:"+sockets(t, dir+"-single-hop")[0])
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()

	t.Run("it dies and comes back", func(t *testing.T) {
		if _, err := second.Request(t.Context(), "SIGNAL HALT"); err != nil {
			t.Log(err) // its answer may not get out
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		for state(t, tor, direct.Address).State == onion.StatePublished && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		if err := tor.WaitPublished(ctx, direct.Address); err != nil {
			t.Fatal(err)
		}
		open(t, managed.SOCKS(), "direct again", direct.Address+":5222")
	})
	t.Run("nobody wants it any more", func(t *testing.T) {
		if err := s.Remove("direct"); err != nil {
			t.Fatal(err)
		}
		publish(t, tor, s)
		if found := sockets(t, dir+"-single-hop"); len(found) != 0 {
			t.Errorf("the second tor still listens on %v", found)
		}
		nowhere(t, "removed", direct.Address)
	})
	if _, err := os.Stat(hidden.Dir); err != nil {
		t.Error(err)
	}
}
