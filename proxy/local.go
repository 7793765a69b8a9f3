package proxy

import (
	"context"
	"io"
	"net"

	"xmpp-gw/internal/wire"
	"xmpp-gw/policy"
)

// Local is a server in this process. The clients of its domains are handed to it
// as they come: no rule is asked for these domains, and nothing of them goes out.
type Local interface {
	// Hosts reports whether a domain is served here. It is normalised and in U-labels.
	Hosts(domain string) bool
	// Serve serves one client and returns when the connection has ended. When ctx
	// ends, it ends the connection in good order. It closes conn.
	Serve(ctx context.Context, conn net.Conn, c LocalClient)
}

// LocalClient is what the gateway knows of a client that it hands over.
type LocalClient struct {
	Kind     ListenerKind
	Greeting []byte // what was read of the connection already
	// Plaintext: the owner lets this client stay without TLS ("client_tls = optional").
	Plaintext bool
}

// routeNode is the route of sessions that end in this process, as status shows it.
const routeNode = "node"

// opening remembers what is read of a connection that may be handed over.
type opening struct {
	*wire.Conn
	seen []byte
	done bool
}

func (o *opening) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	if !o.done {
		o.seen = append(o.seen, p[:n]...)
	}
	return n, err
}

// openClient puts the client leg on the socket as it was accepted. What is read
// of it is remembered until it is known for whom it is.
func (s *session) openClient() *opening {
	o := &opening{Conn: s.client.wire, done: s.gw.cfg.Local == nil}
	s.setClient(o)
	return o
}

// forget ends the remembering.
func (o *opening) forget() { o.seen, o.done = nil, true }

// hosted reports whether the client's domain is served in this process.
func (s *session) hosted() bool {
	l := s.gw.cfg.Local
	return l != nil && l.Hosts(policy.DisplayDomain(s.domain))
}

// handOver gives the client to the server in this process, with what was read of
// its connection. The session remains to be counted, shown and ended.
func (s *session) handOver(seen []byte) error {
	greeting := make([]byte, len(seen)+s.client.wire.Buffered())
	n := copy(greeting, seen)
	if _, err := io.ReadFull(s.client.wire, greeting[n:]); err != nil {
		return err
	}
	c := LocalClient{Kind: s.kind, Greeting: greeting, Plaintext: s.live.PlaintextLoopback && isLocal(s.socket)}
	s.info.set(func(n *SessionInfo) { n.Domain, n.Route, n.State = s.domain, routeNode, stateOnline })
	s.mu.Lock()
	if s.client.r != nil {
		s.client.r.Release()
	}
	// The server has its own. The connection is the server's from here on, and so is
	// what is said at its end.
	s.client = leg{}
	s.local.Store(true)
	s.mu.Unlock()
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	s.retain(1)
	go func() { // on a small stack, as it waits for as long as the client stays
		defer s.release()
		s.gw.cfg.Local.Serve(s.ctx, s.socket, c)
	}()
	return nil
}
