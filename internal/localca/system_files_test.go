//go:build linux || freebsd

package localca

import (
	"os"
	"testing"

	"github.com/smallstep/truststore"
)

// TestSweep: the tool that leaves dead links is told to begin afresh once the
// certificate is out, and no other tool is told anything.
func TestSweep(t *testing.T) {
	file, command := truststore.SystemTrustFilename, truststore.SystemTrustCommand
	t.Cleanup(func() { truststore.SystemTrustFilename, truststore.SystemTrustCommand = file, command })
	ca := openIn(t, t.TempDir()+"/ca")
	for tool, want := range map[string]string{"update-ca-certificates": "\n--fresh\n", "trust": "\n"} {
		dir, bin := t.TempDir(), t.TempDir()
		script := "#!/bin/sh\necho \"$1\" >>" + dir + "/calls\n"
		for name, text := range map[string]string{tool: script, "rm": "#!/bin/sh\nexec /bin/rm \"$@\"\n"} {
			if err := os.WriteFile(bin+"/"+name, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("PATH", bin) // no sudo
		truststore.SystemTrustFilename, truststore.SystemTrustCommand = dir+"/%s.crt", []string{tool}
		if err := System().Remove(ca.Certificate()); err != nil {
			t.Fatal(err)
		}
		if calls, _ := os.ReadFile(dir + "/calls"); string(calls) != want {
			t.Errorf("%s was called with %q, want %q", tool, calls, want)
		}
	}
}

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
