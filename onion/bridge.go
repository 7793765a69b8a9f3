package onion

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Bridge is a relay that is in no public list, for networks that block Tor:
// plain, or behind a pluggable transport that looks like something else. It
// prints as its transport alone: who uses which bridge is nobody's business.
type Bridge struct {
	transport string // "obfs4", "meek_lite", "snowflake", "webtunnel"; empty: none
	line      string // as torrc's Bridge takes it
}

// ParseBridge reads a line as https://bridges.torproject.org, Tor Browser or a
// bridge's operator gives it, with or without the word "Bridge" in front:
//
//	obfs4 192.0.2.1:443 FINGERPRINT cert=… iat-mode=0
//	snowflake 192.0.2.3:80 FINGERPRINT fingerprint=… url=https://… fronts=… ice=stun:…
//	webtunnel [2001:db8::1]:443 FINGERPRINT url=https://… ver=0.0.1
//	192.0.2.1:9001 FINGERPRINT
func ParseBridge(line string) (Bridge, error) {
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return Bridge{}, errors.New("a bridge is one line without control characters")
	}
	words := strings.Fields(line)
	if len(words) > 0 && strings.EqualFold(words[0], "bridge") {
		words = words[1:]
	}
	if len(words) == 0 {
		return Bridge{}, errors.New("a bridge line needs at least an address: [TRANSPORT] IP:PORT [FINGERPRINT] [KEY=VALUE…]")
	}
	b := Bridge{line: strings.Join(words, " ")}
	if _, err := netip.ParseAddrPort(words[0]); err != nil {
		if !wordOf(words[0], "abcdefghijklmnopqrstuvwxyz0123456789_") {
			return Bridge{}, fmt.Errorf("%q is neither IP:PORT nor a transport: a bridge line begins with one of them, and an address is a number, no name", printable(words[0]))
		}
		b.transport = words[0]
		if helperFor(b.transport) == nil {
			return Bridge{}, fmt.Errorf("the transport %q is not known: obfs4, meek_lite, snowflake, webtunnel, or none", printable(b.transport))
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return Bridge{}, fmt.Errorf("after %q comes the bridge's address, IP:PORT", b.transport)
	}
	if at, err := netip.ParseAddrPort(words[0]); err != nil || at.Port() == 0 {
		return Bridge{}, fmt.Errorf("%q is no bridge address: write IP:PORT, such as 192.0.2.1:443 or [2001:db8::1]:443", printable(words[0]))
	}
	words = words[1:]
	if len(words) > 0 && !strings.Contains(words[0], "=") {
		if id, err := hex.DecodeString(words[0]); err != nil || len(id) != 20 {
			return Bridge{}, fmt.Errorf("%q is no fingerprint of a bridge: that has 40 of the digits 0 to 9 and A to F", printable(words[0]))
		}
		words = words[1:]
	}
	args := make(map[string]string)
	for _, w := range words {
		key, val, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return Bridge{}, fmt.Errorf("%q is out of place: after address and fingerprint come KEY=VALUE words alone", printable(w))
		}
		args[key] = val
	}
	return b, checkTransport(b.transport, args)
}

// checkTransport refuses a line that its transport could do nothing with: Tor
// passes the arguments on unread, and the helper's complaint would be a line in
// a log.
func checkTransport(transport string, args map[string]string) error {
	switch transport {
	case "":
		if len(args) > 0 {
			return errors.New("a bridge without a transport takes no KEY=VALUE words: is the word \"obfs4\" (or another transport) missing in front?")
		}
	case "obfs4":
		// obfs4-spec: node id and public key, 52 bytes in base64 without padding.
		if b, err := base64.RawStdEncoding.DecodeString(args["cert"]); err != nil || len(b) != 52 {
			return fmt.Errorf("an obfs4 bridge needs cert= with 70 characters, not %d: copy the whole line", len(args["cert"]))
		}
		if m, ok := args["iat-mode"]; ok && m != "0" && m != "1" && m != "2" {
			return fmt.Errorf("the iat-mode of an obfs4 bridge is 0, 1 or 2, not %q", printable(m))
		}
	case "meek_lite", "snowflake", "webtunnel":
		u, err := url.Parse(args["url"])
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("a %s bridge needs url=https://…: copy the whole line", transport)
		}
	}
	return nil
}

// Transport is the name of the bridge's pluggable transport, empty for none.
func (b Bridge) Transport() string { return b.transport }

// String says what kind of bridge it is.
func (b Bridge) String() string {
	if b.transport == "" {
		return "a bridge"
	}
	return "a bridge of the kind " + b.transport
}

// GoString is String.
func (b Bridge) GoString() string { return b.String() }

func wordOf(s, letters string) bool {
	return s != "" && strings.Trim(s, letters) == ""
}
