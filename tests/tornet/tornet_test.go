package tornet

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMissingProgram(t *testing.T) {
	if _, err := find("tor-of-nobody"); err == nil || !strings.Contains(err.Error(), "apt-get install tor") {
		t.Errorf("got %v, want the package to install", err)
	}
}

// The first vote must come some seconds after the relays have published
// themselves, and not nearly a whole interval later.
func TestVotingOffset(t *testing.T) {
	for ms := range int64(20_000) {
		start := time.UnixMilli(1_000_000_000_000 + ms)
		offset := votingOffset(start)
		first := start.Add(time.Second) // a vote is at a multiple of 10 s, and the offset
		for first.Unix()%10 != offset {
			first = first.Add(time.Second)
		}
		if in := first.Truncate(time.Second).Sub(start); in < 7*time.Second || in > 8*time.Second {
			t.Fatalf("started at %v, the vote is in %v", start, in)
		}
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts(6)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range ports {
		if p == 0 || seen[p] {
			t.Errorf("ports are %v", ports)
		}
		seen[p] = true
	}
}

func TestLog(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &node{name: "n", log: logFile{file: f, more: make(chan struct{})}, done: make(chan struct{})}
	found := make(chan error)
	go func() { found <- r.wait(context.Background(), time.Minute, "two\nthree") }()
	for _, s := range []string{"one\ntwo", "\nthr", "ee\n"} {
		if _, err := r.log.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-found; err != nil {
		t.Error(err)
	}
	if got := r.tail(2); got != "two\nthree\n" {
		t.Errorf("the tail is %q", got)
	}
	if got := r.tail(9); got != "one\ntwo\nthree\n" {
		t.Errorf("all is %q", got)
	}
	if err := r.wait(context.Background(), time.Millisecond, "four"); err == nil {
		t.Error("what was not said was found")
	}
	close(r.done)
	if err := r.wait(context.Background(), time.Minute, "four"); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("of a dead process: %v", err)
	}
}
