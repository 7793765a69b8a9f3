package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/control"
)

var testStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testReport() statusReport {
	return statusReport{
		Status: control.Status{
			Version: "0.1.0", PID: 7, Started: testStart, State: control.StateReady, Config: "/etc/xmpp-gw/config.toml",
			Tor:       control.Tor{State: control.StateReady, Managed: true, Version: "0.4.9.11", Bootstrap: 100},
			Listeners: []control.Listener{{Kind: "c2s", Address: "127.0.0.1:5222"}, {Kind: "c2s-tls", Address: "unix:/run/x"}},
			Sessions:  control.Counts{Open: 2, Total: 12},
		},
		Sessions: []control.Session{
			{
				ID: "7f3a", Age: 3700, State: "online", Domain: "example.org", Route: "tor", Circuit: "12",
				TLS:      control.TLS{Version: "TLS 1.3", Group: "X25519MLKEM768", Cipher: "TLS_AES_128_GCM_SHA256"},
				SASL:     control.SASL{Mode: "originate", Mechanism: "SCRAM-SHA-256-PLUS", Binding: "tls-exporter"},
				Up:       control.Flow{Bytes: 1500},
				Down:     control.Flow{Bytes: 2_500_000},
				Warnings: []string{"the key changed"},
				Relays:   []string{"guard AA", "exit BB"},
			},
			{ID: "7f3b", Age: 2, State: "login", Domain: "evil\x1b[2J\t.example"},
		},
		Verdicts: []control.Verdict{
			{Domain: "example.org", At: testStart, Grade: "B", Warnings: 2, Worst: &control.Finding{ID: "sasl.plus", Severity: "medium", Verdict: "warn"}},
			{Domain: "xn--bcher-kva.example", At: testStart.Add(26*time.Hour - time.Minute), Grade: "A"},
		},
		Onions: []control.Onion{
			{Name: "chat", Address: "x.onion", State: control.OnionPublishing, Uploaded: 2, Uploads: 6, Restricted: true, Clients: []string{"juliet"}},
			{Name: "node", Address: "y.onion", State: control.OnionPublished, Ports: []control.OnionPort{{Port: 5222, Target: "127.0.0.1:1", Error: "it is down", Refused: 3}}},
		},
	}
}

func TestWriteStatus(t *testing.T) {
	var out strings.Builder
	writeStatus(&out, false, testReport(), testStart.Add(26*time.Hour))
	const want = `xmpp-gw 0.1.0, process 7, up 1 d 2 h, ready
configuration: /etc/xmpp-gw/config.toml
tor: 0.4.9.11, started by xmpp-gw, ready
listening: 127.0.0.1:5222 (STARTTLS), unix:/run/x (direct TLS)
onion: chat, publishing 2/6, x.onion, for juliet
onion: node, published, y.onion, for everybody
sessions: 2 open, 12 since the start

ID    STATE   DOMAIN             ROUTE  CIRCUIT  TLS                                    LOGIN                            UP      DOWN    AGE
7f3a  online  example.org        tor    12       1.3 X25519MLKEM768 AES_128_GCM_SHA256  SCRAM-SHA-256-PLUS tls-exporter  1.5 kB  2.5 MB  1 h 1 min
7f3b  login   evil?[2J .example  -      -        -                                      -                                0 B     0 B     2 s

SERVER OF       GRADE  FAIL  WARN  WORST                  SEEN
example.org     B      0     2     warn medium sasl.plus  1 d 2 h ago
bücher.example  A      0     0     -                      1 min 0 s ago
warning: onion node: port 5222: it is down (127.0.0.1:1); start that server, or name another with --port 5222=IP:PORT
warning: onion node: port 5222: 3 connections were turned away (section [onion] of the configuration)
session 7f3a goes by guard AA, exit BB
warning: session 7f3a: the key changed
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if strings.ContainsAny(out.String(), "\x1b\t") {
		t.Error("a control character got through")
	}
}

func TestTorText(t *testing.T) {
	for _, tt := range []struct {
		tor  control.Tor
		want string
	}{
		{control.Tor{State: control.StateOff}, "off"},
		{control.Tor{State: control.StateStarting, Bootstrap: 45, Doing: "Loading"}, "starting, 45 % Loading"},
		{control.Tor{State: control.StateStarting}, "starting, 0 %"},
		{control.Tor{State: control.StateReady, Version: "0.4.9.11"}, "0.4.9.11, the system's, ready"},
		{control.Tor{State: control.StateFailed, Error: "tor is not installed"}, "failed: tor is not installed"},
	} {
		if got := torText(tt.tor); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.tor, got, tt.want)
		}
	}
}

func TestSizeAndAge(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 2_500_000_000: "2.5 GB",
		7_000_000_000_000: "7.0 TB", 7_000_000_000_000_000: "7000.0 TB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 1500 * time.Millisecond: "1 s", 90 * time.Second: "1 min 30 s",
		61 * time.Minute: "1 h 1 min", 49 * time.Hour: "2 d 1 h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := watch(ctx, time.Millisecond, func() error {
		if n++; n == 3 {
			cancel()
			return errors.New("cut off by the interrupt")
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("after %d looks: %v", n, err)
	}
	gone := errors.New("the daemon is gone")
	if err := watch(context.Background(), time.Millisecond, func() error { return gone }); err != gone {
		t.Errorf("got %v", err)
	}
}
