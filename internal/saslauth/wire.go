package saslauth

import (
	"encoding/base64"
	"strings"

	"xmpp-gw/internal/xmppstream"
)

// Protocol is one of the two SASL profiles of XMPP. Its methods write and read
// the elements of either side.
type Protocol uint8

// The profiles. SASL2 needs no new stream header after a success: the server's
// features follow at once (XEP-0388 §2.6.1).
const (
	SASL1 Protocol = iota + 1 // RFC 6120 §6
	SASL2                     // XEP-0388
)

func (p Protocol) String() string {
	if p == SASL2 {
		return "SASL2"
	}
	return "SASL"
}

func (p Protocol) space() string {
	if p == SASL2 {
		return xmppstream.NSSASL2
	}
	return xmppstream.NSSASL
}

// Challenge is a server's <challenge/>.
func (p Protocol) Challenge(data []byte) []byte { return p.element("challenge", data) }

// Success is a server's <success/>. identity is the account's bare JID, which
// SASL2 carries and SASL does not.
func (p Protocol) Success(identity string) []byte {
	return p.AppendSuccess(nil, nil, identity)
}

// AppendSuccess appends a server's <success/> with the mechanism's data (nil for
// none). identity and inline, what became of the features that the client asked
// for with its login, are SASL2's alone (XEP-0388 §2.6.1).
func (p Protocol) AppendSuccess(dst, data []byte, identity string, inline ...[]byte) []byte {
	if p == SASL1 {
		return p.appendElement(dst, "success", data)
	}
	dst = append(dst, "<success xmlns='"+xmppstream.NSSASL2+"'>"...)
	if data != nil {
		dst = append(dst, "<additional-data>"...)
		dst = base64.StdEncoding.AppendEncode(dst, data)
		dst = append(dst, "</additional-data>"...)
	}
	dst = append(dst, "<authorization-identifier>"...)
	dst = xmppstream.Escape(dst, identity)
	dst = append(dst, "</authorization-identifier>"...)
	for _, b := range inline {
		dst = append(dst, b...)
	}
	return append(dst, "</success>"...)
}

// Failure is a server's <failure/>. The conditions are elements of RFC 6120 in
// both profiles (XEP-0388 §2.6.2).
func (p Protocol) Failure(f Failure) []byte {
	c := f.Condition
	if !c.defined() {
		c = TemporaryAuthFailure
	}
	b := []byte("<failure xmlns='" + p.space() + "'><" + string(c))
	if p == SASL2 {
		b = append(b, " xmlns='"+xmppstream.NSSASL+"'"...)
	}
	b = append(b, "/>"...)
	if f.Text != "" {
		b = append(b, "<text xml:lang='en'>"...)
		b = xmppstream.Escape(b, f.Text)
		b = append(b, "</text>"...)
	}
	return append(b, "</failure>"...)
}

// auth is a client's first element, with its initial response.
func (p Protocol) auth(mechanism string, initial []byte) []byte {
	if p == SASL1 {
		b := []byte("<auth xmlns='" + xmppstream.NSSASL + "' mechanism='" + mechanism + "'>")
		if len(initial) == 0 {
			b = append(b, '=') // RFC 6120 §6.4.2: an empty response, not none
		}
		b = base64.StdEncoding.AppendEncode(b, initial)
		return append(b, "</auth>"...)
	}
	// No <user-agent/>: it is optional, and a stable identifier of this machine is
	// nobody's business.
	b := []byte("<authenticate xmlns='" + xmppstream.NSSASL2 + "' mechanism='" + mechanism + "'><initial-response>")
	b = base64.StdEncoding.AppendEncode(b, initial)
	return append(b, "</initial-response></authenticate>"...)
}

// response is a client's answer to a challenge.
func (p Protocol) response(data []byte) []byte { return p.element("response", data) }

// abort is a client's end of the exchange.
func (p Protocol) abort() []byte { return p.element("abort", nil) }

func (p Protocol) element(name string, data []byte) []byte {
	return p.appendElement(make([]byte, 0, 64+base64.StdEncoding.EncodedLen(len(data))), name, data)
}

func (p Protocol) appendElement(b []byte, name string, data []byte) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, " xmlns='"...)
	b = append(b, p.space()...)
	if len(data) == 0 {
		return append(b, "'/>"...)
	}
	b = append(b, "'>"...)
	b = base64.StdEncoding.AppendEncode(b, data)
	b = append(b, "</"...)
	b = append(b, name...)
	return append(b, '>')
}

// decode reads the base64 of an element. "=" stands for empty data where an
// empty element would mean none (RFC 6120 §6.4.2, §6.4.6); it is harmless
// elsewhere. XEP-0388's own examples have whitespace around the data.
func decode(text string) ([]byte, bool) {
	text = strings.Trim(text, " \t\r\n")
	if text == "" || text == "=" {
		return nil, true
	}
	if strings.ContainsAny(text, "\r\n") { // the decoder would skip them
		return nil, false
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	return data, err == nil
}

// failureOf reads a server's <failure/>.
func failureOf(n *xmppstream.Node) *Failure {
	f := &Failure{}
	for _, c := range n.Children {
		switch {
		case c.Name == "text" && (c.Space == xmppstream.NSSASL || c.Space == xmppstream.NSSASL2):
			f.Text = CleanText(c.Text)
		case c.Space == xmppstream.NSSASL && f.Condition == "":
			f.Condition = Condition(c.Name)
		}
	}
	if !f.Condition.defined() {
		// RFC 6120 §6.5: what we do not know is a failure without a reason.
		f.Condition = NotAuthorized
	}
	return f
}
