package onion

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestHealth: what a Tor says of itself, read from its control port's answers.
func TestHealth(t *testing.T) {
	answers := map[string]string{
		"GETINFO version":                "250-version=0.4.9.11 (git-0123)\r\n250 OK\r\n",
		"GETINFO status/version/current": "250-status/version/current=recommended\r\n250 OK\r\n",
		"GETINFO status/bootstrap-phase": "250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY=\"Done\"\r\n250 OK\r\n",
		"GETCONF SocksPort":              "250-SocksPort=unix:\"/run/tor/socks\" WorldWritable\r\n250 SocksPort=9150 NoIsolateSOCKSAuth\r\n",
		"GETINFO net/listeners/socks":    "250-net/listeners/socks=\"unix:/run/tor/socks\" \"127.0.0.1:9150\" \"[::1]:9150\"\r\n250 OK\r\n",
		"GETINFO net/listeners/control":  "250-net/listeners/control=\"unix:/run/tor/control\"\r\n250 OK\r\n",
		"GETINFO net/listeners/dns":      "250-net/listeners/dns=\"0.0.0.0:5353\"\r\n250 OK\r\n",
		"GETINFO consensus/valid-after":  "250-consensus/valid-after=2026-01-02 03:00:00\r\n250 OK\r\n",
		"GETINFO consensus/valid-until":  "250-consensus/valid-until=2026-01-02 06:00:00\r\n250 OK\r\n",
	}
	f := newFakeControl(t, func(command string) string {
		if a, ok := answers[command]; ok {
			return a
		}
		return "552 Unrecognized key\r\n"
	})
	want := Health{SOCKS: "unix:/run/tor/socks", Version: "0.4.9.11", Status: "recommended", Bootstrapped: 100, Isolated: true, Open: []string{"dns 0.0.0.0:5353"},
		ValidAfter: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), ValidUntil: time.Date(2026, 1, 2, 6, 0, 0, 0, time.UTC)}
	got, err := dialFake(t, f).health(t.Context(), "unix:/run/tor/socks")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err = dialFake(t, f).health(t.Context(), "127.0.0.1:9150"); err != nil || got.Isolated {
		t.Errorf("a port that shares circuits: %+v, %v", got, err)
	}
	delete(answers, "GETINFO status/version/current")
	if _, err = dialFake(t, f).health(t.Context(), "127.0.0.1:9150"); err == nil {
		t.Error("an answer that failed is none")
	}
	if h, err := (&Tor{socks: "s"}).Health(t.Context()); !errors.Is(err, ErrNoControl) || h.SOCKS != "s" {
		t.Errorf("without a control port: %+v, %v", h, err)
	}
	if _, err := SystemHealth(t.Context(), Options{SystemSOCKS: []string{"unix:" + t.TempDir() + "/none"}}); !errors.Is(err, ErrNoSystemTor) {
		t.Errorf("without a tor: %v", err)
	}
}

// TestIsolates: a port shares circuits where the line that may be its own says so.
func TestIsolates(t *testing.T) {
	for _, tt := range []struct {
		lines, socks string
		want         bool
	}{
		{"SocksPort", "127.0.0.1:9050", true},
		{"SocksPort=9050", "127.0.0.1:9050", true},
		{"SocksPort=9050 noisolatesocksauth", "127.0.0.1:9050", false},
		{"SocksPort=127.0.0.1:9050 NoIsolateSOCKSAuth", "[::1]:9050", false},
		{"SocksPort=9150 NoIsolateSOCKSAuth", "127.0.0.1:9050", true},
		{"SocksPort=auto NoIsolateSOCKSAuth", "127.0.0.1:9050", false},
		{"SocksPort=unix:/a NoIsolateSOCKSAuth|SocksPort=unix:/b", "unix:/b", true},
		{"SocksPort=unix:\"/a\" NoIsolateSOCKSAuth|SocksPort=unix:/b", "unix:/a", false},
	} {
		if got := isolates(strings.Split(tt.lines, "|"), tt.socks); got != tt.want {
			t.Errorf("%s at %s: %t", tt.lines, tt.socks, got)
		}
	}
}
