package peers

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMissingProgramNamesItsPackage(t *testing.T) {
	_, err := program("no-such-program", "its-package")
	if err == nil || !strings.Contains(err.Error(), "apt-get install its-package") {
		t.Errorf("got %v", err)
	}
	if path, err := program("sh", "dash"); err != nil || !strings.HasSuffix(path, "/sh") {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestDisabled(t *testing.T) {
	o := Options{Mechanisms: []string{"SCRAM-SHA-1", "PLAIN"}}
	off := o.disabled()
	for m, want := range map[string]bool{
		"PLAIN": false, "SCRAM-SHA-1": false, "SCRAM-SHA-1-PLUS": true, "SCRAM-SHA-256": true, "DIGEST-MD5": true,
	} {
		if slices.Contains(off, m) != want {
			t.Errorf("%s: disabled is %v, want %v", m, !want, want)
		}
	}
	if off := (&Options{}).disabled(); off != nil {
		t.Errorf("without a wish %q is disabled", off)
	}
}

func TestErlang(t *testing.T) {
	for in, want := range map[string]string{"": "<<>>", "a\"'.": "<<97,34,39,46>>", "é": "<<195,169>>"} {
		if got := erlang(in); got != want {
			t.Errorf("erlang(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts()
	if err != nil || ports[0] == ports[1] || ports[0] < 20000 || ports[1] >= 32000 {
		t.Errorf("got %v, %v", ports, err)
	}
}

func TestFeed(t *testing.T) {
	f, done := newFeed[int](), make(chan struct{})
	f.add(1)
	go func() {
		f.add(2)
		f.add(3)
		close(done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	is := func(want int) func(int) bool { return func(v int) bool { return v == want } }
	if v, next, err := f.wait(ctx, done, 0, is(3)); v != 3 || next != 3 || err != nil {
		t.Errorf("got %d, %d, %v", v, next, err)
	}
	if _, _, err := f.wait(ctx, done, 0, is(4)); err == nil || ctx.Err() != nil {
		t.Errorf("waiting for what cannot come any more: %v", err)
	}
	cancel()
	if _, _, err := f.wait(ctx, nil, 0, is(4)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestProcessGroupEnds: with a child goes the child of its own, and its
// directory.
func TestProcessGroupEnds(t *testing.T) {
	lines := make(chan string, 2)
	dir := t.TempDir() + "/process"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := spawn(spec{
		dir: dir, path: "/bin/sh", args: []string{"-c", "echo oops >&2; sleep 1000 & echo $!; wait"},
		lines: func(line []byte) { lines <- string(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	grandchild := <-lines
	if err := p.close(); err != nil {
		t.Error(err)
	}
	if p.close() != nil {
		t.Error("closing twice is an error")
	}
	if got := p.log(); got != "oops\n"+grandchild+"\n" {
		t.Errorf("the log is %q", got)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	end := time.Now().Add(5 * time.Second)
	for syscall.Kill(-p.pid, 0) != syscall.ESRCH {
		// Killed at once, but somebody has to reap the orphan.
		if state, err := os.ReadFile("/proc/" + grandchild + "/stat"); err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the grandchild runs on")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
