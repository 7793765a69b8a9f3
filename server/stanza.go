package server

import (
	"errors"
	"sync"
	"sync/atomic"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/store"
)

// Kind is which of the three stanzas one is.
type Kind uint8

// The kinds of stanza (RFC 6120 §8).
const (
	Message Kind = iota
	Presence
	IQStanza
)

func (k Kind) String() string {
	switch k {
	case Presence:
		return "presence"
	case IQStanza:
		return "iq"
	}
	return "message"
}

// Stanza is a message, a presence or an IQ. It is never changed once made, so that
// goroutines share it freely; what changes one makes a copy ([Stanza.With],
// [Stanza.Without], [Stanza.Readdress]).
//
// It is kept as the bytes that came. Its direct children can be told and cut out
// without parsing them; [Stanza.Node] parses all of it, once.
type Stanza struct {
	Kind           Kind
	Type, ID, Lang string
	From, To       address.Address // zero for none

	raw      string
	root     xmppstream.Root
	children []child
	few      [4]child // what children most often needs

	tree   atomic.Pointer[xmppstream.Node]
	fate   *fate // shared by copies
	itself fate
}

// child is a direct child: its name, and where in raw it is.
type child struct {
	space, name string
	start, end  int
}

// fate is what becomes of a stanza.
type fate struct {
	mu       sync.Mutex
	writes   []store.Pending
	received bool
	// confirmed is received by a client that said so (XEP-0198).
	confirmed bool
	onceDone  []func()
	kept      any
	archived  archived
}

// parseLimits bound what the server itself made or has stored: several stanzas
// of clients may be wrapped in one.
var parseLimits = xmppstream.Limits{Bytes: 16 << 20, Depth: 256, Attrs: 256, Elements: 1 << 20}

// ParseStanza reads a stanza as [Stanza.Standalone] or [Stanza.Raw] gave it.
func ParseStanza(raw []byte) (*Stanza, error) {
	e, err := xmppstream.ParseElement(raw, parseLimits)
	if err != nil {
		return nil, err
	}
	kind, ok := kindOf(e)
	if !ok {
		return nil, errors.New("server: an element that is no stanza")
	}
	st := newStanza(kind, e)
	st.raw, st.root = string(raw), e.Root()
	st.setChildren(e, 0)
	if e.From != nil {
		if st.From, err = address.ParseBytes(e.From); err != nil {
			return nil, err
		}
	}
	if e.To != nil {
		if st.To, err = address.ParseBytes(e.To); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// kindOf tells stanzas from other elements.
func kindOf(e *xmppstream.Element) (Kind, bool) {
	if string(e.Space) != xmppstream.NSClient {
		return 0, false
	}
	switch string(e.Name) {
	case "message":
		return Message, true
	case "presence":
		return Presence, true
	case "iq":
		return IQStanza, true
	}
	return 0, false
}

// newStanza takes what is told by the root's attributes, but for the addresses.
func newStanza(kind Kind, e *xmppstream.Element) *Stanza {
	st := &Stanza{Kind: kind, Type: intern(e.Type), ID: string(e.ID), Lang: intern(e.Lang)}
	st.fate = &st.itself
	return st
}

// setChildren takes the places of e's children, which are shift further in raw.
func (st *Stanza) setChildren(e *xmppstream.Element, shift int) {
	st.children = st.few[:0]
	for i := range e.Children {
		c := &e.Children[i]
		st.children = append(st.children, child{intern(c.Space), intern(c.Name), c.Start + shift, c.End + shift})
	}
}

// Raw is the stanza for a stream whose default namespace is jabber:client, with
// from and to.
func (st *Stanza) Raw() []byte { return []byte(st.raw) }

// AppendRaw appends what [Stanza.Raw] gives.
func (st *Stanza) AppendRaw(dst []byte) []byte { return append(dst, st.raw...) }

// Standalone is the stanza with the declarations that it needs outside a stream:
// for the store, and inside another element such as <forwarded/>.
func (st *Stanza) Standalone() []byte {
	return st.AppendStandalone(make([]byte, 0, len(st.raw)+64))
}

// AppendStandalone appends what [Stanza.Standalone] gives.
func (st *Stanza) AppendStandalone(dst []byte) []byte {
	dst = append(dst, st.raw[:st.root.Name]...)
	if st.root.Default {
		dst = append(dst, " xmlns='"+xmppstream.NSClient+"'"...)
	}
	if st.root.Stream {
		dst = append(dst, " xmlns:stream='"+xmppstream.NSStream+"'"...)
	}
	return append(dst, st.raw[st.root.Name:]...)
}

// Size is the length of [Stanza.Raw] in bytes.
func (st *Stanza) Size() int { return len(st.raw) }

// Has reports whether there is a direct child of this name; "" is any name.
func (st *Stanza) Has(space, name string) bool { return st.find(space, name) != nil }

// Child is the first direct child of this name, "" being any name: its bytes as
// they stand in the stanza, whose namespace prefixes it may use. Nil for none.
func (st *Stanza) Child(space, name string) []byte {
	if c := st.find(space, name); c != nil {
		return []byte(st.raw[c.start:c.end])
	}
	return nil
}

func (st *Stanza) find(space, name string) *child {
	for i := range st.children {
		if c := &st.children[i]; (name == "" || c.name == name) && c.space == space {
			return c
		}
	}
	return nil
}

// Node is the stanza as a tree, which is read only and shared.
func (st *Stanza) Node() *xmppstream.Node {
	if n := st.tree.Load(); n != nil {
		return n
	}
	n := &xmppstream.Node{Space: xmppstream.NSClient, Name: st.Kind.String()}
	if e, err := xmppstream.ParseElement([]byte(st.raw), parseLimits); err == nil {
		if tree, err := e.Node(); err == nil {
			n = tree
		}
	}
	st.tree.Store(n)
	return n
}

// IsError reports whether the stanza is an error.
func (st *Stanza) IsError() bool { return st.Type == "error" }

// Await makes the XEP-0198 acknowledgement that the sender gets wait for p, when
// it is called before the sender's stanza is dealt with. A write that fails is
// never acknowledged: it ends the sender's stream.
func (st *Stanza) Await(p store.Pending) {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, p)
}

// WhenReceived calls done, on a goroutine of its own, when a session has this
// message for certain: when it acknowledged it or, without stream management,
// when it was written to its connection. Then nobody need keep it any more.
func (st *Stanza) WhenReceived(done func()) {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.received {
		go done()
		return
	}
	f.onceDone = append(f.onceDone, done)
}

// SetKept notes what a module has of this message on disk until it is received, so
// that the module knows it again when it comes back undelivered. Copies have it too.
func (st *Stanza) SetKept(v any) {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = v
}

// Kept is what SetKept noted, nil for nothing.
func (st *Stanza) Kept() any {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept
}

// awaited gives the writes that are waited for, and forgets them.
func (st *Stanza) awaited() []store.Pending {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.writes
	f.writes = nil
	return w
}

// isConfirmed reports whether a client has acknowledged the stanza.
func (st *Stanza) isConfirmed() bool {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.confirmed
}

// wasReceived tells who waits for it: that it was written, or confirmed.
func (st *Stanza) wasReceived(confirmed bool) {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	f.received = true
	f.confirmed = f.confirmed || confirmed
	for _, done := range f.onceDone {
		go done()
	}
	f.onceDone = nil
}
