package egress

import (
	"context"
	"errors"
	"net"

	"xmpp-gw/policy"
)

// torDialer is the tor and onion-only routes: its own SOCKS5 client, because
// the reply codes tell a person what is wrong and x/net's client hides them.
type torDialer struct {
	route   policy.Route
	socks   func(ctx context.Context) (string, error)
	iso     Isolation
	budgets Budgets
}

const torHint = "start it, or install it with: sudo apt install tor"

// DialContext connects to address through Tor.
func (d *torDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dst, err := parseDestination(d.route, network, address)
	if err != nil {
		return nil, err
	}
	onion := policy.IsOnion(dst.host)
	if d.route.Kind == policy.RouteOnionOnly && !onion {
		return nil, refuse(d.route, "the destination is not an onion address",
			`set onion = "ADDRESS.onion" for this domain, or route = "tor"`)
	}
	budget := d.budgets.Exit
	if onion {
		budget = d.budgets.Onion
	}
	ctx, cancel := context.WithTimeoutCause(ctx, budget, errBudget)
	defer cancel()

	conn, err := d.hello(ctx)
	if err != nil {
		return nil, err
	}
	err = guarded(ctx, conn, func() error { return connect(conn, dst) })
	if err == nil {
		return conn, nil
	}
	conn.Close()
	return nil, d.connectError(ctx, err)
}

// hello reaches Tor's SOCKS port and logs in there.
func (d *torDialer) hello(parent context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(parent, d.budgets.Hello, errBudget)
	defer cancel()

	addr, err := d.socks(parent) // a managed Tor may still be starting, so the whole budget
	if err != nil {
		if parent.Err() != nil {
			return nil, ended(parent, d.route, "Tor is not ready", "wait until it has started, then try again")
		}
		return nil, d.down(err.Error(), err)
	}
	where, err := parseLocal(addr)
	if err != nil {
		return nil, d.down(err.Error(), err)
	}
	conn, err := where.dial(ctx)
	if err == nil {
		if err = guarded(ctx, conn, func() error { return greet(conn, d.iso) }); err == nil {
			return conn, nil
		}
		conn.Close()
	}
	if parent.Err() != nil {
		return nil, ended(parent, d.route, "Tor does not answer", torHint)
	}
	if errors.Is(err, errMethod) {
		return nil, &Error{Route: d.route, Kind: ErrTorDown, Err: err,
			What: "Tor cannot be used", Why: "its SOCKS port takes no username and password, which keep accounts on circuits of their own",
			Hint: "check that the address is Tor's own SOCKS port"}
	}
	return nil, d.down(reason(err), err)
}

// down is the error of a Tor that is not there.
func (d *torDialer) down(why string, err error) *Error {
	return &Error{Route: d.route, Kind: ErrTorDown, What: "Tor is not running", Why: why, Hint: torHint, Err: err}
}

// connectError is the error of a Tor that was there and did not connect.
func (d *torDialer) connectError(ctx context.Context, err error) error {
	var code replyCode
	switch {
	case errors.As(err, &code):
		return replyError(d.route, byte(code))
	case ctx.Err() != nil:
		return ended(ctx, d.route, "no circuit to the destination",
			"check that this machine is online, then try again; the next try takes another path")
	case errors.Is(err, errNotSOCKS):
		return &Error{Route: d.route, Kind: ErrProxy, What: "Tor's answer cannot be read", Why: errNotSOCKS.Error(),
			Hint: "check that the address is Tor's own SOCKS port", Err: err}
	}
	return &Error{Route: d.route, Kind: ErrTorDown, What: "Tor stopped while it made the connection", Why: reason(err),
		Hint: "check that it still runs, then try again", Err: err}
}
