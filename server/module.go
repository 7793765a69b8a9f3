package server

import (
	"context"
	"errors"
	"fmt"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
)

// Module is one feature of the server. Setup is called once by [New], in the
// order of [Config.Modules], and registers what the module takes part in.
type Module interface {
	// Name is one word for logs and errors, such as "archive".
	Name() string
	Setup(r *Registry) error
}

// Where says who answers: the server, or an account on its owner's behalf.
type Where uint8

// The entities that have features and answer IQs. A request without `to` goes to
// the sender's own account (RFC 6120 §10.3.3).
const (
	AtServer  Where = 1 << iota // addressed to the domain
	AtAccount                   // addressed to a bare JID
)

// IQ is a request with one payload.
type IQ struct {
	*Stanza
	// Session is the sender's, nil for a request that no local session sent.
	Session *Session
	// Payload is the one child element. It is read only.
	Payload *xmppstream.Node
	// Owner is the account that is asked, zero when the server is.
	Owner address.Address
}

// Own reports whether the request comes from a session of the account that is asked.
func (q *IQ) Own() bool { return q.Session != nil && q.From.Bare() == q.Owner }

// IQHandler answers a request. The reply is the payload of the result as XML, nil
// for an empty result. A [*StanzaError] is sent as it is; any other error is logged
// and answered with internal-server-error; [ErrAnswered] says that the handler has
// sent the reply itself. Handlers of one session's requests are
// called in order, those of different sessions at the same time.
type IQHandler func(ctx context.Context, q *IQ) (reply []byte, err error)

// ErrAnswered is returned by an [IQHandler] that has queued the reply itself, with
// [Session.Send], because what it queued after it must not overtake it.
var ErrAnswered = errors.New("server: the request is answered already")

// NonzaHandler takes a top-level element of a bound session that is no stanza, such
// as XEP-0352's <active/>. An error ends the stream: an [*xmppstream.Error] with its
// own condition.
type NonzaHandler func(ctx context.Context, s *Session, n *xmppstream.Node) error

// Filter looks at a stanza on its way. It gives the stanza on, as it is or as a
// changed copy; nil ends its way without an answer; a [*StanzaError] ends it with
// that answer (never to an error or a result).
type Filter func(ctx context.Context, st *Stanza) (*Stanza, error)

// Disposition is what becomes of a stanza that is about to be queued for a session.
type Disposition uint8

// The dispositions. A held stanza waits in the session until something that is not
// held is queued, or the module calls [Session.ReleaseHeld]; of the presence of an
// address that is held only the last is sent then.
const (
	QueueNow Disposition = iota
	QueueHeld
	QueueDrop
)

// Identity is who an entity says it is (XEP-0030 §3.1).
type Identity struct{ Category, Type, Name string }

// Item is one element of an answer to disco#items.
type Item struct {
	JID        address.Address
	Node, Name string
}

// Disco is what service discovery says of an entity. The disco module answers with
// it; other modules add to it through [Registry].
type Disco struct {
	Identities []Identity
	Features   []string
	Forms      []func(ctx context.Context) []byte // XEP-0128, each a jabber:x:data form
	Items      []func(ctx context.Context, asker, entity address.Address, node string) []Item
	Nodes      []func(ctx context.Context, asker, entity address.Address, node string) (info []byte, ok bool)
}

// Registry is what modules register with. It is used during Setup only.
type Registry struct {
	server *Server
	module string
	hooks  *hooks
	errs   []error
}

// Server is the server under construction: keep it, and call it once it runs.
func (r *Registry) Server() *Server { return r.server }

// hooks are all that modules have registered.
type hooks struct {
	iq       map[iqKey]IQHandler
	nonza    map[string]NonzaHandler
	features []func(ctx context.Context, s *Session) []byte

	outbound    []func(ctx context.Context, s *Session, st *Stanza) (*Stanza, error)
	inbound     []func(ctx context.Context, owner address.Address, st *Stanza) (*Stanza, error)
	delivered   []func(ctx context.Context, owner address.Address, st *Stanza, to []*Session)
	undelivered []func(ctx context.Context, owner address.Address, st *Stanza) (taken bool, err error)
	queue       []func(s *Session, st *Stanza) Disposition

	bound            []func(ctx context.Context, s *Session) error
	resumed          []func(ctx context.Context, s *Session)
	unbound          []func(ctx context.Context, s *Session)
	bindInline       map[string]BindHandler
	bindInlineSpaces []string

	visitor   []func(ctx context.Context, v *Visitor) []byte
	visitorIQ map[iqKey]VisitorHandler

	accountGone []func(ctx context.Context, owner address.Address) error
	forget      []func(owner address.Address)
	lives       []lifecycle

	atServer, atAccount Disco
	sessionSlots        int
}

