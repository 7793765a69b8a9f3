package probe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// entry is a line on which a login is next: the server is proven.
type entry struct {
	*line
	state    *tls.ConnectionState // nil at an onion address without TLS
	offer    saslauth.Offer
	patience time.Duration // how long answers are waited for
	hashed   bool          // the server sent a hash of its offer (XEP-0474)
}

// enter opens a line up to a login. Nothing of a login goes out before this
// connection itself proved to be the domain's server, by its certificate or by its
// onion address.
func (r *run) enter(ctx context.Context, s spot) (*entry, error) {
	begin := time.Now()
	l, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	e := &entry{line: l}
	if err := r.prove(ctx, e); err != nil {
		l.close()
		return nil, err
	}
	// That were three round trips at least. Who does not answer must not take all the
	// time that there is.
	e.patience = min(max(3*time.Since(begin), 4*time.Second), r.Step/2)
	// An authenticated stream's features before a login end it here.
	if e.offer, err = saslauth.ParseOffer(l.features); err != nil {
		l.close()
		return nil, err
	}
	return e, nil
}

// prove goes on to the features of a stream for which the server is proven.
func (r *run) prove(ctx context.Context, e *entry) error {
	proven := r.proves(e.at)
	_, err := e.ready("")
	switch {
	case errors.Is(err, errNoSTARTTLS) && proven:
		return nil // the circuit leads to whoever holds the address's key
	case err != nil:
		return err
	}
	if e.at.Transport != policy.PlainWebSocket {
		conf := e.config()
		conf.MinVersion, conf.CipherSuites = tls.VersionTLS12, nil
		if e.state, err = e.shake(ctx, conf); err != nil {
			return err
		}
	}
	if !proven {
		if e.state == nil {
			return errors.New("nothing proves the server, so nobody logged in")
		}
		if j := r.judge(e.spot, e.state.PeerCertificates); j.Chain != nil || j.Name != nil {
			return errors.New("its certificate does not prove that it is the domain's server, so nobody logged in")
		}
	}
	if err := e.web(ctx); err != nil {
		return err
	}
	e.features = nil
	opened := e.open(e.domain)
	switch {
	case opened.Err != "":
		return errors.New(opened.Err)
	case opened.Error != "":
		return errors.New("it ended the stream with " + opened.Error)
	}
	return nil
}

// authenticate logs in with the run's account.
func (e *entry) authenticate(ctx context.Context, r *run) (saslauth.Outcome, error) {
	rules := saslauth.Rules{Min: policy.AuthSCRAM, Binding: policy.BindingPrefer, Channel: saslauth.ChannelTLS}
	if e.state == nil {
		rules.Channel = saslauth.ChannelOnion
	}
	switch {
	case r.Login.Bound:
		rules.Min, rules.Binding = policy.AuthSCRAMPlus, policy.BindingRequire
	case r.Login.Plain:
		rules.Min = policy.AuthPlain
	}
	cred := &saslauth.Credentials{Username: r.account.Localpart(), Password: slices.Clone(r.Login.Password)}
	defer cred.Wipe()
	return saslauth.Authenticate(ctx, e, e.offer, cred, rules, e.state)
}

// Send implements saslauth.Stream.
func (e *entry) Send(raw []byte) error {
	_, err := e.conn.Write(raw)
	return err
}

// Next implements saslauth.Stream, and notes whether the server sends a hash of what
// it offered: saslauth tells of one that is right alone.
func (e *entry) Next() (*xmppstream.Element, error) {
	next, err := e.r.Next()
	if err == nil && next.Kind == xmppstream.Stanza && string(next.Name) == "challenge" {
		if n, err := next.Node(); err == nil {
			first, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(n.Text))
			e.hashed = e.hashed || strings.Contains(string(first), ",h=")
		}
	}
	return next, err
}

