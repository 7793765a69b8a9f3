package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// A token that came with one login is the next one's whole login (XEP-0484).
func TestFAST(t *testing.T) {
	s := servertest.NewWith(t, func(c *server.Config) { c.AllowPlain = true })
	owner := s.Account(t, "romeo@example.org")
	c := servertest.Connect(t, s, "example.org")
	c.Send(authenticate("<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"))
	token := c.Expect("<success xmlns='urn:xmpp:sasl:2'><token xmlns='urn:xmpp:fast:0' token='*' expiry='*'/></success>").
		Child("urn:xmpp:fast:0", "token").Attr("token")
	login := func(token string) *servertest.Client {
		m := hmac.New(sha256.New, []byte(token))
		m.Write([]byte("Initiator"))
		c := servertest.Connect(t, s, "example.org")
		c.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>" +
			base64.StdEncoding.EncodeToString(m.Sum([]byte("romeo\x00"))) + "</initial-response>" +
			"<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><fast xmlns='urn:xmpp:fast:0'/><bind xmlns='urn:xmpp:bind:0'/></authenticate>")
		return c
	}
	login(token).Expect("<success xmlns='urn:xmpp:sasl:2'><bound xmlns='urn:xmpp:bind:0'/></success>")
	login("guessed").Expect("<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>")
	// A new password makes an end of old tokens.
	if err := s.SetPassword(t.Context(), owner, "another"); err != nil {
		t.Fatal(err)
	}
	login(token).Expect("<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>")
}

// A certificate that the account has named logs it in (XEP-0257), and nobody else.
func TestClientCertificate(t *testing.T) {
	s := servertest.New(t)
	owner := s.Account(t, "romeo@example.org")
	conf := servertest.TLS("example.org")
	der, key := clientCertificate(t)
	conf.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	if c := servertest.ConnectTLS(t, s, "example.org", conf); strings.Contains(string(c.Features.Append(nil)), "EXTERNAL") {
		t.Error("EXTERNAL is offered to a certificate that nobody knows")
	}
	err := s.Store().PutCertificate(t.Context(), owner, store.Certificate{Name: "phone", Fingerprint: sha256.Sum256(der), DER: der, Added: time.Now()}, 10)
	if err != nil {
		t.Fatal(err)
	}
	c := servertest.ConnectTLS(t, s, "example.org", conf)
	c.Send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
	c.Expect("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	c.Open()
	c.Bind("phone")
	if c.JID.Bare() != owner {
		t.Errorf("logged in as %s", c.JID)
	}
	other := servertest.ConnectTLS(t, s, "example.org", conf)
	other.Send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>" + base64.StdEncoding.EncodeToString([]byte("juliet@example.org")) + "</auth>")
	other.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
}

func clientCertificate(t *testing.T) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// The account of a wrong password and a name without an account look the same, and
// a stream's from decides nothing.
func TestFromDecidesNothing(t *testing.T) {
	s := servertest.New(t)
	s.Account(t, "romeo@example.org")
	s.Account(t, "juliet@example.org")
	c := servertest.Connect(t, s, "example.org")
	c.Login("romeo")
	c.Bind("x")
	if c.JID.Local != "romeo" {
		t.Errorf("logged in as %s", c.JID)
	}
	c = servertest.Raw(t, s.STARTTLS)
	c.Domain = "example.org"
	c.Send(strings.Replace(header, " to=", " from='juliet@example.org' to=", 1))
	if h := c.Header(); h.To != "" {
		t.Errorf("the header repeats %q before anybody is proven to be that", h.To)
	}
}
