// Package xmppstream reads and writes XMPP streams (RFC 6120 §4) without taking stanzas apart.
//
// A [Reader] goes over the bytes of a stream once. It checks that they are XML that every peer
// reads as the same tree (well-formed, namespace-well-formed, UTF-8, nothing that RFC 6120 §11.1
// forbids, within [Limits]) and yields each child of the stream as an [Element]: its own bytes
// plus a head (name, namespace, to, from, id, type, the names of its children). A [Writer] gathers
// elements and sends many of them in one write. Bytes that cross from one stream to another stay
// as they are; only namespace declarations that stood on the sender's stream header are put on the
// element's start tag ([Element.Append]).
//
//	r := xmppstream.NewReader(conn, xmppstream.PreAuthLimits())
//	h, err := r.ReadHeader()     // <stream:stream to='example.org' …>
//	w := xmppstream.NewWriter(conn)
//	err = w.Header(xmppstream.Header{From: h.To, ID: id})
//	for {
//		e, err := r.Next()       // valid until the next call
//		…
//		err = other.Element(e)   // to the other leg
//	}
//
// Elements that are read rather than passed on (stream features, SASL) become a small tree with
// [Element.Node]; a [Node] also writes elements of our own.
//
// What is accepted is the common ground of encoding/xml (strict) and expat, which is what Prosody
// and ejabberd and most clients use. One difference between these two is let through, because a
// server that re-serialises an escaped newline in an attribute as a raw one would otherwise give
// strangers a way to end a session: a raw tab or line break inside an attribute value is a space
// to every XML processor (XML 1.0 §3.3.3), and to this package, but stays as it is in encoding/xml.
package xmppstream

// The namespaces of stream negotiation.
const (
	NSStream    = "http://etherx.jabber.org/streams"
	NSClient    = "jabber:client"
	NSServer    = "jabber:server"
	NSTLS       = "urn:ietf:params:xml:ns:xmpp-tls"
	NSSASL      = "urn:ietf:params:xml:ns:xmpp-sasl"
	NSSASL2     = "urn:xmpp:sasl:2"
	NSSASLCB    = "urn:xmpp:sasl-cb:0" // XEP-0440: channel binding types
	NSBind      = "urn:ietf:params:xml:ns:xmpp-bind"
	NSBind2     = "urn:xmpp:bind:0"
	NSSession   = "urn:ietf:params:xml:ns:xmpp-session"
	NSStreamErr = "urn:ietf:params:xml:ns:xmpp-streams"
	NSStanzaErr = "urn:ietf:params:xml:ns:xmpp-stanzas"
	NSSM        = "urn:xmpp:sm:3"
	NSRegister  = "jabber:iq:register"
	NSRegFeat   = "http://jabber.org/features/iq-register"
	NSXML       = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS     = "http://www.w3.org/2000/xmlns/"
)

// Limits bounds what one peer may make us hold or do. Each number is the most that is accepted;
// a peer that goes beyond gets the stream error policy-violation. A zero refuses everything.
type Limits struct {
	Bytes    int // bytes of one top-level element
	Depth    int // nesting of one top-level element, itself included
	Attrs    int // attributes of one tag, namespace declarations included
	Elements int // elements in one top-level element, itself included
	Header   int // bytes of XML declaration and stream header together
}

// PreAuthLimits are small: they hold until the peer has shown who it is. They leave room for the
// 10,000 bytes that RFC 6120 §13.12 wants accepted, and for a registration form.
func PreAuthLimits() Limits {
	return Limits{Bytes: 16 << 10, Depth: 16, Attrs: 32, Elements: 256, Header: 4 << 10}
}

// SessionLimits hold after authentication. Bytes (512 KiB) is the one an owner may want larger.
func SessionLimits() Limits {
	return Limits{Bytes: 512 << 10, Depth: 128, Attrs: 128, Elements: 32 << 10, Header: 4 << 10}
}

// Header is what a stream header says (RFC 6120 §4.7). When it is written, empty fields are left
// out, except Version ("1.0") and ContentNS (jabber:client).
type Header struct {
	To, From, ID, Version, Lang string

	// Prefix is bound to NSStream on the header, "" where that is the default namespace.
	// Written headers always use "stream".
	Prefix string
	// ContentNS is the default namespace, "" where there is none or where it is NSStream.
	ContentNS string
	// Decls are the other namespace prefixes declared on the header. Not written.
	Decls []Decl
}

// Decl is one namespace declaration.
type Decl struct{ Prefix, URI string }

// Kind says what Next found.
type Kind uint8

const (
	Stanza     Kind = iota // an element: a stanza or a nonza
	Whitespace             // a run of whitespace between elements: a keepalive (RFC 6120 §4.6.1)
	End                    // </stream:stream>
)

// Element is one top-level thing of a stream. It and all its slices belong to the Reader and are
// valid until its next call; [Element.Append] copies.
type Element struct {
	Kind Kind
	// Raw is the element as received. It may lean on declarations of its stream's header.
	Raw []byte
	// Space and Name are the resolved namespace and the local name of the root.
	Space, Name []byte
	// Attribute values of the root with references decoded; nil when absent.
	To, From, ID, Type []byte
	Lang               []byte // xml:lang
	// Children are the direct children, in document order.
	Children []Child

	decls  []byte // declarations to insert when the element moves to another stream
	insert int    // where in Raw they go
	reader *Reader
}

// Child is the resolved name of a direct child, and where in Raw it stands.
type Child struct {
	Space, Name []byte
	Start, End  int
}

// Is reports whether the element's root has this namespace and local name.
func (e *Element) Is(space, name string) bool {
	return string(e.Name) == name && string(e.Space) == space
}

// Is reports whether the child has this namespace and local name.
func (c Child) Is(space, name string) bool {
	return string(c.Name) == name && string(c.Space) == space
}

// HasChild reports whether a direct child has this namespace and local name.
func (e *Element) HasChild(space, name string) bool {
	for _, c := range e.Children {
		if c.Is(space, name) {
			return true
		}
	}
	return false
}

// Append appends the element's bytes for another stream, one whose header declares jabber:client
// as the default namespace and "stream" for NSStream, and nothing else. What the sender's header
// declared beyond that is declared on the element instead, unless the element does so itself; in
// most cases there is nothing and the bytes are as received. An xml:lang on the sender's header
// (Header.Lang) is not carried over: repeat it on the other stream's header.
func (e *Element) Append(dst []byte) []byte {
	if len(e.decls) == 0 {
		return append(dst, e.Raw...)
	}
	dst = append(dst, e.Raw[:e.insert]...)
	dst = append(dst, e.decls...)
	return append(dst, e.Raw[e.insert:]...)
}

// Size is the number of bytes that Append will add.
func (e *Element) Size() int { return len(e.Raw) + len(e.decls) }
