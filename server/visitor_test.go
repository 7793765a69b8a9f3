package server_test

import (
	"context"
	"testing"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

// What modules offer before the login (as XEP-0077 does), and only inside TLS.
func TestVisitors(t *testing.T) {
	type seen struct{}
	s := servertest.New(t, module(func(r *server.Registry) {
		r.VisitorFeature(func(_ context.Context, v *server.Visitor) []byte {
			return []byte("<register xmlns='" + xmppstream.NSRegFeat + "'/>")
		})
		r.VisitorIQ(xmppstream.NSRegister, "query", func(_ context.Context, v *server.Visitor, q *server.IQ) ([]byte, error) {
			if v.Value[seen{}] != nil || v.Domain != "example.org" || !v.Secure {
				return nil, server.ErrNotAllowed
			}
			v.Value[seen{}] = true
			return []byte("<query xmlns='" + xmppstream.NSRegister + "'/>"), nil
		})
	}))
	plain := servertest.Plain(t, s, "example.org")
	if plain.Features.Child(xmppstream.NSRegFeat, "register") != nil {
		t.Error("registration is offered without TLS")
	}
	plain.Send("<iq type='get' id='1'><query xmlns='" + xmppstream.NSRegister + "'/></iq>")
	plain.ExpectStreamError(xmppstream.PolicyViolation)

	c := servertest.Connect(t, s, "example.org")
	if c.Features.Child(xmppstream.NSRegFeat, "register") == nil {
		t.Error("registration is not offered")
	}
	c.Send("<iq type='get' id='1' to='example.org'><query xmlns='" + xmppstream.NSRegister + "'/></iq>")
	c.Expect("<iq type='result' id='1' from='example.org'><query xmlns='" + xmppstream.NSRegister + "'/></iq>")
	c.Send("<iq type='set' id='2'><query xmlns='" + xmppstream.NSRegister + "'/></iq>")
	c.Expect("<iq type='error' id='2'><error><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	c.Send("<iq type='get' id='3' to='example.net'><query xmlns='" + xmppstream.NSRegister + "'/></iq>")
	c.ExpectStreamError(xmppstream.NotAuthorized)
}