// lifecycle is what runs with the server.
type lifecycle struct {
	start func(ctx context.Context) error
	stop  func(ctx context.Context)
}

type iqKey struct {
	at          Where
	space, name string
}

// IQ registers who answers requests whose payload has this name, get and set alike;
// an empty name is every name of the namespace. Two modules cannot answer the same.
func (r *Registry) IQ(at Where, space, name string, h IQHandler) {
	for _, one := range []Where{AtServer, AtAccount} {
		if at&one == 0 {
			continue
		}
		k := iqKey{one, space, name}
		if _, taken := r.hooks.iq[k]; taken {
			r.errs = append(r.errs, fmt.Errorf("module %s: %s %s is answered by another module already", r.module, space, name))
			continue
		}
		r.hooks.iq[k] = h
	}
}

// Nonza registers who takes top-level elements of a namespace.
func (r *Registry) Nonza(space string, h NonzaHandler) {
	if _, taken := r.hooks.nonza[space]; taken {
		r.errs = append(r.errs, fmt.Errorf("module %s: %s is taken by another module already", r.module, space))
	}
	r.hooks.nonza[space] = h
}

// StreamFeature adds to the features of authenticated streams: f gives the element
// as XML, nil for none. s is nil before binding.
func (r *Registry) StreamFeature(f func(ctx context.Context, s *Session) []byte) {
	r.hooks.features = append(r.hooks.features, f)
}

// Outbound is called with each stanza that a local session sends, in order, before
// it is routed; `from` is the session's full JID and `to` is as sent.
func (r *Registry) Outbound(f func(ctx context.Context, s *Session, st *Stanza) (*Stanza, error)) {
	r.hooks.outbound = append(r.hooks.outbound, f)
}

// Inbound is called with each stanza for a local account, whoever sent it, before
// sessions are chosen; IQs that the account answers itself come here too.
func (r *Registry) Inbound(f func(ctx context.Context, owner address.Address, st *Stanza) (*Stanza, error)) {
	r.hooks.inbound = append(r.hooks.inbound, f)
}

// Delivered is called after a message for a local account has been queued for these
// sessions, of which there is at least one.
func (r *Registry) Delivered(f func(ctx context.Context, owner address.Address, st *Stanza, to []*Session)) {
	r.hooks.delivered = append(r.hooks.delivered, f)
}

// Undelivered is called with a message for an existing account that no session
// takes, also when a session ends with messages that were never acknowledged. The
// first that takes it ends the round; an error, or nobody, becomes the stanza error
// that RFC 6121 §8 wants.
func (r *Registry) Undelivered(f func(ctx context.Context, owner address.Address, st *Stanza) (taken bool, err error)) {
	r.hooks.undelivered = append(r.hooks.undelivered, f)
}

// Queue is called before a stanza is queued for a session, on the sender's
// goroutine: it must not wait. The first disposition that is not QueueNow holds.
func (r *Registry) Queue(f func(s *Session, st *Stanza) Disposition) {
	r.hooks.queue = append(r.hooks.queue, f)
}

// Bound is called when a session has its resource, before it receives stanzas.
func (r *Registry) Bound(f func(ctx context.Context, s *Session) error) {
	r.hooks.bound = append(r.hooks.bound, f)
}

// Resumed is called when a session has a new connection (XEP-0198 §5).
func (r *Registry) Resumed(f func(ctx context.Context, s *Session)) {
	r.hooks.resumed = append(r.hooks.resumed, f)
}

// Unbound is called once when a session is gone for good: after its stream ended,
// or after nobody resumed it in time. It does not receive stanzas any more.
func (r *Registry) Unbound(f func(ctx context.Context, s *Session)) {
	r.hooks.unbound = append(r.hooks.unbound, f)
}

// BindHandler does what an element of a client asks for while it binds. reply goes
// into <bound/>, nil for nothing.
type BindHandler func(ctx context.Context, s *Session, n *xmppstream.Node) (reply []byte, err error)

// BindInline registers who takes the elements of a namespace that a client puts
// inside Bind 2's <bind/> (XEP-0386 §3.3), such as <enable/> of carbons. It is
// called after Bound, and the namespace is offered as a feature.
func (r *Registry) BindInline(space string, f BindHandler) {
	if _, taken := r.hooks.bindInline[space]; taken {
		r.errs = append(r.errs, fmt.Errorf("module %s: %s is taken by another module already", r.module, space))
	}
	r.hooks.bindInline[space] = f
	r.hooks.bindInlineSpaces = append(r.hooks.bindInlineSpaces, space)
}

