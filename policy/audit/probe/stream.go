package probe

import (
	"errors"
	"strconv"
	"strings"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/websocket"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy/audit"
)

// The namespaces of features that are looked at here alone.
const (
	nsLimits   = "urn:xmpp:stream-limits:0"        // XEP-0478 §3
	nsCaps     = "http://jabber.org/protocol/caps" // XEP-0115 §6.3
	nsDialback = "urn:xmpp:features:dialback"      // XEP-0220 §2.3
	nsFAST     = "urn:xmpp:fast:0"                 // XEP-0484 §3.1
	nsInvite   = "urn:xmpp:ibr-token:0"            // XEP-0445 §4
)

// readStream reads the far end's header and features.
func (l *line) readStream(s *audit.Stream) {
	h, err := l.r.ReadHeader()
	if err != nil {
		broken(s, err)
		return
	}
	s.From, s.ID, s.Version, s.Lang = clip(h.From), clip(h.ID), clip(h.Version), clip(h.Lang)
	for _, d := range h.Decls {
		if d.URI == "jabber:server:dialback" { // XEP-0220 §2.2.1
			s.Dialback = true
		}
	}
	if !strings.HasPrefix(h.Version, "1.") {
		s.Err = "its stream is of a version before 1.0, which has no features"
		return
	}
	l.readFirst(s)
}

// readFirst reads what comes behind a header: features, or an error.
func (l *line) readFirst(s *audit.Stream) {
	e, err := l.next()
	if err != nil {
		broken(s, err)
		return
	}
	n, err := e.Node()
	switch {
	case err != nil:
		broken(s, err)
	case n.Is(xmppstream.NSStream, "error"):
		readError(s, n)
	case n.Is(xmppstream.NSStream, "features"):
		l.features = n
		readFeatures(s, n)
	default:
		s.Err = "it sent <" + clip(n.Name) + "/> in place of features"
	}
}

// broken notes why a stream did not come about.
func broken(s *audit.Stream, err error) {
	var moved *websocket.Moved
	if errors.As(err, &moved) {
		s.Elsewhere = clip(moved.URI)
	}
	s.Err = clip(reason(err))
}

// readError reads a stream error (RFC 6120 §4.9).
func readError(s *audit.Stream, n *xmppstream.Node) {
	s.Error = "undefined-condition"
	for _, c := range n.Children {
		if c.Space != xmppstream.NSStreamErr || c.Name == "text" {
			continue
		}
		s.Error = clip(c.Name)
		if c.Name == "see-other-host" { // RFC 6120 §4.9.3.19
			s.Elsewhere = clip(strings.TrimSpace(c.Text))
		}
	}
}

// readFeatures reads <stream:features/>.
func readFeatures(s *audit.Stream, n *xmppstream.Node) {
	var before xmppstream.Node // what may be offered before a login
	before.Space, before.Name = n.Space, n.Name
	for _, f := range n.Children {
		s.Features = append(s.Features, f.Space+" "+f.Name)
		switch {
		case f.Space == xmppstream.NSBind, f.Space == xmppstream.NSSession, f.Space == xmppstream.NSBind2:
			continue // the list above tells of it
		case f.Is(nsLimits, "limits"):
			s.Limits = &audit.AdvertisedLimits{MaxBytes: number(f.ChildText(nsLimits, "max-bytes")), IdleSeconds: number(f.ChildText(nsLimits, "idle-seconds"))}
		case f.Is(nsCaps, "c"):
			s.CapsNode, s.CapsVer = clip(f.Attr("node")), clip(f.Attr("ver"))
		case f.Is(nsDialback, "dialback"):
			s.Dialback = true
		case f.Is(xmppstream.NSSASL2, "authentication"):
			s.FAST = f.Child(xmppstream.NSSASL2, "inline").Child(nsFAST, "fast") != nil
		}
		before.Children = append(before.Children, f)
	}
	s.Features = clipAll(s.Features)
	offer, err := saslauth.ParseOffer(&before)
	if err != nil {
		s.Err = clip(err.Error())
	}
	s.Mechanisms, s.SASL2, s.Bindings = clipAll(offer.Mechanisms), clipAll(offer.SASL2), clipAll(offer.BindingTypes)
	s.Register = offer.Register
	switch {
	case offer.StartTLSRequired:
		s.StartTLS = "required"
	case offer.StartTLS:
		s.StartTLS = "offered"
	}
}

// number reads a number that is not negative, 0 if it is none.
func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
