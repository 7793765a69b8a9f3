package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeServe records what was served.
func fakeServe(served *[]string) func(net.Listener, string) io.Closer {
	return func(l net.Listener, kind string) io.Closer {
		*served = append(*served, kind)
		return l
	}
}

func answers(p string) bool {
	c, err := net.Dial("unix", p)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestListenerSet(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) place { return place{kindSTARTTLS, "unix:" + filepath.Join(dir, name)} }
	var served []string
	s := newListenerSet(fakeServe(&served))
	defer s.Close()
	change := func(want ...place) error {
		c, err := s.prepare(want)
		if err == nil {
			c.apply()
		}
		return err
	}
	state := func() string {
		var names []string
		for _, l := range s.list() {
			names = append(names, filepath.Base(l.Address))
		}
		return strings.Join(names, " ")
	}

	if err := change(at("a"), at("b"), at("b")); err != nil || state() != "a b" || len(served) != 2 {
		t.Fatalf("%v: %s, served %v", err, state(), served)
	}
	if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode: %v, %v", info, err)
	}
	// One that stays is not opened again, one that goes is closed, one that comes is opened.
	if err := change(at("b"), at("c")); err != nil || state() != "b c" || len(served) != 3 {
		t.Fatalf("%v: %s, served %v", err, state(), served)
	}
	if answers(filepath.Join(dir, "a")) || !answers(filepath.Join(dir, "b")) {
		t.Error("the wrong one was closed")
	}
	// One that cannot be opened changes nothing.
	if err := change(at("d"), at("no/such/folder")); err == nil || state() != "b c" {
		t.Errorf("%v: %s", err, state())
	}
	if answers(filepath.Join(dir, "d")) || !answers(filepath.Join(dir, "c")) {
		t.Error("a change that failed left a trace")
	}
	if err := s.Close(); err != nil || state() != "" || answers(filepath.Join(dir, "b")) {
		t.Errorf("after Close: %v, %q", err, state())
	}
}

// The service manager's sockets stand in the place of the configured ones of
// their kind, also after a reload.
func TestAdopt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	s := newListenerSet(fakeServe(&served))
	defer s.Close()
	s.adopt(map[string][]net.Listener{kindSTARTTLS: {l}})
	for range 2 {
		c, err := s.prepare([]place{{kindSTARTTLS, l.Addr().String()}, {kindDirectTLS, "127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		c.apply()
	}
	list := s.list()
	if len(list) != 2 || list[0].Address != l.Addr().String() || list[1].Kind != kindDirectTLS || fmt.Sprint(served) != "[c2s c2s-tls]" {
		t.Errorf("%+v, served %v", list, served)
	}
}

func TestListenProblems(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	live, err := net.Listen("unix", filepath.Join(dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, address, why, hint string }{
		{"in use", l.Addr().String(), "another program listens there", "xmpp-gw status"},
		{"not here", "192.0.2.7:5222", "this machine has no such address", "listen.c2s"},
		{"a name", "localhost:5222", "is not IP:PORT or unix:PATH", "listen.c2s"},
		{"a live socket", "unix:" + filepath.Join(dir, "live"), "another program listens there", "stop it"},
		{"a file", "unix:" + filepath.Join(dir, "file"), "another program listens there", "stop it"},
		{"no folder", "unix:" + filepath.Join(dir, "no", "x"), "the folder does not exist", "listen.c2s"},
	}
	for _, tt := range tests {
		l, err := listen(place{kindSTARTTLS, tt.address})
		if err == nil {
			l.Close()
			t.Errorf("%s: it listens", tt.name)
			continue
		}
		p := explain(err)
		if !strings.Contains(p.what, "cannot listen at "+tt.address+" (STARTTLS)") || !strings.Contains(p.why, tt.why) || !strings.Contains(p.hint, tt.hint) {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}

	// What a killed daemon left is replaced.
	stale := filepath.Join(dir, "stale")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	fresh, err := listen(place{kindSTARTTLS, "unix:" + stale})
	if err != nil {
		t.Fatal(err)
	}
	fresh.Close()
}
