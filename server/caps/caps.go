// Package caps knows what the clients of the server's accounts can do (XEP-0115):
// it asks a client for what its presence stands for, once for all clients of a kind,
// and believes an answer for others only if it hashes to what they announce.
//
// Other modules ask it which payloads a client wants to be told of ([Caps.Wants]).
package caps

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/disco"
)

// Bounds of what is remembered, in all and of one client: 1024 kinds of 16 KiB are
// the most. What is beyond them in a client's answer is not known.
const (
	maxKinds    = 1024
	maxFeatures = 512
	maxText     = 16 << 10
)

// Caps is the module.
type Caps struct {
	server *server.Server
	slot   server.SessionSlot[client]
	known  func(ctx context.Context, s *server.Session)
	next   atomic.Uint64

	mu    sync.Mutex
	kinds map[kind]features
}

// kind is what a client announces.
type kind struct{ hash, node, ver string }

type features map[string]struct{}

// client is what is known of one session.
type client struct {
	mu   sync.Mutex
	kind kind
	ask  string // the id of the request that is under way
	has  features
	told bool // since the client is available, others were told what it can do
}

// New makes the module, which is behind the one that keeps presence. known is called
// on the session's goroutine when it becomes known what its client can do, and again
// when that changes or the client has become available anew; it may be nil.
func New(known func(ctx context.Context, s *server.Session)) *Caps {
	return &Caps{known: known, kinds: map[kind]features{}}
}

// Name implements [server.Module].
func (c *Caps) Name() string { return "capabilities" }

// Setup implements [server.Module].
func (c *Caps) Setup(r *server.Registry) error {
	c.server = r.Server()
	c.slot = server.NewSessionSlot[client](r)
	r.Outbound(c.outbound)
	return nil
}

// Wants reports whether a session's client has announced a feature.
func (c *Caps) Wants(s *server.Session, feature string) bool {
	cl := c.slot.Get(s)
	if cl == nil {
		return false
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	_, ok := cl.has[feature]
	return ok
}

// Interests are the features that end so, without that end, of a session's client.
func (c *Caps) Interests(s *server.Session, suffix string) (list []string) {
	cl := c.slot.Get(s)
	if cl == nil {
		return nil
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for f := range cl.has {
		if name, ok := strings.CutSuffix(f, suffix); ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// outbound looks at what sessions announce, and takes their answers.
func (c *Caps) outbound(ctx context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	switch {
	case st.Kind == server.Presence && st.To.IsZero() && st.Type == "unavailable":
		if cl := c.slot.Get(s); cl != nil {
			cl.mu.Lock()
			cl.told = false
			cl.mu.Unlock()
		}
	case st.Kind == server.Presence && st.Type == "" && st.To.IsZero() && st.Has(disco.NSCaps, "c"):
		c.announced(ctx, s, st.Node().Child(disco.NSCaps, "c"))
	case st.Kind == server.IQStanza && (st.Type == "result" || st.Type == "error") && st.To == s.JID().Server():
		if c.answered(ctx, s, st) {
			return nil, nil
		}
	}
	return st, nil
}

func (c *Caps) announced(ctx context.Context, s *server.Session, n *xmppstream.Node) {
	k := kind{n.Attr("hash"), n.Attr("node"), n.Attr("ver")}
	if k.hash == "" || k.node == "" || k.ver == "" {
		return // the form of before 2007, whose answers cannot be checked
	}
	cl := c.slot.Get(s)
	if cl == nil {
		cl = &client{}
		c.slot.Set(s, cl)
	}
	c.mu.Lock()
	has, found := c.kinds[k]
	c.mu.Unlock()
	cl.mu.Lock()
	same := cl.kind == k
	if same && (cl.told || cl.ask != "") {
		cl.mu.Unlock()
		return
	}
	cl.kind = k
	if found {
		cl.has, cl.ask = has, ""
	}
	if found || same { // the same that is there again
		cl.told = true
		cl.mu.Unlock()
		c.tell(ctx, s)
		return
	}
	cl.told = false
	cl.ask = "caps-" + strconv.FormatUint(c.next.Add(1), 36)
	id := cl.ask
	cl.mu.Unlock()
	query := []byte("<query xmlns='" + disco.NSInfo + "' node='")
	query = append(xmppstream.Escape(query, k.node+"#"+k.ver), "'/>"...)
	// If the session cannot take it, it is about to end.
	_ = s.SendIn(ctx, server.NewIQ(s.JID().Server(), s.JID(), "get", id, query))
}

// answered takes the answer to our request, if it is that.
func (c *Caps) answered(ctx context.Context, s *server.Session, st *server.Stanza) bool {
	cl := c.slot.Get(s)
	if cl == nil || !strings.HasPrefix(st.ID, "caps-") {
		return false
	}
	cl.mu.Lock()
	if cl.ask == "" || cl.ask != st.ID {
		cl.mu.Unlock()
		return false
	}
	cl.ask, cl.told = "", true
	query := st.Node().Child(disco.NSInfo, "query")
	if st.Type != "result" || query == nil {
		cl.has = nil
		cl.mu.Unlock()
		return true
	}
	k := cl.kind
	has, sure := verified(k, query)
	if !sure {
		has = announcedIn(query)
	}
	cl.has = has
	cl.mu.Unlock()
	if sure {
		c.remember(k, has)
	}
	c.tell(ctx, s)
	return true
}

func (c *Caps) tell(ctx context.Context, s *server.Session) {
	if c.known != nil {
		c.known(ctx, s)
	}
}

// remember keeps what a kind of client can do. When there is no room, a kind is
// forgotten, no matter which: it is asked for again.
func (c *Caps) remember(k kind, f features) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kinds) >= maxKinds {
		for old := range c.kinds {
			delete(c.kinds, old)
			break
		}
	}
	c.kinds[k] = f
}

// announcedIn are the features of an answer, for the client that gave it.
func announcedIn(query *xmppstream.Node) features {
	f := features{}
	size := 0
	for _, n := range query.Children {
		if !n.Is(disco.NSInfo, "feature") {
			continue
		}
		name := n.Attr("var")
		if size += len(name); size > maxText || len(f) == maxFeatures {
			break
		}
		f[name] = struct{}{}
	}
	return f
}

// verified are the features of an answer that hashes to what was announced
// (XEP-0115 §5.4). Otherwise it holds for the client that gave it, and for no other.
//
// The hash is of a string that does not tell identities, features and fields of
// forms apart: who wanted to hide a feature from all clients of a kind could give
// the same string with that feature as a form's value. So all parts of the string
// count as features, of whatever they were said to be parts.
func verified(k kind, query *xmppstream.Node) (features, bool) {
	text, err := disco.Verification(query)
	if err != nil || len(text) > maxText {
		return nil, false
	}
	var sum []byte
	switch k.hash {
	case "sha-1":
		h := sha1.Sum([]byte(text))
		sum = h[:]
	case "sha-256":
		h := sha256.Sum256([]byte(text))
		sum = h[:]
	case "sha-512":
		h := sha512.Sum512([]byte(text))
		sum = h[:]
	default:
		return nil, false
	}
	if base64.StdEncoding.EncodeToString(sum) != k.ver {
		return nil, false
	}
	f := features{}
	for part := range strings.SplitSeq(text, "<") {
		if len(f) == maxFeatures {
			return nil, false
		}
		f[part] = struct{}{}
	}
	return f, true
}
