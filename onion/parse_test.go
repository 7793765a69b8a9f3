package onion

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFields(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []field
	}{
		{"", nil},
		{"  NOTICE  BOOTSTRAP ", []field{{"", "NOTICE"}, {"", "BOOTSTRAP"}}},
		{`A=1 B="two words" C`, []field{{"A", "1"}, {"B", "two words"}, {"", "C"}}},
		{`A="say \"hi\"\n\t\\" B=2`, []field{{"A", "say \"hi\"\n\t\\"}, {"B", "2"}}},
		{`A="\303\251" B=`, []field{{"A", "é"}, {"B", ""}}},
		{`A="\7x" B="\0601"`, []field{{"A", "\ax"}, {"B", "01"}}},
		{`"unix:/run/tor/socks" "127.0.0.1:9050"`, []field{{"", "unix:/run/tor/socks"}, {"", "127.0.0.1:9050"}}},
		{`$AB=name,$CD~other X=1`, []field{{"", "$AB=name,$CD~other"}, {"X", "1"}}},
		{`A="no end`, []field{{"A", `"no`}, {"", "end"}}},
		{`A="\`, []field{{"A", `"\`}}},
		{`A="\777"`, []field{{"A", `"\777"`}}},
		{`A="x"B=1`, []field{{"A", "x"}, {"B", "1"}}},
		{"=x =", []field{{"", "=x"}, {"", "="}}},
	} {
		if got := fields(tt.line); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("fields(%q) = %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestParseBootstrap(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Progress
		ok   bool
	}{
		{`NOTICE BOOTSTRAP PROGRESS=0 TAG=starting SUMMARY="Starting"`, Progress{0, "starting", "Starting", ""}, true},
		{`NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"`, Progress{100, "done", "Done", ""}, true},
		{`WARN BOOTSTRAP PROGRESS=14 TAG=handshake SUMMARY="Handshaking with a relay" WARNING="DONE" REASON=DONE COUNT=1 RECOMMENDATION=ignore`,
			Progress{14, "handshake", "Handshaking with a relay", "a relay, or something on the way to it, closed the connection"}, true},
		{`WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="Connecting to a relay" WARNING="Connection refused" REASON=CONNECTREFUSED COUNT=3 RECOMMENDATION=warn HOSTID="AB" HOSTADDR="192.0.2.7:443"`,
			Progress{5, "conn", "Connecting to a relay", "Connection refused"}, true},
		{`NOTICE BOOTSTRAP PROGRESS=10 TAG=x SUMMARY="\033[31mred"`, Progress{10, "x", "[31mred", ""}, true},
		{`NOTICE BOOTSTRAP PROGRESS=101 TAG=x SUMMARY="x"`, Progress{}, false},
		{`NOTICE BOOTSTRAP PROGRESS=-1 TAG=x`, Progress{}, false},
		{`NOTICE BOOTSTRAP TAG=x`, Progress{}, false},
		{`NOTICE CIRCUIT_ESTABLISHED`, Progress{}, false},
		{`NOTICE CLOCK_JUMPED TIME=5 PROGRESS=5`, Progress{}, false},
		{``, Progress{}, false},
	} {
		got, ok := parseBootstrap(tt.line)
		if got != tt.want || ok != tt.ok {
			t.Errorf("parseBootstrap(%q) = %+v %v, want %+v %v", tt.line, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseClockSkew(t *testing.T) {
	for line, want := range map[string]time.Duration{
		`WARN CLOCK_SKEW SKEW=-7200 MIN_SKEW=-3600 SOURCE=CONSENSUS`: -2 * time.Hour,
		`WARN CLOCK_SKEW SKEW=86400 SOURCE=DIRSERV:192.0.2.1:80`:     24 * time.Hour,
		`WARN CLOCK_SKEW SKEW=soon`:                                  0,
		`WARN DANGEROUS_VERSION CURRENT=0.4.1.1 SKEW=1`:              0,
	} {
		got, ok := parseClockSkew(line)
		if got != want || ok != (want != 0) {
			t.Errorf("parseClockSkew(%q) = %v %v, want %v", line, got, ok, want)
		}
	}
}

func TestBootstrapError(t *testing.T) {
	for _, tt := range []struct {
		err  BootstrapError
		want []string
	}{
		{BootstrapError{Last: Progress{5, "conn", "Connecting to a relay", "Network unreachable"}, Quiet: 4 * time.Minute},
			[]string{"5 %", "conn", "Connecting to a relay", "4m0s", "Network unreachable", "online", "bridge"}},
		{BootstrapError{Last: Progress{25, "requesting_status", "Asking for networkstatus consensus", ""}, Quiet: time.Minute, Skew: -2 * time.Hour},
			[]string{"25 %", "clock is 2h0m0s behind", "timedatectl"}},
		{BootstrapError{Last: Progress{40, "loading_keys", "Loading authority key certs", ""}, Quiet: time.Minute},
			[]string{"40 %", "clock"}},
		{BootstrapError{Last: Progress{80, "ap_conn", "Connecting", ""}, Quiet: time.Minute},
			[]string{"80 %", "slow"}},
	} {
		for _, want := range tt.want {
			if got := tt.err.Error(); !strings.Contains(got, want) {
				t.Errorf("%q does not say %q", got, want)
			}
		}
	}
}

// What Tor 0.4.9 answers, with other fingerprints.
const circuitStatus = `1 BUILT $AAAA~guard BUILD_FLAGS=ONEHOP_TUNNEL,IS_INTERNAL PURPOSE=GENERAL TIME_CREATED=2026-01-01T04:53:48.531745
2 EXTENDED $AAAA~guard,$BBBB~middle PURPOSE=GENERAL SOCKS_USERNAME="alice"
3 LAUNCHED PURPOSE=GENERAL SOCKS_USERNAME="alice"
5 BUILT $AAAA~guard,$CCCC~third,$DDDD~exit PURPOSE=CONFLUX_LINKED SOCKS_USERNAME="alice" SOCKS_PASSWORD="p" CONFLUX_ID=2B6C CONFLUX_RTT=12315
6 BUILT $BBBB~middle,$EEEE~fifth,$DDDD~exit PURPOSE=CONFLUX_LINKED CONFLUX_ID=2B6C CONFLUX_RTT=23937
7 BUILT $AAAA~guard,$BBBB~middle,$CCCC~third PURPOSE=GENERAL SOCKS_USERNAME="alice" SOCKS_PASSWORD="p"
8 BUILT $AAAA~guard,$BBBB~middle,$CCCC~third,$DDDD~rend PURPOSE=HS_CLIENT_REND HS_STATE=HSCR_JOINED SOCKS_USERNAME="bo\"b"
9 BUILT $AAAA~guard,$BBBB~middle PURPOSE=HS_CLIENT_HSDIR SOCKS_USERNAME=""
`

func TestCircuits(t *testing.T) {
	const streamStatus = "14 SUCCEEDED 6 127.0.0.1:45119\n15 SUCCEEDED 6 127.0.0.1:45119\n16 SUCCEEDED 7 192.0.2.1:1\n17 NEW 0 192.0.2.1:2\n18 SUCCEEDED 8 x.onion:5222\n19 CLOSED 7 192.0.2.1:1\n"
	got := byUser(parseCircuits(circuitStatus), parseStreams(streamStatus))
	want := map[string]Circuit{
		"alice": {ID: "5", Purpose: "conflux_linked", Hops: 3, Streams: 2, relays: []string{"guard AAAA", "third CCCC", "exit DDDD"}},
		`bo"b`:  {ID: "8", Purpose: "hs_client_rend", Hops: 4, Streams: 1, relays: []string{"guard AAAA", "middle BBBB", "third CCCC", "rend DDDD"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if none := byUser(parseCircuits(circuitStatus), nil)["alice"]; none.ID != "7" {
		t.Errorf("without streams, got circuit %s, want the newest, 7", none.ID)
	}
	if empty := byUser(parseCircuits(""), parseStreams("")); len(empty) != 0 {
		t.Errorf("out of nothing came %v", empty)
	}
}

// A circuit's relays would tell whoever reads a log which way the person goes.
func TestCircuitHidesRelays(t *testing.T) {
	c := Circuit{ID: "5", Purpose: "general", Hops: 1, relays: []string{"secret"}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, "secret") || !strings.Contains(s, "general") {
			t.Errorf("%s prints %s", format, s)
		}
	}
	if len(c.Relays()) != 1 {
		t.Error("who asks for the relays does not get them")
	}
}

func TestVersion(t *testing.T) {
	for s, want := range map[string]Version{
		"0.4.9.11":                     {0, 4, 9, 11, ""},
		"0.4.9.1-alpha-dev (git-abcd)": {0, 4, 9, 1, "alpha-dev"},
		"0.4.8.0 (git-0123456789)":     {0, 4, 8, 0, ""},
		"1.0.0":                        {1, 0, 0, 0, ""},
	} {
		got, err := ParseVersion(s)
		if err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0.4", "0.4.9.11.2", "0.4.x.1", "0.-4.1.1", "0.4.9.99999", "tor"} {
		if v, err := ParseVersion(s); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", s, v)
		}
	}
	for s, old := range map[string]bool{"0.4.7.16": true, "0.3.9.99": true, "0.4.8.0": false, "0.4.8.1-alpha": false, "0.4.10.1": false, "1.0.0": false} {
		v, err := ParseVersion(s)
		if err != nil || v.Less(MinVersion()) != old {
			t.Errorf("%s: too old = %v, %v, want %v", s, v.Less(MinVersion()), err, old)
		}
	}
	out := "Nov 21 04:32:00.000 [notice] hello\nTor version 0.4.9.11.\nThis build of Tor is covered by a licence\n"
	if v, err := parseVersionOutput(out); err != nil || v.String() != "0.4.9.11" {
		t.Errorf("from --version: %v, %v", v, err)
	}
	if _, err := parseVersionOutput("bash: tor: not found"); err == nil {
		t.Error("no version was taken for one")
	}
}

// FuzzReplies feeds whatever a control port may say to all that reads it: no
// input may panic, and what a person sees must not steer a terminal.
func FuzzReplies(f *testing.F) {
	for line := range strings.Lines(circuitStatus) {
		f.Add(line)
	}
	f.Add(`WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="Connecting \"\033\" to" WARNING="x" REASON=NOROUTE`)
	f.Add(`A="\`)
	f.Add(`A="\78" "`)
	f.Add("0.4.9.1-alpha-dev (git-abcd)")
	f.Fuzz(func(t *testing.T, s string) {
		total := 0
		for _, x := range fields(s) {
			total += len(x.key) + len(x.val)
		}
		if total > len(s) {
			t.Errorf("the words of %q are longer than the line", s)
		}
		p, ok := parseBootstrap(s)
		if ok && (p.Percent < 0 || p.Percent > 100) {
			t.Errorf("%d %%", p.Percent)
		}
		for _, c := range parseCircuits(s) {
			if c.Hops != len(c.relays) || c.Hops == 0 {
				t.Errorf("%d hops, %d relays", c.Hops, len(c.relays))
			}
			p.Summary += c.String() + strings.Join(c.relays, "")
		}
		for _, r := range p.Tag + p.Summary + p.Warning {
			if r < ' ' || r == 0x7f || r == utf8.RuneError {
				t.Errorf("%q would reach a terminal", r)
			}
		}
		parseStreams(s)
		parseClockSkew(s)
		if v, err := ParseVersion(s); err == nil && v.Less(v) {
			t.Errorf("%v is older than itself", v)
		}
	})
}
