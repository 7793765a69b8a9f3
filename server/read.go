package server

import (
	"sync"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
)

// scratch holds stanzas while they get their addresses.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// read makes a stanza of what a client sent: with from and to, and with its
// language (RFC 6120 §8.1). A fault is what it must be answered with. It is nil,
// without a fault, for an element that is no stanza. s is nil before a resource is
// bound.
func (srv *Server) read(e *xmppstream.Element, s *Session) (st *Stanza, fault *StanzaError) {
	kind, ok := kindOf(e)
	if !ok {
		return nil, ErrBadRequest
	}
	st = newStanza(kind, e)
	var to destination
	if e.To != nil {
		if to, fault = s.destination(e.To); fault != nil {
			st.fault(s)
			return st, fault
		}
	}
	from, lang := "", ""
	if s != nil {
		st.From, from, lang = s.jid, s.full, s.lang
		if to.written == "" && kind == Message { // RFC 6120 §10.3.1
			to = destination{is: s.owner, text: s.bare}
		}
	}
	st.To = to.is
	if st.Lang == "" {
		st.Lang = lang
	}
	buf := scratch.Get().(*[]byte)
	b, shift := e.AppendAddressed((*buf)[:0], from, to.text, lang)
	st.raw, st.root = string(b), e.Root()
	clear(b)
	if *buf = b; cap(b) <= 64<<10 {
		scratch.Put(buf)
	}
	st.setChildren(e, shift)
	return st, st.check()
}

// fault gives a stanza whose address cannot be read what an answer needs.
func (st *Stanza) fault(s *Session) {
	if s != nil {
		st.From = s.jid
	}
}

// destination reads an address. Clients write to the same one again and again.
func (s *Session) destination(to []byte) (destination, *StanzaError) {
	if s != nil && s.lastTo.written == string(to) {
		return s.lastTo, nil
	}
	a, err := address.ParseBytes(to)
	if err != nil {
		return destination{}, ErrJIDMalformed.Because("The address is not valid.")
	}
	d := destination{written: string(to), is: a, text: a.String()}
	if s != nil {
		s.lastTo = d
	}
	return d, nil
}

// check obeys what RFC 6120 §8.2.3 says of IQs, and RFC 6121 §4.7.1 of presence.
func (st *Stanza) check() *StanzaError {
	switch st.Kind {
	case Presence:
		switch st.Type {
		case "", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error":
			return nil
		}
		return ErrBadRequest.Because("There is no presence of this type.")
	case IQStanza:
		if st.ID == "" {
			return ErrBadRequest.Because("An IQ must have an id.")
		}
		switch n := len(st.children); st.Type {
		case "get", "set":
			if n != 1 {
				return ErrBadRequest.Because("A request must have one child element.")
			}
		case "result":
			if n > 1 {
				return ErrBadRequest
			}
		case "error":
		default:
			return ErrBadRequest.Because("There is no IQ of this type.")
		}
	}
	return nil
}

// element handles one element of a bound stream.
func (s *Session) element(l *link, e *xmppstream.Element) error {
	if _, ok := kindOf(e); !ok {
		return s.nonza(e)
	}
	// RFC 6120 §8.1.2.1: from is what was bound, or nothing.
	if e.From != nil && string(e.From) != s.full && string(e.From) != s.bare {
		if a, err := address.ParseBytes(e.From); err != nil || a != s.jid && a != s.owner {
			return streamError("invalid-from", "A stanza's from is not the address of its sender.")
		}
	}
	st, fault := s.srv.read(e, s)
	if fault != nil {
		if st.answerable() {
			s.srv.deliver(s.ctx, s, st.Error(fault))
		}
		s.counted(nil)
		return nil
	}
	s.srv.sent(s.ctx, s, st)
	s.counted(st)
	return nil
}

// nonza takes an element that is no stanza.
func (s *Session) nonza(e *xmppstream.Element) error {
	switch string(e.Space) {
	case xmppstream.NSSM:
		n, err := e.Node()
		if err != nil {
			return err
		}
		return s.streamManagement(n)
	case xmppstream.NSStream:
		if string(e.Name) == "error" {
			return errFinished
		}
	case xmppstream.NSServer: // RFC 6120 §4.9.3.10
		return streamError(xmppstream.InvalidNamespace, "Only clients are served here (jabber:client).")
	case xmppstream.NSSASL, xmppstream.NSSASL2, xmppstream.NSTLS:
		return streamError(xmppstream.PolicyViolation, "The stream is negotiated already.")
	}
	f := s.srv.hooks.nonza[string(e.Space)]
	if f == nil { // §4.9.3.24
		return streamError(xmppstream.UnsupportedStanzaType, "This element means nothing here.")
	}
	n, err := e.Node()
	if err != nil {
		return err
	}
	return f(s.ctx, s, n)
}
