package onion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// The usual places of a system's Tor: Debian's sockets and the default TCP
// ports. (Tor Browser's ports are no daemon's: they go with its window.)
func usualSOCKS() []string   { return []string{"unix:/run/tor/socks", "127.0.0.1:9050"} }
func usualControl() []string { return []string{"unix:/run/tor/control", "127.0.0.1:9051"} }

// probeBudget bounds a look at one place. All are on this machine.
const probeBudget = 3 * time.Second

// startSystem finds the system's Tor. Where its control port lets us in, it is
// seen into the network as a managed one is.
func startSystem(ctx context.Context, o Options) (*Tor, error) {
	socks, err := findSOCKS(ctx, o)
	if err != nil {
		return nil, err
	}
	return attachSystem(ctx, o, socks)
}

// findSOCKS finds where the system's Tor takes connections.
func findSOCKS(ctx context.Context, o Options) (string, error) {
	places, owned := o.SystemSOCKS, func(string) error { return nil }
	if len(places) == 0 {
		places, owned = usualSOCKS(), systemOwned
	}
	var tried []string
	for _, addr := range places {
		err := owned(addr)
		if err == nil {
			err = probe(ctx, addr)
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil {
			return addr, nil
		}
		tried = append(tried, addr+": "+err.Error())
	}
	return "", fmt.Errorf("%w (%s): start it with \"sudo systemctl start tor\" (package \"tor\"), or set tor.mode to \"managed\"",
		ErrNoSystemTor, strings.Join(tried, "; "))
}

func attachSystem(ctx context.Context, o Options, socks string) (*Tor, error) {
	t := newTor(o)
	t.socks = socks
	t.control, t.refused = findControl(ctx, o, socks)
	if t.control == nil {
		o.Log.Debug("the system's tor does not let us see its circuits", "why", t.refused)
		return t, nil
	}
	t.publisher = &systemPublisher{addr: t.control.Addr()}
	if err := t.inspect(ctx, o); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// inspect asks a system's Tor for its version and sees it into the network.
func (t *Tor) inspect(ctx context.Context, o Options) error {
	s, err := t.control.Info(ctx, "version")
	if err != nil {
		return err
	}
	if t.version, err = ParseVersion(s); err != nil {
		return err
	}
	if t.version.Less(MinVersion()) {
		return &VersionError{t.version, t.control.addr}
	}
	events, err := t.control.Events(ctx, "STATUS_CLIENT", "STATUS_GENERAL")
	if err != nil {
		return err
	}
	defer events.Close()
	return bootstrap(ctx, t.control, events, o)
}

// lose says that a system's Tor, or its connection to us, is gone.
func (t *Tor) lose(err error) {
	t.mu.Lock()
	t.lost = fmt.Errorf("the system's tor ended or closed its control port (%w)", err)
	t.mu.Unlock()
	t.finish.Do(func() { close(t.done) })
}

// findControl finds the control port of the Tor that listens at socks, or says
// why there is none. A control port of another Tor would show other people's
// circuits.
func findControl(ctx context.Context, o Options, socks string) (_ *Control, refused string) {
	places := o.SystemControl
	if len(places) == 0 {
		places = usualControl()
	}
	ctx, cancel := context.WithTimeout(ctx, probeBudget)
	defer cancel()
	var tried []string
	for _, addr := range places {
		c, err := DialControl(ctx, addr)
		if err != nil {
			tried = append(tried, addr+": "+err.Error())
			continue
		}
		listeners, err := c.Info(ctx, "net/listeners/socks")
		if err == nil {
			for _, f := range fields(listeners) {
				if f.val == socks {
					return c, ""
				}
			}
		}
		c.Close()
		tried = append(tried, addr+": it belongs to another tor than the one at "+socks)
	}
	return nil, strings.Join(tried, "; ")
}

// noControl is ErrNoControl and what was found where the port should be.
func (t *Tor) noControl() error {
	if t.refused == "" {
		return ErrNoControl
	}
	return fmt.Errorf("%w (%s)", ErrNoControl, t.refused)
}

// probe reports whether a Tor answers at addr: it asks Tor's own extension
// RESOLVE (socks-extensions.txt §2) for an address that is its own answer.
// Tor gives it without touching the network, before its start is over too, and
// any other SOCKS server refuses the command. The address goes as a name, since
// a Tor with SafeSocks refuses numbers.
func probe(ctx context.Context, addr string) error {
	const host = "192.0.2.1" // RFC 5737: belongs to nobody
	ctx, cancel := context.WithTimeout(ctx, probeBudget)
	defer cancel()
	network, address := splitAddr(addr)
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return errors.New("nothing listens")
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	// RFC 1928 §3: one method, no authentication.
	if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
		return errors.New("no SOCKS server")
	}
	var method [2]byte
	if _, err := io.ReadFull(conn, method[:]); err != nil || method != [2]byte{5, 0} {
		return errors.New("no SOCKS server")
	}
	const resolve, byName, ipv4 = 0xF0, 3, 1
	ask := append([]byte{5, resolve, 0, byName, byte(len(host))}, host...)
	if _, err := conn.Write(append(ask, 0, 0)); err != nil {
		return errors.New("a SOCKS server, but no Tor")
	}
	var reply [8]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil || reply != [8]byte{5, 0, 0, ipv4, 192, 0, 2, 1} {
		return errors.New("a SOCKS server, but no Tor")
	}
	return nil
}
