package saslserver

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

// refusal checks that a parser's error is one that a client can be told.
func refusal(t *testing.T, err error) {
	t.Helper()
	var f *saslauth.Failure
	if !errors.As(err, &f) || f.Condition == "" {
		t.Errorf("error %v", err)
	}
}

func FuzzClientFirst(f *testing.F) {
	for _, s := range []string{"n,,n=user,r=abc", "y,,n=a=2Cb=3Dc,r=!~,x=y", "p=tls-exporter,a=user@example.org,n=user,r=abc", "n,,m=x,n=u,r=r", ",,,", "n,,n==2C=3D,r=,"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := parseClientFirst(bytes.Clone(msg))
		if err != nil {
			refusal(t, err)
			return
		}
		// Written anew from what was read, it is the same but for extensions.
		escape := strings.NewReplacer("=", "=3D", ",", "=2C")
		s := string(m.flag)
		if m.flag == 'p' {
			s += "=" + m.binding
		}
		s += ","
		if m.authzid != "" {
			s += "a=" + escape.Replace(m.authzid)
		}
		if s += ","; s != string(m.gs2) {
			t.Errorf("gs2-header %q of %q is not %q", m.gs2, msg, s)
		}
		s += "n=" + escape.Replace(m.user) + ",r=" + string(m.nonce)
		if rest, ok := strings.CutPrefix(string(msg), s); !ok || rest != "" && rest[0] != ',' || strings.Contains(rest, ",m=") {
			t.Errorf("%q read as %q", msg, s)
		}
	})
}

func FuzzClientFinal(f *testing.F) {
	for _, s := range []string{"c=biws,r=abc,p=AAAA", "c=biws,r=abc,x=y,p=AAAA", "c=biws,r=abc,m=y,p=AAAA", ",,p=", "c=,r=,p="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := parseClientFinal(bytes.Clone(msg))
		if err != nil {
			refusal(t, err)
			return
		}
		start := "c=" + b64(string(m.binding)) + ",r=" + string(m.nonce)
		end := ",p=" + b64(string(m.proof))
		if string(m.withoutProof)+end != string(msg) || !strings.HasPrefix(string(m.withoutProof), start) || strings.Contains(string(m.withoutProof), ",m=") {
			t.Errorf("%q read as %q", msg, m)
		}
	})
}

// Whatever a client sends in two elements, nobody gets in without a password, a
// token or a certificate, and whatever is answered is one element.
func FuzzHandle(f *testing.F) {
	f.Add(auth(saslauth.SASL1, "SCRAM-SHA-1", "n,,n=juliet,r=abc", ""), response(saslauth.SASL1, "c=biws,r=abc,p=AAAA"))
	f.Add(auth(saslauth.SASL2, "SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=juliet,r=abc", agent), "<abort xmlns='urn:xmpp:sasl:2'/>")
	f.Add(auth(saslauth.SASL2, none, "juliet\x00"+strings.Repeat("x", 32), agent+"<fast xmlns='urn:xmpp:fast:0' count='1' invalidate='1'/>"), "<x/>")
	f.Add(auth(saslauth.SASL2, external, "juliet@example.org", ""), "<iq/>")
	f.Add(auth(saslauth.SASL1, plain, "\x00juliet\x00x", ""), "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>=</auth>")
	m := newMemory(f, "juliet")
	for h, k := range m.keys[juliet] {
		k.Iterations = 1 // PLAIN would be slow
		m.keys[juliet][h] = k
	}
	link := connect(f, tls.VersionTLS13).link()
	link.Peer = ""
	srv, at := newServer(f, m, func(c *Config) { c.AllowPlain = true; c.Iterations = 1 })
	f.Fuzz(func(t *testing.T, first, second string) {
		at.slept = nil
		c := srv.Conn(link)
		for _, raw := range []string{first, second} {
			n, err := xmppstream.Parse([]byte(raw), xmppstream.PreAuthLimits())
			if err != nil {
				return
			}
			a, err := c.Handle(t.Context(), n)
			var e *xmppstream.Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if a.Login != nil {
				t.Fatalf("%q logged in as %v", raw, a.Login.Account)
			}
			got, err := xmppstream.Parse(a.Element, xmppstream.PreAuthLimits())
			if err != nil || (got.Name == "failure") != (a.Failure != nil) || a.Failure == nil && got.Name != "challenge" {
				t.Errorf("%q is answered with %q: %v", raw, a.Element, err)
			}
		}
	})
}
