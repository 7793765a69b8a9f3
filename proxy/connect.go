package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"xmpp-gw/internal/dane"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/internal/websocket"
	"xmpp-gw/internal/wire"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// upstream is the leg to the server. From connect it comes with TLS verified
// (or an onion address that proves itself), the server's features read and
// nothing said about the account.
type upstream struct {
	leg
	endpoint policy.Endpoint
	tls      *tlsauth.Result           // nil on an onion endpoint without TLS
	tlsa     func() (*dane.Set, error) // see askTLSA
	look     tlsauth.Look              // see secondLook
	features *xmppstream.Node
	offer    saslauth.Offer
	openings []Opening // what the server said so far; see Sight
}

// close ends the connection. The reader's buffers go back with release, once
// nobody reads any more.
func (u *upstream) close() { _ = u.conn.Close() }

func (u *upstream) release() {
	if u.r != nil {
		u.r.Release()
	}
}

// grant gives the server negotiateTime for what it has to do next.
func (u *upstream) grant() { _ = u.wire.SetDeadline(time.Now().Add(negotiateTime)) }

const (
	maxRedirects = 2
	maxEndpoints = 16
	// negotiateTime bounds each part of the server's in the negotiation, once the
	// connection stands: up to the end of our login, and each answer that a client
	// waits for in the middle of its own. Circuits to onion services need several
	// round trips of a second and more.
	negotiateTime = 60 * time.Second
)

// connect opens the upstream leg for d up to the features inside verified TLS,
// on circuits that only isolation's owner uses.
func (s *session) connect(ctx context.Context, d policy.Decision, isolation egress.Isolation) (*upstream, error) {
	any := func(policy.Endpoint) bool { return true }
	up, err := s.dial(ctx, d, isolation, any, func(ctx context.Context, up *upstream) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // the second look has an end with the first
		up.look = s.secondLook(ctx, d, up, isolation)
		return s.negotiateUpstream(ctx, up, d)
	})
	if err == nil {
		s.tell(up)
	}
	return up, err
}

// dial tries the endpoints that fit, in order, until begin has brought one of
// them to where it is wanted.
func (s *session) dial(ctx context.Context, d policy.Decision, isolation egress.Isolation,
	fits func(policy.Endpoint) bool, begin func(context.Context, *upstream) error) (*upstream, error) {
	s.objections = nil // an earlier attempt's
	lookups, done := context.WithCancel(ctx)
	defer done()
	w, err := s.way(lookups, d, isolation)
	if err != nil {
		return nil, err
	}
	endpoints, err := s.endpoints(ctx, d, w)
	if err != nil {
		return nil, err
	}
	up, err := s.tryAll(ctx, d, endpoints, w, fits, begin)
	if err == nil || ctx.Err() != nil {
		return up, err
	}
	if more := s.otherOnions(ctx, d, w); len(more) > 0 {
		if up, again := s.tryAll(ctx, d, more, w, fits, begin); again == nil {
			return up, nil
		}
	}
	if len(d.Known.Endpoints) > 0 || d.Known.Since != "" {
		err = &onionFailed{err, d.Target.Domain, d.Known}
	}
	return nil, err
}