// begin brings a stream from its login to a bound resource, and gives the features
// that it showed. The server names the resource: what it makes up for everybody
// tells nothing of us (RFC 6120 §7.6).
func (e *entry) begin(ctx context.Context, p saslauth.Protocol) ([]string, error) {
	s := &audit.Stream{}
	if p == saslauth.SASL1 { // RFC 6120 §6.4.6
		e.r.Restart()
		s = e.open(e.domain)
	} else { // XEP-0388 §2.6.1
		e.readFirst(s)
	}
	switch {
	case s.Err != "":
		return nil, errors.New(s.Err)
	case s.Error != "":
		return nil, errors.New("it ended the stream behind the login with " + s.Error)
	}
	var refused string
	err := e.ask(ctx, &question{kind: "set", payload: "<bind xmlns='" + xmppstream.NSBind + "'/>", answer: func(_ *xmppstream.Node, why string) { refused = why }})
	if err == nil && refused != "" {
		err = errors.New("it bound no resource: " + refused)
	}
	return s.Features, err
}

// end closes the session in good order, so that nothing of it is left to resume.
func (e *entry) end() {
	if _, err := io.WriteString(e.conn, "</stream:stream>"); err != nil {
		return
	}
	_ = e.raw.SetReadDeadline(time.Now().Add(time.Second))
	for {
		if next, err := e.r.Next(); err != nil || next.Kind == xmppstream.End {
			return
		}
	}
}

// question is an IQ. Answer gets the result, or nil and why there is none.
type question struct {
	to, kind, payload string
	answer            func(result *xmppstream.Node, why string)

	id string
}

const noAnswer = "no answer in time"

// ask puts questions all at once and hands out the answers. Who does not answer within
// the line's patience has not; only a stream that broke is an error.
func (e *entry) ask(ctx context.Context, questions ...*question) error {
	if len(questions) == 0 {
		return nil
	}
	var out strings.Builder
	open := map[string]*question{}
	for _, q := range questions {
		q.id = rand.Text()[:12]
		open[q.id] = q
		out.WriteString("<iq type='" + q.kind + "' id='" + q.id + "'")
		if q.to != "" {
			out.WriteString(" to='" + string(xmppstream.Escape(nil, q.to)) + "'")
		}
		out.WriteString(">" + q.payload + "</iq>")
	}
	if err := e.Send([]byte(out.String())); err != nil {
		return err
	}
	err := e.wait(ctx, func(n *xmppstream.Node) bool {
		if q := open[n.Attr("id")]; n.Is(xmppstream.NSClient, "iq") && q != nil && from(n.Attr("from"), q.to) {
			if n.Attr("type") == "result" {
				delete(open, q.id)
				q.answer(n, "")
			} else if n.Attr("type") == "error" {
				delete(open, q.id)
				q.answer(nil, stanzaError(n))
			}
		}
		return len(open) == 0
	})
	for _, q := range open {
		q.answer(nil, noAnswer)
	}
	return err
}

// from reports whether an answer's sender is who was asked (RFC 6120 §8.1.2.1).
func from(sender, asked string) bool {
	return sender == "" || asked == "" || strings.EqualFold(sender, asked)
}

// wait reads until done says so, or for as long as its patience lasts. That nothing
// more comes is no error, unless the time for the whole probe is over.
func (e *entry) wait(ctx context.Context, done func(*xmppstream.Node) bool) error {
	until := time.Now().Add(e.patience)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	_ = e.raw.SetReadDeadline(until)
	defer func() { _ = e.raw.SetReadDeadline(time.Time{}) }()
	for {
		if ctx.Err() != nil {
			return errSlow
		}
		next, err := e.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			return nil
		case err != nil:
			return err
		}
		n, err := next.Node()
		switch {
		case err != nil:
			return err
		case n.Is(xmppstream.NSStream, "error"):
			return errors.New("it ended the stream with an error")
		case done(n):
			return nil
		}
	}
}

// stanzaError is the condition of an error (RFC 6120 §8.3).
func stanzaError(n *xmppstream.Node) string {
	for _, c := range children(n.Child(xmppstream.NSClient, "error")) {
		if c.Space == xmppstream.NSStanzaErr && c.Name != "text" {
			return clip(c.Name)
		}
	}
	return "an error without a condition"
}
