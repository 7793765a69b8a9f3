package policy

import (
	"encoding"
	"fmt"
	"strings"
	"testing"
)

// Every spelling is read as the value that writes it, the zero value has none,
// and an error lists what there is.
func TestSpellings(t *testing.T) {
	check(t, new(TLSMode), "verify", "dane", "dane-only", "pin", "onion")
	check(t, new(PQ), "off", "prefer", "require")
	check(t, new(SASLMode), "originate", "relay", "passthrough")
	check(t, new(AuthMin), "plain", "scram", "scram-plus", "external")
	check(t, new(Binding), "prefer", "require")
	check(t, new(PinMode), "off", "tofu-warn", "tofu-strict")
	check(t, new(SCT), "off", "warn", "require")
	check(t, new(DNSSEC), "off", "dnssec-prefer", "dnssec-require")
	check(t, new(Witness), "off", "on-change", "always")
	check(t, new(Mode), "enforce", "report")
	check(t, new(Redirect), "deny", "same-domain")
	check(t, new(Registration), "deny", "allow")
	check(t, new(Upgrade), "off", "sticky")
	check(t, new(TLSVersion), "1.2", "1.3")
	check(t, new(Route), "tor", "onion-only", "socks:i2p", "direct", "block")
	check(t, new(Endpoint), "starttls://example.org:5222", "tls://[2001:db8::1]:443")
}

type setting[T any] interface {
	*T
	fmt.Stringer
	encoding.TextUnmarshaler
}

func check[T comparable, P setting[T]](t *testing.T, zero P, spellings ...string) {
	t.Helper()
	if s := zero.String(); !strings.Contains(s, "unset") {
		t.Errorf("the zero %T is called %q", *zero, s)
	}
	seen := map[T]string{*zero: "the zero value"}
	for _, s := range spellings {
		var v T
		if err := P(&v).UnmarshalText([]byte(s)); err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		if P(&v).String() != s {
			t.Errorf("%T: %q is written as %q", v, s, P(&v).String())
		}
		if seen[v] != "" {
			t.Errorf("%T: %q is the same as %s", v, s, seen[v])
		}
		seen[v] = s
	}
	for _, s := range []string{"", "unset", "Verify", " tor", "socks:", "1.1", "starttls://"} {
		v := *zero
		err := P(&v).UnmarshalText([]byte(s))
		if err == nil || v != *zero {
			t.Errorf("%T: %q was taken as %v", v, s, v)
		} else if first, _, _ := strings.Cut(spellings[len(spellings)-1], ":"); !strings.Contains(err.Error(), first) {
			t.Errorf("%T: %q: the error does not say what there is: %v", v, s, err)
		}
	}
}

func TestFloorsRise(t *testing.T) {
	if !(AuthUnset < AuthPlain && AuthPlain < AuthSCRAM && AuthSCRAM < AuthSCRAMPlus && AuthSCRAMPlus < AuthExternal) {
		t.Error("the authentication floors are not in rising order")
	}
}