// tryAll tries these endpoints in order.
func (s *session) tryAll(ctx context.Context, d policy.Decision, endpoints []policy.Endpoint, w *way,
	fits func(policy.Endpoint) bool, begin func(context.Context, *upstream) error) (*upstream, error) {
	first := error(&Refused{class: "no-endpoint", Text: "The server has no endpoint of the kind that the client uses (STARTTLS or direct TLS)."})
	tried := false
	for redirects := 0; len(endpoints) > 0; {
		e := endpoints[0]
		endpoints = endpoints[1:]
		if !fits(e) {
			continue
		}
		up, err := s.try(ctx, d, e, w, endpoints, begin)
		if err == nil {
			s.gw.cfg.Observer.UpstreamConnected(d.Route.String())
			return up, nil
		}
		var moved *redirect
		if errors.As(err, &moved) {
			redirects++
			next, rerr := moved.endpoint(d, e)
			switch {
			case rerr != nil:
				err = rerr
			case redirects > maxRedirects:
				err = &Refused{class: "redirect", Text: "The server sent us from one host to another too often."}
			default:
				endpoints = []policy.Endpoint{next}
				continue
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// The first endpoint is the one the domain prefers, so its failure is the
		// one to report; a failed judgement says more than a failed connection.
		if !tried || (!isRefusal(first) && isRefusal(err)) {
			first, tried = err, true
		}
	}
	return nil, first
}

// try connects to one endpoint and lets begin negotiate there.
func (s *session) try(ctx context.Context, d policy.Decision, e policy.Endpoint, w *way, behind []policy.Endpoint,
	begin func(context.Context, *upstream) error) (*upstream, error) {
	if err := notOnion(d, e); err != nil {
		return nil, err
	}
	dialing, cancel := s.onward(ctx, e, behind)
	lookup, enough := context.WithCancel(ctx)
	defer enough()
	tlsa := w.askTLSA(lookup, d, e)
	conn, err := w.DialContext(dialing, "tcp", e.Address())
	cancel()
	if err != nil {
		return nil, tooSlow(ctx, d, err)
	}
	up := &upstream{endpoint: e, tlsa: tlsa}
	up.wire = wire.New(conn)
	up.conn = up.wire
	up.grant()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	before := len(s.objections)
	if err := begin(ctx, up); err != nil {
		s.objections = s.objections[:before] // this place is not the one
		up.close()
		up.release()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if moved, ok := errors.AsType[*websocket.Moved](err); ok {
			return nil, &redirect{to: moved.URI, uri: true, secure: up.tls != nil}
		}
		return nil, fromServer(err)
	}
	return up, nil
}

// fromServer marks an error of the leg to the server as such, unless it says so
// itself.
func fromServer(err error) error {
	if err == nil {
		return nil
	}
	var moved *redirect
	var server *serverError
	var dns *resolve.Error
	if isRefusal(err) || errors.As(err, &moved) || errors.As(err, &server) || errors.As(err, &dns) {
		return err
	}
	if web, ok := errors.AsType[*websocket.Moved](err); ok {
		return &redirect{to: web.URI, uri: true}
	}
	return &upstreamLost{err: err, negotiating: true}
}

func (s *session) negotiateUpstream(ctx context.Context, up *upstream, d policy.Decision) error {
	switch up.endpoint.Transport {
	case policy.DirectTLS, policy.WebSocket:
		return s.secureUpstream(ctx, up, d)
	case policy.PlainWebSocket:
		if !d.OnionProves(up.endpoint) {
			return &Refused{class: "no-tls", Text: "A WebSocket without TLS is for an onion address that proves the server; nothing was sent."}
		}
		if err := up.webSocket(ctx, up.conn, d, s.live.Limits.PreAuth); err != nil {
			return err
		}
		return up.greet(s.name, s.lang)
	}
	up.on(up.conn, s.live.Limits.PreAuth)
	if err := up.greet(s.name, s.lang); err != nil {
		return err
	}
	if !up.offer.StartTLS {
		if d.OnionProves(up.endpoint) {
			return nil // the circuit is encrypted to the address, which is the identity
		}
		return errNoSTARTTLS(d.Target.Domain)
	}
	if err := up.startTLS(); err != nil {
		return err
	}
	return s.secureUpstream(ctx, up, d)
}

func errNoSTARTTLS(domain string) error {
	return &Refused{class: "no-starttls", Text: "The server of " + domain +
		" offers no encryption (STARTTLS), or somebody on the way removed the offer; nothing was sent."}
}

// startTLS asks for TLS and reads the go-ahead (RFC 6120 §5.4.2). Whatever came
// in the clear behind <proceed/> could only have been put there by somebody in
// the middle, to be taken for the server's words inside TLS (CVE-2011-0411).
func (u *upstream) startTLS() error {
	if err := u.Send([]byte("<starttls xmlns='" + xmppstream.NSTLS + "'/>")); err != nil {
		return err
	}
	e, err := u.next()
	if err != nil {
		return err
	}
	if !e.Is(xmppstream.NSTLS, "proceed") {
		return &Refused{class: "starttls-refused", Text: "The server offered encryption and then refused it."}
	}
	if u.waiting() {
		return &Refused{class: "injection", Text: "Bytes in the clear came behind the server's word that encryption starts. " +
			"That is an attempt to slip commands into the encrypted stream, or a broken server; nothing was sent."}
	}
	return nil
}

// secureUpstream puts TLS on the connection, judges the certificate, and reads
// the features inside.
func (s *session) secureUpstream(ctx context.Context, up *upstream, d policy.Decision) error {
	var tlsa *dane.Set
	if up.tlsa != nil {
		var err error
		if tlsa, err = up.tlsa(); err != nil {
			return err
		}
		up.tlsa = nil // a session shall not keep it
	}
	up.wire.StartTLS()
	conn, result, err := tlsauth.Client(ctx, up.wire, tlsauth.Options{
		Decision: d,
		Endpoint: up.endpoint,
		TLSA:     tlsa,
		Roots:    s.gw.cfg.Roots,
		Pins:     s.gw.cfg.Pins,
		Logs:     s.live.Logs,
		Witness:  up.look,
	})
	up.look = nil // a session shall not keep it
	if err != nil {
		return err
	}
	up.tls = result
	s.tolerate(result.Objections...)
	if up.endpoint.Transport == policy.WebSocket {
		if err := up.webSocket(ctx, conn, d, s.live.Limits.PreAuth); err != nil {
			return err
		}
		return up.greet(s.name, s.lang)
	}
	up.on(conn, s.live.Limits.PreAuth)
	return up.greet(s.name, s.lang)
}

// on reads and writes the leg over conn from now on.
func (u *upstream) on(conn net.Conn, limits xmppstream.Limits) {
	if u.r != nil {
		u.r.Release()
	}
	u.conn = conn
	u.r = xmppstream.NewReader(conn, limits)
	u.w = xmppstream.NewWriter(conn)
}

// webSocket shakes hands for a WebSocket over conn, and reads and writes the leg in
// its messages from now on. STARTTLS does not exist there (RFC 7395 §3.9).
func (u *upstream) webSocket(ctx context.Context, conn net.Conn, d policy.Decision, limits xmppstream.Limits) error {
	web, err := websocket.Client(ctx, conn, websocket.Options{Host: webHost(d, u.endpoint), Path: u.endpoint.Path, Limit: messageLimit(limits)})
	if err != nil {
		return err
	}
	u.on(web, limits)
	u.messages = true
	return nil
}

// webHost is the Host header: that of the endpoint, or the account's domain where
// the endpoint is a number, which no web server is named by.
func webHost(d policy.Decision, e policy.Endpoint) string {
	host := e.Host
	if net.ParseIP(host) != nil {
		host = d.Target.Domain
	}
	if e.Transport == policy.WebSocket && e.Port == 443 || e.Transport == policy.PlainWebSocket && e.Port == 80 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(e.Port)))
}

