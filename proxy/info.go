package proxy

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The states of a session, as status shows them.
const (
	stateOpening    = "opening"    // the client's header and TLS
	stateLogin      = "login"      // waiting for the client's credentials
	stateConnecting = "connecting" // the upstream leg is being built
	stateOnline     = "online"     // stanzas pass
)

// SessionInfo is what `xmpp-gw status` shows of one session. It names the
// account's domain, never the account.
type SessionInfo struct {
	ID          string
	Started     time.Time
	State       string
	Domain      string
	ClientTLS   string // TLS version of the client leg, "none" without
	Route       string
	Endpoint    string
	Circuit     string
	TLSVersion  string
	Group       string
	Cipher      string
	Identity    string // what proved the server: a name's kind, a pin, the onion address
	Logs        string // what public logs say of the certificate, or why nobody asked
	Witness     string // what a second look at its key saw, or why nobody looked
	Mode        string // originate, relay, passthrough
	SASL        string
	Binding     string
	Warnings    []string
	BytesUp     uint64
	BytesDown   uint64
	StanzasUp   uint64
	StanzasDown uint64

	isolation string // the SOCKS user, to find the circuit
}

// info is a session's own record of itself.
type info struct {
	mu  sync.Mutex
	now SessionInfo

	upBytes, downBytes, upStanzas, downStanzas atomic.Uint64
}

func (i *info) start(id string) {
	i.now = SessionInfo{ID: id, Started: time.Now(), State: stateOpening}
}

// set changes the record under its lock.
func (i *info) set(change func(*SessionInfo)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(&i.now)
}

func (i *info) setState(state string) {
	i.set(func(n *SessionInfo) { n.State = state })
}

// snapshot is the record with the counters as they stand.
func (i *info) snapshot() SessionInfo {
	i.mu.Lock()
	n := i.now
	i.mu.Unlock()
	n.BytesUp, n.BytesDown = i.upBytes.Load(), i.downBytes.Load()
	n.StanzasUp, n.StanzasDown = i.upStanzas.Load(), i.downStanzas.Load()
	return n
}

// Sessions is every session as it stands, the oldest first. With a Circuit
// function, each session that goes through Tor says which circuit carries it;
// ctx bounds that look-up.
func (g *Gateway) Sessions(ctx context.Context) []SessionInfo {
	g.mu.Lock()
	list := make([]SessionInfo, 0, len(g.sessions))
	for s := range g.sessions {
		list = append(list, s.info.snapshot())
	}
	g.mu.Unlock()
	slices.SortFunc(list, func(a, b SessionInfo) int { return a.Started.Compare(b.Started) })
	if g.cfg.Circuit == nil {
		return list
	}
	for i := range list {
		if list[i].isolation == "" || list[i].State != stateOnline {
			continue
		}
		if c, err := g.cfg.Circuit(ctx, list[i].isolation); err == nil {
			list[i].Circuit = c
		}
	}
	return list
}
