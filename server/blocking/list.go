package blocking

import (
	"context"
	"sync"
	"sync/atomic"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

// list is whom an account blocks.
type list struct {
	// write is held by whoever changes the list, over the storage and the pushes.
	write sync.Mutex
	set   atomic.Pointer[set] // replaced, never changed
}

type set map[address.Address]struct{}

func (m *Module) load(ctx context.Context, owner address.Address) (*list, error) {
	blocked, err := m.blocks.Blocks(ctx, owner)
	if err != nil {
		return nil, err
	}
	l := new(list)
	l.put(make(set, len(blocked)), blocked)
	return l, nil
}

// put makes s the list, with more addresses in it.
func (l *list) put(s set, more []address.Address) {
	for _, a := range more {
		s[a] = struct{}{}
	}
	l.set.Store(&s)
}

// copy is the list to be changed.
func (l *list) copy() set {
	old := *l.set.Load()
	s := make(set, len(old))
	for a := range old {
		s[a] = struct{}{}
	}
	return s
}

// blocks reports whether a is blocked (XEP-0191 §5).
func (s set) blocks(a address.Address) bool {
	if len(s) == 0 {
		return false
	}
	for _, pattern := range [...]address.Address{a, a.Bare(), a.Server()} {
		if _, ok := s[pattern]; ok {
			return true
		}
	}
	return false
}

// readItems reads the addresses of a request.
func readItems(owner address.Address, payload *xmppstream.Node) ([]address.Address, error) {
	list := make([]address.Address, 0, len(payload.Children))
	seen := set{}
	for _, item := range payload.Children {
		if !item.Is(NS, "item") {
			return nil, server.ErrBadRequest
		}
		a, err := address.Parse(item.Attr("jid"))
		if err != nil {
			return nil, server.ErrJIDMalformed
		}
		if a.Bare() == owner {
			return nil, server.ErrNotAllowed.Because("nobody blocks themselves") // XEP-0191 §4
		}
		if _, twice := seen[a]; !twice {
			seen[a] = struct{}{}
			list = append(list, a)
		}
	}
	return list, nil
}

// appendItems appends an element of this name with these addresses.
func appendItems(dst []byte, name string, list []address.Address) []byte {
	dst = append(append(append(dst, '<'), name...), " xmlns='"+NS+"'>"...)
	for _, a := range list {
		dst = append(dst, "<item jid='"...)
		dst = xmppstream.Escape(dst, a.String())
		dst = append(dst, "'/>"...)
	}
	return append(append(append(dst, "</"...), name...), '>')
}
