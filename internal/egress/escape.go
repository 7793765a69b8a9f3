package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/proxy"

	"xmpp-gw/policy"
)

// The rest of this package goes by routes. What follows tries to get past them, for
// `xmpp-gw check --egress` alone: what is sent is meant to be stopped by the sandbox
// that this program runs in. So that it tells nobody anything where it is not:
//
//   - packets go to addresses that nobody has (RFC 5737, RFC 3849), and their hop
//     limit is one (on Linux), so that the first router throws them away;
//   - the system's resolver is asked for the root's name servers, as every resolver
//     asks for them; no name of anybody's is in the question;
//   - a SOCKS proxy is asked for what it should refuse, and for no name.

// Fate is what became of such a try. The zero value is not known.
type Fate uint8

// The fates.
const (
	FateUnknown Fate = iota
	Held             // it was stopped on this machine
	Left             // it left this machine, or could have
)

// escapeTime bounds one try.
const escapeTime = 4 * time.Second

// Escape tries to send something to an address beside every route: "tcp" is a
// request for a connection, "udp" a datagram. how says what stopped it, or how it is
// known that it left.
func Escape(ctx context.Context, network string, to netip.AddrPort) (fate Fate, how string) {
	ctx, cancel := context.WithTimeout(ctx, escapeTime)
	defer cancel()
	if network == "tcp" {
		return escapeTCP(ctx, to)
	}
	return escapeUDP(ctx, to, []byte("?"), oneHop, nil)
}

// oneHop is the hop limit of what is sent to nobody: the first router drops it.
const oneHop = 1

// SystemResolvers are the addresses in a resolv.conf(5), the ones that programs
// without a route of their own ask; without any, and without the file, that is one on
// this machine.
func SystemResolvers(file string) ([]netip.AddrPort, error) {
	here := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::1]:53")}
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return here, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []netip.AddrPort
	lines := bufio.NewScanner(io.LimitReader(f, 64<<10))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, netip.AddrPortFrom(ip, 53))
		}
	}
	if len(list) == 0 && lines.Err() == nil {
		list = here
	}
	return list, lines.Err()
}

// AskResolver asks a resolver for the name servers of the root. One elsewhere must
// not be reached; one on this machine may be there, and must not know.
func AskResolver(ctx context.Context, resolver netip.AddrPort) (fate Fate, how string) {
	ctx, cancel := context.WithTimeout(ctx, escapeTime)
	defer cancel()
	q := new(dns.Msg).SetQuestion(".", dns.TypeNS)
	question, err := q.Pack()
	if err != nil {
		return FateUnknown, err.Error()
	}
	read := func(answer []byte) (Fate, string) {
		var a dns.Msg
		if err := a.Unpack(answer); err != nil || a.Id != q.Id {
			return FateUnknown, "something that is no answer came back"
		}
		if len(a.Answer) > 0 {
			return Left, "it answered with the root's name servers: what it is asked, it asks others"
		}
		switch {
		case !resolver.Addr().IsLoopback():
			return Left, "it answered " + dns.RcodeToString[a.Rcode]
		case a.Rcode == dns.RcodeRefused || a.Rcode == dns.RcodeNotImplemented:
			return Held, "the resolver on this machine says " + dns.RcodeToString[a.Rcode] + " and asks nobody"
		}
		return FateUnknown, "the resolver on this machine says " + dns.RcodeToString[a.Rcode] + ", and may have asked others before it did"
	}
	return escapeUDP(ctx, resolver, question, 0, read)
}

// The commands of SOCKS5 besides CONNECT (RFC 1928 §4).
const (
	commandBind      = 0x02
	commandAssociate = 0x03
)

// nowhere is an address that nobody has, on a port that XMPP uses.
func nowhere() destination {
	return destination{host: "192.0.2.1", ip: netip.AddrFrom4([4]byte{192, 0, 2, 1}), port: 5222} // RFC 5737
}

// AskProxy asks the SOCKS proxy of a route for what it must refuse: "associate", a
// way for datagrams; "bind", a port at which others can connect; "clearnet", a
// connection to an address that is no onion service, for a proxy that all routes use
// for onion services alone. An error says that the proxy could not be asked.
func (s *Set) AskProxy(ctx context.Context, route policy.Route, what string) (fate Fate, how string, err error) {
	ctx, cancel := context.WithTimeout(ctx, escapeTime)
	defer cancel()
	where, iso, err := s.proxyOf(ctx, route)
	if err != nil {
		return FateUnknown, "", err
	}
	conn, err := where.dial(ctx)
	if err != nil {
		return FateUnknown, "", &Error{Route: route, Kind: ErrHopDown, What: "the proxy cannot be reached", Why: reason(err), Err: err}
	}
	defer conn.Close()
	if err := guarded(ctx, conn, func() error { return greet(conn, iso) }); err != nil {
		return FateUnknown, "", &Error{Route: route, Kind: ErrProxy, What: "the proxy does not take us", Why: reason(err), Err: err}
	}
	command := map[string]byte{"associate": commandAssociate, "bind": commandBind, "clearnet": commandConnect}[what]
	err = guarded(ctx, conn, func() error { return request(conn, command, nowhere()) })
	var code replyCode
	switch {
	case err == nil:
		return Left, "the proxy agreed", nil
	case errors.As(err, &code) && (code == 0x02 || code == 0x07):
		return Held, "the proxy refuses it (SOCKS code " + strings.TrimPrefix(code.Error(), "SOCKS reply ") + ")", nil
	case command != commandConnect && (errors.As(err, &code) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return Held, "the proxy did not do it (" + reason(err) + ")", nil
	case command == commandConnect && (errors.As(err, &code) || ctx.Err() != nil):
		return Left, "the proxy did not refuse, and tried to connect", nil
	}
	return FateUnknown, "what the proxy does is not known: " + reason(err), nil
}

// proxyOf is where the proxy of a route is, and how to log in there: by a pair that
// no account has.
func (s *Set) proxyOf(ctx context.Context, route policy.Route) (local, Isolation, error) {
	iso := new(Isolator).For("egress")
	switch {
	case s == nil:
	case route.ViaTor() && s.tor != nil:
		addr, err := s.tor(ctx)
		if err != nil {
			return local{}, iso, err
		}
		where, err := parseLocal(addr)
		return where, iso, err
	case route.Kind == policy.RouteSOCKS && s.hops[route.Name] != nil:
		h := s.hops[route.Name]
		return h.where, loginOf(h.auth), nil
	}
	return local{}, iso, refuse(route, "it has no proxy", "")
}

// loginOf is the login that the configuration has for a hop, or none.
func loginOf(auth *proxy.Auth) Isolation {
	if auth == nil {
		return Isolation{}
	}
	return Isolation{User: auth.User, Password: auth.Password}
}

// stopped is what the error of a system call means for a try. Only what says that
// there is no way, or that it is forbidden, stopped it; a program that has no more
// descriptors or memory was not stopped by anybody.
func stopped(err error, to netip.AddrPort) (Fate, string) {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return Held, "this machine forbids it (" + err.Error() + ")"
	case errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EPROTONOSUPPORT):
		return Held, "this program may not open such a socket (" + err.Error() + ")"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return Held, "no network path leads there"
	case errors.Is(err, syscall.ENETDOWN):
		return Held, "the network is down"
	case errors.Is(err, syscall.EINVAL) && !to.Addr().IsLinkLocalUnicast(): // of those it may be the interface that is not named
		return Held, "the network path there ends on this machine"
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return FateUnknown, "it could not be tried: " + err.Error()
}
