// Package resolve finds out where a domain's XMPP server is, by DNS over a
// connection that it is handed. It never asks the machine's resolver and never
// dials by itself, so every query goes by the route that policy decided:
//
//	servers, err := resolve.ParseServers(config.DNS.Servers)
//	client := resolve.New(servers, dialer, nil)
//	endpoints, err := resolve.Discover(ctx, client, domain, resolve.Options{Onion: route.ViaTor()})
//
// [Client] speaks DNS over TCP (RFC 7766) and over TLS (RFC 7858) to several
// servers in turn. [Discover] is the search of RFC 6120 §3.2 with XEP-0368, and
// [Secure] the same with DNSSEC, and with TLSA records (RFC 7673).
//
// Two outcomes are kept apart throughout: "there is no such record" is an
// answer, "nobody could say" is an error. Only the first leads to a fallback.
package resolve

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/proxy"

	"xmpp-gw/policy"
)

// Server is a DNS server to ask. The zero value is refused.
type Server struct {
	TLS  bool   // DNS over TLS (RFC 7858); otherwise plain TCP
	Host string // an IP address, or an onion address
	Port uint16
	Name string // with TLS: the name its certificate must have; empty: Host
}

// ParseServer reads tls://HOST[:PORT][#NAME] or tcp://HOST[:PORT] (ports 853
// and 53 when left out). HOST is an IP address or an onion address: another
// name would have to be looked up before the first lookup.
func ParseServer(s string) (Server, error) {
	bad := func(why string) (Server, error) {
		return Server{}, errors.New("dns server " + strconv.Quote(s) + ": " + why + ` (write "tls://9.9.9.9:853#dns.quad9.net" or "tcp://127.0.0.1:53")`)
	}
	scheme, rest, _ := strings.Cut(s, "://")
	srv := Server{}
	switch scheme {
	case "tls":
		srv.TLS, srv.Port = true, 853
	case "tcp":
		srv.Port = 53
	default:
		return bad("it begins with neither tls:// nor tcp://")
	}
	rest, name, named := strings.Cut(rest, "#")
	if named && !srv.TLS {
		return bad("a name after # needs tls://, plain DNS proves no name")
	}
	if named {
		ascii, err := ToASCII(name)
		if err != nil {
			return bad("the name after # is no host name")
		}
		srv.Name = ascii
	}
	srv.Host = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
	if host, port, err := net.SplitHostPort(rest); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return bad("the port is not a number from 1 to 65535")
		}
		srv.Host, srv.Port = host, uint16(n)
	}
	if ip, err := netip.ParseAddr(srv.Host); err == nil {
		srv.Host = ip.String()
	} else if !policy.IsOnion(srv.Host) {
		return bad("the host is neither an IP address nor an onion address")
	}
	return srv, nil
}

// ParseServers reads a list, and tells all mistakes at once.
func ParseServers(list []string) ([]Server, error) {
	var servers []Server
	var errs []error
	for _, s := range list {
		srv, err := ParseServer(s)
		errs = append(errs, err)
		servers = append(servers, srv)
	}
	return servers, errors.Join(errs...)
}

// Address is HOST:PORT.
func (s Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// String is the configuration's spelling of s.
func (s Server) String() string {
	if !s.TLS {
		return "tcp://" + s.Address()
	}
	if s.Name == "" {
		return "tls://" + s.Address()
	}
	return "tls://" + s.Address() + "#" + s.Name
}

// DefaultTimeout is what one server gets for one question, connection included,
// before the next is asked. It allows for a new Tor circuit.
const DefaultTimeout = 20 * time.Second

// Client asks DNS servers. It is safe for concurrent use, and questions that
// are asked at the same time share one connection (RFC 7766 §6.2.1); none is
// kept when no question is open, so there is nothing to close. The zero value
// answers with an error.
type Client struct {
	// Timeout is for one server and one question; zero means DefaultTimeout.
	// It may be changed until the first question.
	Timeout time.Duration

	servers []Server
	dial    proxy.ContextDialer
	roots   *x509.CertPool
	last    *atomic.Int32 // index of the server that answered last; shared by Over

	mu    sync.Mutex
	pipes map[int]*pipe // open connections by server
}

// New returns a client that asks servers in turn through dial, the one that
// answered last first. TLS servers are verified against roots (nil: those of
// the system).
func New(servers []Server, dial proxy.ContextDialer, roots *x509.CertPool) *Client {
	return &Client{servers: servers, dial: dial, roots: roots, last: new(atomic.Int32), pipes: map[int]*pipe{}}
}

// Over returns a client for the same servers through another dialer, such as
// one of another Tor isolation. The two share only the memory of which server
// answered last.
func (c *Client) Over(dial proxy.ContextDialer) *Client {
	o := New(c.servers, dial, c.roots)
	o.Timeout = c.Timeout
	if c.last != nil {
		o.last = c.last
	}
	return o
}

// SRV gives the SRV records of name, the best priorities first and at most
// MaxRecords of them. No records and no error means that there are none.
func (c *Client) SRV(ctx context.Context, name string) ([]SRV, error) {
	name, err := queryName(name)
	if err != nil {
		return nil, err
	}
	answer, err := c.ask(ctx, name, typeSRV)
	if err != nil {
		return nil, err
	}
	return srvRecords(answer), nil
}

// Addrs gives the addresses of host, IPv6 first and at most MaxRecords of each
// family. A host without any is ErrNoName. Its signature is that of
// egress.Lookup.
func (c *Client) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	return lookupAddrs(host, func(name string, qtype uint16) ([]netip.Addr, error) {
		answer, err := c.ask(ctx, name, qtype)
		return addressRecords(answer), err
	})
}

// lookupAddrs asks for the addresses of both families at once.
func lookupAddrs(host string, ask func(name string, qtype uint16) ([]netip.Addr, error)) ([]netip.Addr, error) {
	host, err := ToASCII(host)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	name, err := queryName(host)
	if err != nil {
		return nil, err
	}
	type result struct {
		ips []netip.Addr
		err error
	}
	query := func(qtype uint16) <-chan result {
		ch := make(chan result, 1)
		go func() {
			ips, err := ask(name, qtype)
			ch <- result{ips, err}
		}()
		return ch
	}
	ch6, ch4 := query(typeAAAA), query(typeA)
	r6, r4 := <-ch6, <-ch4
	ips := append(r6.ips, r4.ips...)
	switch {
	case len(ips) > 0:
		return ips, nil
	case r4.err != nil:
		return nil, r4.err
	case r6.err != nil:
		return nil, r6.err
	}
	return nil, &Error{Kind: ErrNoName, What: "the host cannot be found", Why: "DNS says that its name has no address",
		Hint: "check the spelling of the domain"}
}

// queryName makes the absolute name that DNS is asked for. Names that are not
// DNS's to know are refused: .onion (RFC 7686 §2) and localhost (RFC 6761 §6.3).
func queryName(name string) (string, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if policy.IsOnion(name) || isLocalhost(name) {
		return "", notForDNS()
	}
	if !validHost(name) {
		return "", &Error{Kind: ErrRefused, What: "no DNS query made", Why: "that is not a host name",
			Hint: "check the spelling of the domain"}
	}
	return name + ".", nil
}

func notForDNS() *Error {
	return &Error{Kind: ErrRefused, What: "no DNS query made", Why: "names under .onion and localhost are never asked in DNS"}
}