// messageLimit leaves room for the namespaces that a message declares and an
// element of a stream need not.
func messageLimit(l xmppstream.Limits) int { return l.Bytes + 1024 }

// greet opens a stream of the gateway's own and reads the answer with the
// features that come before a login. It says no `from`: before TLS that would
// tell the network whose stream this is (RFC 6120 §4.7.1), and before the login
// the server has no use for it.
func (u *upstream) greet(domain, lang string) error {
	if err := u.openStream(domain, "", lang); err != nil {
		return err
	}
	var err error
	if u.features, err = u.readFeatures(); err != nil {
		return err
	}
	u.openings[len(u.openings)-1].Features = u.features
	u.offer, err = saslauth.ParseOffer(u.features)
	return err
}

// openStream exchanges stream headers (RFC 6120 §4.7).
func (u *upstream) openStream(domain, from, lang string) error {
	if err := u.w.Header(xmppstream.Header{To: domain, From: from, Lang: lang}); err != nil {
		return err
	}
	if err := u.w.Flush(); err != nil {
		return err
	}
	h, err := u.r.ReadHeader()
	if err != nil {
		return err
	}
	u.openings = append(u.openings, Opening{Secure: u.tls != nil, From: h.From, ID: h.ID, Version: h.Version})
	if h.Version != "1.0" {
		return &Refused{class: "version", Text: "The server speaks an XMPP older than 1.0, which has neither STARTTLS nor SASL."}
	}
	return nil
}

