package certificates_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/certificates"
	"xmpp-gw/server/invite"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/registration"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

func newServer(t *testing.T) *servertest.Server {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	contacts := roster.New(roster.Limits{})
	invites := invite.New(db, invite.Options{}).Module(contacts, adhoc.New(), false)
	return servertest.NewWith(t, func(c *server.Config) { c.Store = db },
		contacts, certificates.New(db), registration.New(invites, registration.Options{}), ping.New())
}

// credential is a client certificate, good from an hour ago.
func credential(t *testing.T, good time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(good)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func appendTo(name string, cert tls.Certificate, more string) string {
	return fmt.Sprintf("<append xmlns='%s'><name>%s</name>%s<x509cert>\n %s\n </x509cert></append>",
		certificates.NS, name, more, base64.StdEncoding.EncodeToString(cert.Certificate[0]))
}

func named(what, name string) string {
	return "<" + what + " xmlns='" + certificates.NS + "'><name>" + name + "</name></" + what + ">"
}

const items = "<items xmlns='" + certificates.NS + "'/>"

// login logs romeo in with a certificate.
func login(t *testing.T, s *servertest.Server, cert tls.Certificate, resource string) *servertest.Client {
	t.Helper()
	conf := servertest.TLS("example.org")
	conf.Certificates = []tls.Certificate{cert}
	c := servertest.ConnectTLS(t, s, "example.org", conf)
	c.Send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
	c.Expect("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	c.Open()
	c.Bind(resource)
	return c
}

func offered(t *testing.T, s *servertest.Server, cert tls.Certificate) bool {
	t.Helper()
	conf := servertest.TLS("example.org")
	conf.Certificates = []tls.Certificate{cert}
	c := servertest.ConnectTLS(t, s, "example.org", conf)
	return strings.Contains(string(c.Features.Append(nil)), "EXTERNAL")
}

func TestLife(t *testing.T) {
	s := newServer(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	phone, laptop := credential(t, time.Hour), credential(t, time.Hour)
	if n := romeo.Request("get", "", items); len(n.Children) != 0 {
		t.Errorf("got %s", n.Append(nil))
	}
	romeo.Request("set", "", appendTo("Phone &amp; co", phone, ""))
	romeo.Request("set", "example.org", appendTo("Laptop", laptop, ""))
	login(t, s, phone, "phone")
	n := romeo.Request("get", "", items)
	if len(n.Children) != 2 {
		t.Fatalf("got %s", n.Append(nil))
	}
	for _, item := range n.Children {
		users := item.Child(certificates.NS, "users")
		cert := phone
		if name := item.ChildText(certificates.NS, "name"); name == "Laptop" {
			cert = laptop
			if users != nil {
				t.Errorf("somebody used the laptop's: %s", n.Append(nil))
			}
		} else if name != "Phone & co" || users.ChildText(certificates.NS, "resource") != "phone" {
			t.Errorf("got %s", n.Append(nil))
		}
		if item.ChildText(certificates.NS, "x509cert") != base64.StdEncoding.EncodeToString(cert.Certificate[0]) {
			t.Errorf("another certificate: %s", n.Append(nil))
		}
	}
	// Disabled: who is logged in stays, and nobody else logs in with it.
	onPhone := login(t, s, phone, "phone2")
	romeo.Request("set", "", named("disable", "Phone &amp; co"))
	if offered(t, s, phone) {
		t.Error("the certificate is still good after it was disabled")
	}
	onPhone.ExpectNothing()
	// Revoked: who is logged in does not stay. Also the one that asks for it.
	first, second := login(t, s, laptop, "a"), login(t, s, laptop, "b")
	first.Send("<iq type='set' id='r'>" + named("revoke", "Laptop") + "</iq>")
	first.Expect("<iq type='result' id='r'/>")
	first.ExpectStreamError("not-authorized")
	second.ExpectStreamError("not-authorized")
	romeo.ExpectNothing()
	if offered(t, s, laptop) {
		t.Error("the certificate is still good after it was revoked")
	}
}

func TestBadInput(t *testing.T) {
	s := newServer(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	s.Account(t, "juliet@example.org")
	good, other := credential(t, time.Hour), credential(t, time.Hour)
	romeo.Request("set", "", appendTo("one", good, ""))
	raw := func(text string) string {
		return "<append xmlns='" + certificates.NS + "'><name>x</name><x509cert>" + text + "</x509cert></append>"
	}
	for _, c := range []struct{ what, typ, to, payload, want string }{
		{"no name", "set", "", appendTo("", other, ""), "bad-request"},
		{"a long name", "set", "", appendTo(strings.Repeat("x", 101), other, ""), "bad-request"},
		{"the name again", "set", "", appendTo("one", other, ""), "conflict"},
		{"the certificate again", "set", "", appendTo("two", good, ""), "conflict"},
		{"expired", "set", "", appendTo("two", credential(t, -time.Hour), ""), "not-acceptable"},
		{"no Base64", "set", "", raw("!"), "bad-request"},
		{"empty", "set", "", raw(""), "bad-request"},
		{"no certificate", "set", "", raw("AAAA"), "not-acceptable"},
		{"too large", "set", "", raw(base64.StdEncoding.EncodeToString(make([]byte, 9<<10))), "not-acceptable"},
		{"a get", "get", "", appendTo("two", other, ""), "bad-request"},
		{"items as a set", "set", "", items, "bad-request"},
		{"unknown", "set", "", named("disable", "two"), "item-not-found"},
		{"unknown to revoke", "set", "", named("revoke", "two"), "item-not-found"},
		{"no name to revoke", "set", "", named("revoke", ""), "bad-request"},
		{"somebody else's list", "get", "juliet@example.org", items, "forbidden"},
		{"into somebody else's list", "set", "juliet@example.org", appendTo("two", other, ""), "forbidden"},
		{"off somebody else's list", "set", "juliet@example.org", named("revoke", "one"), "forbidden"},
		{"at another domain", "get", "example.net", items, "forbidden"},
	} {
		if e := romeo.RequestError(c.typ, c.to, c.payload); e != c.want {
			t.Errorf("%s: got %s, want %s", c.what, e, c.want)
		}
	}
	if n := romeo.Request("get", "", items); len(n.Children) != 1 {
		t.Errorf("got %s", n.Append(nil))
	}
}

func TestTooMany(t *testing.T) {
	s := newServer(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	for i := range 32 {
		romeo.Request("set", "", appendTo(fmt.Sprint(i), credential(t, time.Hour), ""))
	}
	if e := romeo.RequestError("set", "", appendTo("more", credential(t, time.Hour), "")); e != "resource-constraint" {
		t.Errorf("got %s", e)
	}
}

// A machine's certificate changes neither the list, if it may not, nor the password,
// nor does it remove the account.
func TestMachine(t *testing.T) {
	s := newServer(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	bot, phone := credential(t, time.Hour), credential(t, time.Hour)
	romeo.Request("set", "", appendTo("bot", bot, "<no-cert-management/>"))
	romeo.Request("set", "", appendTo("phone", phone, ""))
	onBot, onPhone := login(t, s, bot, "bot"), login(t, s, phone, "phone")
	if n := onBot.Request("get", "", items); len(n.Children) != 2 {
		t.Errorf("got %s", n.Append(nil))
	}
	for _, payload := range []string{appendTo("more", credential(t, time.Hour), ""), named("disable", "phone"), named("revoke", "bot")} {
		if e := onBot.RequestError("set", "", payload); e != "forbidden" {
			t.Errorf("the bot: %s: %s", payload, e)
		}
	}
	onPhone.Request("set", "", named("disable", "bot"))
	if e := onBot.RequestError("set", "", appendTo("more", credential(t, time.Hour), "")); e != "forbidden" {
		t.Errorf("the bot, off the list: %s", e)
	}
	for _, payload := range []string{
		"<query xmlns='jabber:iq:register'><username>romeo</username><password>a rose by any other name</password></query>",
		"<query xmlns='jabber:iq:register'><remove/></query>",
	} {
		if e := onPhone.RequestError("set", "", payload); e != "not-authorized" {
			t.Errorf("%s: %s", payload, e)
		}
	}
}

// Who logs in with a certificate gets no token that outlives it.
func TestNoToken(t *testing.T) {
	s := newServer(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	phone := credential(t, time.Hour)
	romeo.Request("set", "", appendTo("phone", phone, ""))
	conf := servertest.TLS("example.org")
	conf.Certificates = []tls.Certificate{phone}
	c := servertest.ConnectTLS(t, s, "example.org", conf)
	c.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response>=</initial-response>" +
		"<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/></authenticate>")
	if n := c.Expect("<success xmlns='urn:xmpp:sasl:2'/>"); n.Child("urn:xmpp:fast:0", "token") != nil {
		t.Errorf("got %s", n.Append(nil))
	}
}
