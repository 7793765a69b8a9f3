//go:build e2e

package tests_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xmpp-gw/internal/control"
	"xmpp-gw/server/servertest"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

// Accounts move from the node to Prosody and from Prosody to the node, with what
// they own, and log in with the passwords that they had (XEP-0227).
func TestPortable(t *testing.T) {
	t.Parallel()
	const domain = "portable.test"
	dir, kept := t.TempDir(), t.TempDir()
	authority, err := lab.NewCA()
	check(t, err)
	o := peers.Options{
		Domain: domain, Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Portable: kept, MAM: true,
		Accounts: []peers.Account{{Username: "juliet", Password: servertest.Password}},
	}
	leaf, err := authority.Leaf(lab.CALeaf{Names: []string{domain}})
	check(t, err)
	check(t, lab.WriteCertificate(leaf, o.Cert, o.Key))
	check(t, authority.Write(dir))
	gw := daemon.Run(t, daemon.Options{Config: "[tor]\nmode = \"off\"\n[default]\nroute = \"block\"\n[node]\ndomain = \"" + domain + "\"\n"})
	desk := control.NewClient(filepath.Join(gw.Dir, "control.sock"))
	defer desk.Close()
	_, err = desk.AddAccount(t.Context(), control.NewAccount{JID: "romeo", Password: servertest.Password})
	check(t, err)

	login := func(addr, ca, local string) *servertest.Client {
		t.Helper()
		pem, err := os.ReadFile(ca)
		check(t, err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		c := servertest.Raw(t, addr)
		c.Domain = domain
		c.Open()
		c.StartTLS(&tls.Config{RootCAs: roots, ServerName: domain})
		c.Login(local)
		c.Bind("r")
		return c
	}
	things := map[string]string{
		"<query xmlns='jabber:iq:roster'><item jid='nurse@portable.test' name='N &amp; &lt;'><group>Capulets</group></item></query>": "<query xmlns='jabber:iq:roster'/>",
		"<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference jid='a@b'/></storage></query>":              "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>",
		"<vCard xmlns='vcard-temp'><FN>Somebody</FN></vCard>":                                                                        "<vCard xmlns='vcard-temp'/>",
	}
	fill := func(c *servertest.Client) {
		t.Helper()
		for thing := range things {
			c.Send("<iq type='set' id='set'>" + thing + "</iq>")
			c.ExpectAll("<iq type='result' id='set'/>")
			c.Drain()
		}
	}
	look := func(c *servertest.Client) {
		t.Helper()
		for thing, question := range things {
			c.Drain()
			c.Send("<iq type='get' id='get'>" + question + "</iq>")
			c.Expect("<iq type='result' id='get'>" + thing + "</iq>")
		}
	}

	fill(login(gw.C2S, gw.CA, "romeo"))
	_, err = gw.Command(t.Context(), "account export", "romeo", "--out", filepath.Join(kept, "romeo@"+domain+".xml"))
	check(t, err)
	prosody := peers.Start(t, peers.Prosody, o)
	ca := filepath.Join(dir, "ca.pem")
	look(login(prosody.Addr(peers.StartTLS), ca, "romeo"))

	juliet := login(prosody.Addr(peers.StartTLS), ca, "juliet")
	fill(juliet)
	juliet.Close()
	out, err := gw.Command(t.Context(), "account import", filepath.Join(kept, "juliet@"+domain+".xml"))
	check(t, err)
	if !strings.Contains(out, "juliet@portable.test: 1 contacts") {
		t.Errorf("the import says\n%s", out)
	}
	look(login(gw.C2S, gw.CA, "juliet"))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
