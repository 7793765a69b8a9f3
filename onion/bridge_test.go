package onion

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	testPrint = "0123456789ABCDEF0123456789abcdef01234567"
	testCert  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMw"
)

// bridgesThatTorTakes is a line of each kind.
func bridgesThatTorTakes() []string {
	return []string{
		"192.0.2.1:9001",
		"Bridge [2001:db8::1]:9001 " + testPrint,
		"obfs4 192.0.2.1:443 " + testPrint + " cert=" + testCert + " iat-mode=0",
		"bridge\tobfs4  192.0.2.1:443 cert=" + testCert,
		"snowflake 192.0.2.3:80 " + testPrint + " fingerprint=" + testPrint + " url=https://snowflake.example/ fronts=a.example,b.example ice=stun:stun.example:3478 utls-imitate=hellorandomizedalpn",
		"webtunnel [2001:db8::2]:443 " + testPrint + " url=https://web.example/path?x=y ver=0.0.1",
		"meek_lite 192.0.2.20:80 url=https://meek.example front=cdn.example",
	}
}

func TestParseBridge(t *testing.T) {
	for i, transport := range []string{"", "", "obfs4", "obfs4", "snowflake", "webtunnel", "meek_lite"} {
		line := bridgesThatTorTakes()[i]
		b, err := ParseBridge(line)
		if err != nil || b.Transport() != transport {
			t.Errorf("%s: %v, %v", line, b, err)
		}
		if shown := fmt.Sprintf("%v %+v %#v", b, b, b); strings.Contains(shown, "192.0") || strings.Contains(shown, "2001") {
			t.Errorf("it prints as %s", shown)
		}
	}
	for line, want := range map[string]string{
		"":                                 "at least an address",
		"Bridge":                           "at least an address",
		"obfs4":                            "comes the bridge's address",
		"obfs5 192.0.2.1:443":              `transport "obfs5" is not known`,
		"bridge.example:443":               "neither IP:PORT nor a transport",
		"obfs4 bridge.example:443":         "no bridge address",
		"obfs4 192.0.2.1":                  "no bridge address",
		"192.0.2.1:0":                      "no bridge address",
		"192.0.2.1:99999":                  "neither IP:PORT",
		"192.0.2.1:443 ABCD":               "no fingerprint",
		"192.0.2.1:443 " + testPrint + "0": "no fingerprint",
		"192.0.2.1:443 cert=" + testCert:   `"obfs4"`,
		"obfs4 192.0.2.1:443 " + testPrint: "needs cert=",
		"obfs4 192.0.2.1:443 cert=AAAA":    "not 4",
		"obfs4 192.0.2.1:443 iat-mode=0 " + testPrint:          "out of place",
		"obfs4 192.0.2.1:443 cert=" + testCert + " iat-mode=3": "0, 1 or 2",
		"snowflake 192.0.2.3:80 " + testPrint:                  "url=https",
		"webtunnel 192.0.2.3:80 url=ftp://x":                   "url=https",
		"192.0.2.1:443\nControlPort 9051":                      "one line",
		"obfs4 192.0.2.1:443 cert=" + testCert + "\x00":        "control characters",
	} {
		if b, err := ParseBridge(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", line, b, err, want)
		}
	}
}

func TestBridgeLines(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	all := bridgesThatTorTakes()
	if text, err := bridgeLines(nil, nil); text != "" || err != nil {
		t.Errorf("without bridges: %q, %v", text, err)
	}
	for i, pkg := range map[int]string{2: "obfs4proxy", 4: "snowflake-client", 5: "webtunnel-client"} {
		_, err := bridgeLines(all[i:i+1], []string{dir})
		var missing *HelperError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), pkg) {
			t.Errorf("without a helper: %v, want the package %s", err, pkg)
		}
	}
	for _, program := range []string{"obfs4proxy", "snowflake-client", "webtunnel-client"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text, err := bridgeLines(all, []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	for want, n := range map[string]int{
		"UseBridges 1\n": 1,
		"\nClientTransportPlugin obfs4 exec " + dir + "/obfs4proxy\n":           1,
		"\nClientTransportPlugin snowflake exec " + dir + "/snowflake-client\n": 1,
		"\nBridge obfs4 192.0.2.1:443 ":                                         2,
		"\nBridge ":                                                             len(all),
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%d times %q in\n%s", got, want, text)
		}
	}
	if _, err := bridgeLines([]string{all[0], "x.example"}, nil); err == nil || !strings.Contains(err.Error(), "bridge 2") {
		t.Errorf("got %v", err)
	}
	// A bridge whose helper is missing must not become a direct connection.
	_, err = Start(t.Context(), Options{
		Mode: ModeManaged, DataDir: filepath.Join(t.TempDir(), "d"), Bridges: []string{"nonsense"},
		Binary: script(t, "echo 'Tor version 0.4.9.11.'"),
	})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("tor was started: %v", err)
	}
}
