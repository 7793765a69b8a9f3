//go:build linux || freebsd

package localca

import (
	"os"
	"testing"
)

// TestSameKey: only files with a certificate of our key are ours.
func TestSameKey(t *testing.T) {
	dir, store := t.TempDir()+"/ca", t.TempDir()
	ca := openIn(t, dir)
	put := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(store+"/"+name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(ca *CA) []byte {
		t.Helper()
		text, err := os.ReadFile(ca.File())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	put("xmpp-gw_on_x_1.crt", read(ca))
	put("xmpp-gw_on_x_3.crt", read(openIn(t, t.TempDir()+"/ca")))
	put("xmpp-gw_on_x_4.crt", []byte("nonsense"))
	put("other.crt", read(ca))
	bound := openIn(t, dir, "example.org")
	put("xmpp-gw_on_x_2.crt", read(bound))
	list, err := sameKeyIn(store+"/xmpp-gw_on_*", bound.Certificate())
	if err != nil || len(list) != 2 || !list[0].Equal(ca.Certificate()) || !list[1].Equal(bound.Certificate()) {
		t.Errorf("%d certificates, %v", len(list), err)
	}
}
