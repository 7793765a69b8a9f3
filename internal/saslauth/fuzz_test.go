package saslauth

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/internal/xmppstream"
)

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"\x00alice\x00secret", "a@example.org\x00a@example.org\x00p", "", "\x00\x00", "\x00\xff\x00x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		c, err := parsePlain(bytes.Clone(msg), []string{"example.org"})
		var refused *Failure
		switch {
		case err == nil && (c.Username == "" || len(c.Password) == 0 || bytes.IndexByte(c.Password, 0) >= 0 || strings.ContainsAny(c.Username, "@/\x00'<")):
			t.Errorf("accepted %q %q", c.Username, c.Password)
		case err != nil && (!errors.As(err, &refused) || !refused.Condition.defined()):
			t.Errorf("error %v", err)
		}
		if err == nil { // what goes upstream by PLAIN is read back as the same
			m, err := newPlain(c)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := m.start()
			again, err := parsePlain(b, nil)
			if err != nil || again.Username != c.Username || !bytes.Equal(again.Password, c.Password) {
				t.Errorf("%q became %q: %v", msg, b, err)
			}
		}
	})
}

func FuzzServerFirst(f *testing.F) {
	for _, s := range []string{"r=abc,s=QSXC,i=4096", "r=abc,s=QSXC,i=4096,h=eA==", "m=x,r=a,s=b,i=1", ",,,", "r=,s=,i="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, msg string) {
		sf, err := parseServerFirst(msg)
		if err != nil {
			return
		}
		if sf.iterations < 1 || sf.salt == "" || !strings.HasPrefix(msg, fmt.Sprintf("r=%s,s=%s,i=%d", sf.nonce, sf.salt, sf.iterations)) {
			t.Errorf("%q read as %+v", msg, sf)
		}
	})
}

func FuzzOffer(f *testing.F) {
	for _, s := range []string{
		"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms>",
		"<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-1-PLUS</mechanism></authentication><sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>",
		"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
	} {
		f.Add(s)
	}
	state, _ := handshake(f, tls.VersionTLS13)
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := element("<stream:features>" + raw + "</stream:features>")
		if err != nil || e.Kind != xmppstream.Stanza {
			return
		}
		n, err := e.Node()
		if err != nil {
			t.Fatalf("an element without a tree: %v", err)
		}
		o, err := ParseOffer(n)
		if err != nil {
			return
		}
		attempts, err := choose(o, false, usual, state)
		if (err == nil) != (len(attempts) > 0) || len(attempts) > 2 {
			t.Fatalf("%d attempts, error %v", len(attempts), err)
		}
		for _, a := range attempts {
			if !speaksSCRAM(a.mechanism) || a.flag == 'y' && (offersPlus(a.offered) || o.BindingTypes != nil) {
				t.Errorf("%+v for %+v", a, o)
			}
		}
	})
}
