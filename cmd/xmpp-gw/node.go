package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/config"
	"xmpp-gw/internal/control"
	"xmpp-gw/internal/forward"
	"xmpp-gw/internal/ownfile"
	"xmpp-gw/onion"
	"xmpp-gw/policy"
	"xmpp-gw/proxy"
	"xmpp-gw/server"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/offline"
	"xmpp-gw/server/registration"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
)

// nodeService is the name under which the node's onion service stands on the shelf.
const nodeService = defaultOnion

// node is the bundled server with what this program puts around it: certificates,
// the ways in, and the domain that may be its own onion address.
type node struct {
	domain string // in U-labels
	onion  bool   // the domain is the address of the node's onion service
	server *server.Server
	db     *store.DB
	// registration is who may make an account, as the configuration says it.
	registration string
	appointed    []address.Address // the administrators that the configuration names

	local  atomic.Pointer[certificates] // of all ways in but the onion service
	public func(domain string) (*tls.Config, error)
}

// certificates gives the TLS configuration of a domain.
type certificates func(domain string) (*tls.Config, error)

// nodeDomain is the domain that the node serves, in A-labels, "" for no node. What
// the configuration says of its onion service is made so on the shelf.
func nodeDomain(shelf *onion.Shelf, s *settings) (string, error) {
	if s.Node.Domain != config.OnionDomain && !s.Node.Publish {
		return s.Node.Domain, nil
	}
	e, err := shelfNode(shelf, s)
	if s.Node.Domain != config.OnionDomain {
		return s.Node.Domain, err
	}
	return e.Address, err
}

// nodeOptions is what a node needs besides the configuration.
type nodeOptions struct {
	domain string // in A-labels; "": there is no node
	// local makes certificates for clients on this machine; nil for a node that
	// nobody connects to.
	local    certificates
	shutdown func() // ends the program, for an administrator; nil: nobody can
	log      *slog.Logger
}

// openNode opens the store and starts the server, which nobody can connect to yet.
// It gives nil for no domain.
func openNode(ctx context.Context, p paths, s *settings, o nodeOptions) (*node, error) {
	if o.domain == "" {
		return nil, nil
	}
	n := &node{domain: policy.DisplayDomain(o.domain), onion: s.Node.Domain == config.OnionDomain, registration: s.Node.Registration, appointed: s.Node.Admins}
	secret, err := nodeSecret(p)
	if err != nil {
		return nil, &problem{what: "the node cannot be started", why: err.Error(), err: err}
	}
	if o.local == nil {
		n.setLocal(func(string) (*tls.Config, error) { return nil, errors.New("nobody can connect to this node") })
	} else if err := n.certify(p, s, o.local); err != nil {
		return nil, err
	}
	n.db, err = store.Open(ctx, storeIn(p, s.Node.Store), store.Options{})
	if err != nil {
		return nil, &problem{
			what: "the node's accounts and messages cannot be opened", why: err.Error(), err: err,
			hint: "`domain = \"\"` under [node] runs the gateway without it",
		}
	}
	n.server, err = server.New(ctx, server.Config{
		Domains: []string{n.domain},
		TLS:     func(domain string) (*tls.Config, error) { return (*n.local.Load())(domain) },
		Store:   n.db,
		Modules: standard.Modules(n.db, nodeModules(s, o.shutdown)),
		Secret:  secret,
		Limits:  nodeLimits(s),

		AllowPlain: s.Node.Plain,
		NoBinding:  !s.Node.Binding,

		Log: o.log,
	})
	if err == nil {
		err = n.admins(ctx, s.Node.Admins)
	}
	if err != nil {
		n.close(ctx)
		return nil, &problem{what: "the node cannot be started", why: err.Error(), err: err}
	}
	return n, nil
}

// storeIn is the store's address with its file in the state folder.
func storeIn(p paths, dsn string) string {
	file, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok || file == ":memory:" || filepath.IsAbs(file) {
		return dsn
	}
	return "sqlite:" + filepath.Join(p.state, file)
}

// nodeModules is what the configuration says of the modules.
func nodeModules(s *settings, shutdown func()) standard.Options {
	n := s.Node
	// Whoever had one of these names would be an administrator from the next start on.
	reserved := registration.ReservedNames()
	for _, a := range n.Admins {
		reserved = append(reserved, a.Local)
	}
	return standard.Options{
		Registration: registration.Options{
			Mode: map[string]registration.Mode{
				"closed": registration.Closed, "invite": registration.ByInvite, "open": registration.Open,
			}[n.Registration],
			Names: registration.Names{Reserved: reserved},
		},
		Shutdown: shutdown,
		Software: n.Software, Contacts: n.Contacts,
		ArchiveDefault: archive.Choice(n.Archive), ArchiveRetention: n.ArchiveTime,
		Offline: offline.Limits{Messages: n.OfflineMessages},
		Roster:  roster.Limits{Items: n.RosterItems},
	}
}

