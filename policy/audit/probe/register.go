package probe

import (
	"io"
	"slices"
	"strings"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

const (
	nsForms = "jabber:x:data"
	nsMedia = "urn:xmpp:media-element"
	nsOOB   = "jabber:x:oob"
	// registerID is that of the question about registration.
	registerID = "form"
)

// register asks for the form with which accounts are made in band (XEP-0077 §3.1),
// on a stream without a login, and never sends it.
func (l *line) register() *audit.Registration {
	seen := &audit.Registration{}
	_, err := io.WriteString(l.conn, "<iq xmlns='jabber:client' type='get' id='"+registerID+"' to='"+
		string(xmppstream.Escape(nil, policy.DisplayDomain(l.domain)))+"'><query xmlns='"+xmppstream.NSRegister+"'/></iq>")
	for err == nil {
		var e *xmppstream.Element
		var n *xmppstream.Node
		if e, err = l.next(); err != nil {
			break
		}
		if n, err = e.Node(); err != nil {
			break
		}
		switch {
		case n.Is(xmppstream.NSStream, "error"):
			s := &audit.Stream{}
			if readError(s, n); busy(s.Error) {
				seen.Err = "the server ended the stream for another reason: " + s.Error
			}
			return seen // it ends whoever asks before a login: no form for strangers
		case n.Name != "iq" || n.Attr("id") != registerID:
			continue
		case n.Attr("type") == "result":
			readForm(seen, n.Child(xmppstream.NSRegister, "query"))
		default:
			if why := stanzaError(n); busy(why) {
				seen.Err = "the server could not say: " + why
			}
		}
		return seen
	}
	seen.Err = clip(reason(err))
	return seen
}

// readForm reads the answer: old fields (XEP-0077 §3.1), a data form, or only a web
// address.
func readForm(seen *audit.Registration, query *xmppstream.Node) {
	if query == nil {
		return
	}
	seen.Instructions = clip(query.ChildText(xmppstream.NSRegister, "instructions"))
	for _, c := range query.Children {
		switch {
		case c.Space == xmppstream.NSRegister && c.Name != "instructions" && c.Name != "registered":
			addField(seen, c.Name)
		case c.Is(nsForms, "x"):
			readFields(seen, c)
		}
	}
	if web := query.Child(nsOOB, "x").ChildText(nsOOB, "url"); web != "" { // XEP-0077 §3.1.2
		seen.Instructions = clip(strings.TrimSpace(seen.Instructions + " " + web))
	}
}

// readFields reads a data form (XEP-0004 §3.2), with what tells a captcha
// (XEP-0158 §3) or an invitation (XEP-0445 §5).
func readFields(seen *audit.Registration, form *xmppstream.Node) {
	if seen.Instructions == "" {
		seen.Instructions = clip(form.ChildText(nsForms, "instructions"))
	}
	for _, f := range form.Children {
		if !f.Is(nsForms, "field") {
			continue
		}
		name := f.Attr("var")
		if name == "FORM_TYPE" {
			seen.Captcha = seen.Captcha || f.ChildText(nsForms, "value") == "urn:xmpp:captcha"
			continue
		}
		if f.Child(nsMedia, "media") != nil {
			seen.Captcha = true
		}
		if f.Attr("type") != "hidden" && f.Attr("type") != "fixed" {
			addField(seen, name)
		}
	}
}

// addField notes a field to be filled in. There is a form if there is one.
func addField(seen *audit.Registration, name string) {
	switch strings.ToLower(name) {
	case "ocr", "qa", "captcha", "captcha_text":
		seen.Captcha = true
	case "token", "invite", "preauth":
		seen.Invite = true
	}
	seen.Offered = true
	if name = clip(name); len(seen.Fields) < maxKept && !slices.Contains(seen.Fields, name) {
		seen.Fields = append(seen.Fields, name) // a data form repeats the old fields
	}
}