// readFeatures reads <stream:features/>.
func (u *upstream) readFeatures() (*xmppstream.Node, error) {
	e, err := u.next()
	if err != nil {
		return nil, err
	}
	if !e.Is(xmppstream.NSStream, "features") {
		return nil, &Refused{class: "protocol", Text: "The server sent something else where its stream features belong."}
	}
	return e.Node()
}

// next is the next element from a server that is not through negotiating. A
// stream error becomes an error.
func (u *upstream) next() (*xmppstream.Element, error) {
	for {
		e, err := u.r.Next()
		if err != nil {
			return nil, err
		}
		switch {
		case e.Kind == xmppstream.Whitespace:
			continue
		case e.Kind == xmppstream.End:
			return nil, &Refused{class: "closed", Text: "The server closed the stream during the negotiation."}
		case e.Is(xmppstream.NSStream, "error"):
			return nil, u.streamError(e)
		}
		return e, nil
	}
}

// streamError reads a server's <stream:error/>.
func (u *upstream) streamError(e *xmppstream.Element) error {
	n, err := e.Node()
	if err != nil {
		return err
	}
	if see := n.Child(xmppstream.NSStreamErr, "see-other-host"); see != nil {
		return &redirect{to: strings.TrimSpace(see.Text), secure: u.tls != nil}
	}
	condition, text := xmppstream.UndefinedCondition, ""
	for _, c := range n.Children {
		switch {
		case c.Space != xmppstream.NSStreamErr:
		case c.Name == "text":
			text = c.Text
		default:
			condition = c.Name
		}
	}
	return &serverError{condition: condition, text: text}
}

// redirect is see-other-host (RFC 6120 §4.9.3.19), or see-other-uri of a WebSocket
// (RFC 7395 §3.6.1).
type redirect struct {
	to     string
	uri    bool
	secure bool // said inside verified TLS
}

func (r *redirect) Error() string { return "the server sent us to another host" }

// endpoint judges a redirect: it must come inside verified TLS (or from an onion
// address that proves itself), policy must allow it, and it must stay within the
// domain. The certificate there is judged for the account's domain as everywhere,
// and the route stays the same.
func (r *redirect) endpoint(d policy.Decision, from policy.Endpoint) (policy.Endpoint, error) {
	if !r.secure && !d.OnionProves(from) {
		return policy.Endpoint{}, &Refused{class: "redirect", Text: "The server sent us to another host before encryption, where anybody could have said so."}
	}
	if d.Redirect != policy.RedirectSameDomain {
		return policy.Endpoint{}, &Refused{class: "redirect", Text: "The server sent us to another host, which policy forbids (redirect = \"deny\")."}
	}
	to := r.to
	if !r.uri {
		to = from.Transport.String() + "://" + to
	}
	e, err := policy.ParseEndpoint(to)
	if err != nil || e.Transport.OverWebSocket() != r.uri || e.Transport == policy.PlainWebSocket && !d.OnionProves(e) {
		return policy.Endpoint{}, &Refused{class: "redirect", Text: "The server sent us to another host whose name makes no sense."}
	}
	host := strings.ToLower(strings.TrimSuffix(e.Host, "."))
	if from.Onion() && !strings.EqualFold(host, from.Host) {
		return policy.Endpoint{}, &Refused{class: "redirect", Text: "The server sent us from its onion address to another host, which the gateway does not follow."}
	}
	same := host == d.Target.Domain || strings.HasSuffix(host, "."+d.Target.Domain) || strings.EqualFold(host, from.Host)
	if !same {
		return policy.Endpoint{}, &Refused{class: "redirect", Text: fmt.Sprintf(
			"The server sent us to a host outside %s, which the gateway does not follow.", d.Target.Domain)}
	}
	if e.Transport == policy.DirectTLS && !strings.Contains(r.to, ":") {
		e.Transport, e.Port = policy.STARTTLS, 5222 // RFC 6120 §4.9.3.19: the default port is 5222
	}
	return e, nil
}