// nodeLimits is what one client may cost; what one stanza may is the same for the
// gateway's clients.
func nodeLimits(s *settings) server.Limits {
	l := server.DefaultLimits()
	l.PreAuth.Bytes, l.Session.Bytes = s.Limits.PreAuthBytes, s.Limits.StanzaBytes
	l.Negotiation = s.Limits.PreAuth
	l.Sessions = s.Node.Sessions
	return l
}

// nodeSecret is what makes names without an account look like others: kept, so that
// it does so after a restart as well.
func nodeSecret(p paths) ([]byte, error) {
	file := filepath.Join(p.state, "node-secret")
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	if err := ownfile.Create(file, secret); !errors.Is(err, fs.ErrExist) {
		return secret, err
	}
	secret, err := ownfile.Read(file, ownfile.NoAccess, 1<<10)
	if err == nil && len(secret) < 32 {
		err = fmt.Errorf("%s is damaged: remove it, and another is made", file)
	}
	return secret, err
}

// admins marks the accounts that the configuration names.
func (n *node) admins(ctx context.Context, list []address.Address) error {
	for _, a := range list {
		if err := n.db.SetAdmin(ctx, a, true); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// close ends the server and closes the store.
func (n *node) close(ctx context.Context) {
	if n == nil {
		return
	}
	if n.server != nil {
		_ = n.server.Shutdown(ctx)
	}
	if n.db != nil {
		_ = n.db.Close()
	}
}

// shelfNode is the node's service on the shelf, which it makes where there is none:
// its key is what the domain "onion" stands for, published or not.
func shelfNode(shelf *onion.Shelf, s *settings) (onion.Entry, error) {
	const what = "the node has no onion service"
	e, err := shelf.Get(nodeService)
	switch {
	case errors.Is(err, onion.ErrNoService):
		e, err = shelf.Create(onion.Service{
			Name: nodeService, Ports: nodePorts(), Disabled: !s.Node.Publish, CircuitID: s.Tor.Mode != "system",
		}, nil)
	case err != nil:
	case e.Disabled && len(e.Ports) == 1 && e.Ports[0].Target == keyOnlyTarget: // only its key was brought
		e, err = shelf.Update(nodeService, func(service *onion.Service) error {
			service.Ports, service.Disabled = nodePorts(), !s.Node.Publish
			return nil
		})
	case !leadsToNode(e.Service):
		return e, &problem{
			what: what,
			why:  fmt.Sprintf("the onion service %q leads to another server", nodeService),
			hint: "publish that one under another name (`xmpp-gw onion key export`, `onion unpublish --forget-key`, `onion publish NAME --key FILE`), or leave `domain` and `publish` under [node] out",
		}
	case s.Node.Publish && e.Disabled:
		e, err = shelf.Update(nodeService, func(service *onion.Service) error {
			service.Disabled = false
			return nil
		})
	}
	if err != nil {
		return e, &problem{what: what, why: err.Error(), err: err}
	}
	return e, nil
}

// nodePorts are the ports of the node's onion service.
func nodePorts() []onion.Port {
	return []onion.Port{{Virtual: 5222, Target: onion.TargetNode}, {Virtual: 5223, Target: onion.TargetNodeTLS}}
}

// leadsToNode reports whether a port of a service leads to the node.
func leadsToNode(s onion.Service) bool {
	for _, p := range s.Ports {
		if _, ok := nodeTarget(p.Target); ok {
			return true
		}
	}
	return false
}

// nodeTarget reads a target that is the node.
func nodeTarget(target string) (server.ListenerKind, bool) {
	switch target {
	case onion.TargetNode:
		return server.STARTTLS, true
	case onion.TargetNodeTLS:
		return server.DirectTLS, true
	}
	return server.ListenerUnset, false
}

// serveOnion serves the clients of an onion service. Nobody between them and here
// can listen, and the address proves the node.
func (n *node) serveOnion(g *forward.Gate, kind server.ListenerKind) {
	for {
		conn, err := g.Accept()
		if err != nil {
			return
		}
		o := server.ConnOptions{Kind: kind, Private: true, TLS: n.public}
		if circuit, ok := conn.(*forward.Conn).Circuit(); ok {
			o.Peer = "circuit " + strconv.FormatUint(uint64(circuit), 10)
		}
		go n.server.ServeConn(context.Background(), conn, o)
	}
}

// listen serves a listener of the node's own.
func (n *node) listen(l net.Listener, kind string, log *slog.Logger) {
	speaks := server.STARTTLS
	if kind == kindNodeDirectTLS {
		speaks = server.DirectTLS
	}
	go func() {
		if err := n.server.Serve(l, speaks); !errors.Is(err, server.ErrClosed) && !errors.Is(err, net.ErrClosed) {
			log.Error("a listener ended", "kind", kind, "err", err)
		}
	}()
}

// status is what the control socket tells; nil for no node.
func (n *node) status() *control.Node {
	if n == nil {
		return nil
	}
	c := n.server.Counts()
	return &control.Node{Domain: n.domain, Connections: c.Connections, Sessions: c.Sessions, Waiting: c.Waiting}
}

// nodeText is the same for a person.
func nodeText(n control.Node) string {
	text := fmt.Sprintf("serves %s, %d clients logged in", n.Domain, n.Sessions)
	if n.Waiting > 0 {
		text += fmt.Sprintf(" (%d of them away for the moment)", n.Waiting)
	}
	return text
}

// hostedDomain is nodeDomain for a command that changes nothing: "" where the
// domain is an onion address that was not made yet.
func hostedDomain(p paths, s *settings) string {
	if s.Node.Domain != config.OnionDomain {
		return s.Node.Domain
	}
	if _, err := os.Stat(p.onions()); err != nil {
		return ""
	}
	shelf, err := onion.OpenShelf(p.onions())
	if err != nil {
		return ""
	}
	e, err := shelf.Get(nodeService)
	if err != nil || !leadsToNode(e.Service) {
		return ""
	}
	return e.Address
}

// sameNode reports whether both sets of settings start the same node.
func (s *settings) sameNode(other *settings) bool {
	a, b := s.Node, other.Node
	a.C2S, a.C2STLS, b.C2S, b.C2STLS = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

// fitsNode refuses a reload that only another start could do.
func (s *settings) fitsNode(n *node) error {
	if n == nil && len(s.Node.C2S)+len(s.Node.C2STLS) > 0 {
		return &problem{what: "the node has listeners and does not run", why: "it was switched off when xmpp-gw started", hint: "start xmpp-gw again"}
	}
	return nil
}

// othersReachNode reports whether the node's domain is one that others can use.
func (s *settings) othersReachNode() bool {
	d := s.Node.Domain
	return d != "" && d != "localhost" && !strings.HasSuffix(d, ".localhost")
}

// isNodeDomain reports whether a service's address is the node's domain.
func (s *onionShelf) isNodeDomain(name string) bool {
	if name != nodeService || s.settings().Node.Domain != config.OnionDomain {
		return false
	}
	e, err := s.services.Get(name)
	return err == nil && leadsToNode(e.Service)
}

// nodeStays refuses to take the node's service away while the configuration says
// that it is there.
func (s *onionShelf) nodeStays(name string, forgetKey bool) error {
	const what = "the onion service stays as it is"
	switch {
	case name != nodeService:
	case forgetKey && s.isNodeDomain(name):
		return &control.Error{What: what, Why: "its address is the domain of the node's accounts", Hint: "set another domain under [node] first"}
	case s.settings().Node.Publish:
		return &control.Error{What: what, Why: "the configuration says publish = true under [node]", Hint: "set publish = false there and start xmpp-gw again"}
	}
	return nil
}

// notForOthers says why the node is not to be published, nil where it can be.
func (n *node) notForOthers() error {
	switch {
	case n == nil:
		return errors.New("there is no node; set domain = \"onion\" under [node]")
	case n.domain == "localhost" || strings.HasSuffix(n.domain, ".localhost"):
		return fmt.Errorf("the node's domain is %s, where nobody else can have an account; set domain = \"onion\" under [node] and start xmpp-gw again, or unpublish it (`xmpp-gw onion unpublish`)", n.domain)
	}
	return nil
}

// Hosts implements [proxy.Local].
func (n *node) Hosts(domain string) bool { return n.server.Hosts(domain) }

// Serve implements [proxy.Local].
func (n *node) Serve(ctx context.Context, conn net.Conn, c proxy.LocalClient) {
	o := server.ConnOptions{Kind: server.STARTTLS, Greeting: c.Greeting, Private: c.Plaintext}
	if c.Kind == proxy.DirectTLS {
		o.Kind = server.DirectTLS
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		o.Peer = a.IP.String()
	}
	_ = n.server.ServeConn(ctx, conn, o) // what went wrong is in its log
}