// Visitor is somebody who has not logged in.
type Visitor struct {
	Domain string // that the stream was opened for
	Peer   string // see [ConnOptions.Peer]
	Secure bool   // inside TLS, or where nobody can listen
	// Value is a module's own, such as an invitation that was shown. All modules
	// share the map; the key is a value of a type of the module's own.
	Value map[any]any
}

// VisitorHandler answers an IQ of a visitor as an [IQHandler] does.
type VisitorHandler func(ctx context.Context, v *Visitor, q *IQ) (reply []byte, err error)

// VisitorFeature adds to the features of streams on which nobody is logged in: f
// gives the element as XML, nil for none.
func (r *Registry) VisitorFeature(f func(ctx context.Context, v *Visitor) []byte) {
	r.hooks.visitor = append(r.hooks.visitor, f)
}

// VisitorIQ registers who answers requests that come before any login, to the
// domain or to nobody, such as those of in-band registration (XEP-0077 §3.1).
func (r *Registry) VisitorIQ(space, name string, h VisitorHandler) {
	k := iqKey{AtServer, space, name}
	if _, taken := r.hooks.visitorIQ[k]; taken {
		r.errs = append(r.errs, fmt.Errorf("module %s: %s %s is answered by another module already", r.module, space, name))
	}
	r.hooks.visitorIQ[k] = h
}

// AccountGone is called before an account is deleted, with its sessions still there.
func (r *Registry) AccountGone(f func(ctx context.Context, owner address.Address) error) {
	r.hooks.accountGone = append(r.hooks.accountGone, f)
}

// Forget is called when an account has been deleted: what is in memory of it must go.
// What was forgotten in AccountGone may have been read again before the storage forgot.
func (r *Registry) Forget(f func(owner address.Address)) {
	r.hooks.forget = append(r.hooks.forget, f)
}

// Lifecycle registers what runs with the server: start before it accepts the first
// connection, stop after the last session has ended. Either may be nil.
func (r *Registry) Lifecycle(start func(ctx context.Context) error, stop func(ctx context.Context)) {
	r.hooks.lives = append(r.hooks.lives, lifecycle{start, stop})
}

// Feature adds to the answers to disco#info (XEP-0030).
func (r *Registry) Feature(at Where, namespaces ...string) {
	r.disco(at, func(d *Disco) { d.Features = append(d.Features, namespaces...) })
}

// Identity adds to the answers to disco#info (XEP-0030).
func (r *Registry) Identity(at Where, i Identity) {
	r.disco(at, func(d *Disco) { d.Identities = append(d.Identities, i) })
}

// Form adds an extension form to the answers to disco#info (XEP-0128).
func (r *Registry) Form(at Where, f func(ctx context.Context) []byte) {
	r.disco(at, func(d *Disco) { d.Forms = append(d.Forms, f) })
}

// Items adds to the answers to disco#items.
func (r *Registry) Items(at Where, f func(ctx context.Context, asker, entity address.Address, node string) []Item) {
	r.disco(at, func(d *Disco) { d.Items = append(d.Items, f) })
}

// Node answers disco#info for nodes: f gives the children of <query/> as XML, and
// false for a node that is not its own.
func (r *Registry) Node(at Where, f func(ctx context.Context, asker, entity address.Address, node string) ([]byte, bool)) {
	r.disco(at, func(d *Disco) { d.Nodes = append(d.Nodes, f) })
}

func (r *Registry) disco(at Where, add func(*Disco)) {
	if at&AtServer != 0 {
		add(&r.hooks.atServer)
	}
	if at&AtAccount != 0 {
		add(&r.hooks.atAccount)
	}
}

// SessionSlot is a module's own place in each session.
type SessionSlot[T any] struct{ index int }

// NewSessionSlot makes a place that holds a *T, nil at first.
func NewSessionSlot[T any](r *Registry) SessionSlot[T] {
	r.hooks.sessionSlots++
	return SessionSlot[T]{r.hooks.sessionSlots - 1}
}

// Get is what was set, nil before.
func (k SessionSlot[T]) Get(s *Session) *T {
	v, _ := s.slot(k.index).(*T)
	return v
}

// Set may be called at any time; what v points to is the module's to guard.
func (k SessionSlot[T]) Set(s *Session, v *T) { s.setSlot(k.index, v) }
