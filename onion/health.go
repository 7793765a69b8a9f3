package onion

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Health is what a Tor says of itself: whether it can be trusted with what it is
// used for. Nothing of it names a relay.
type Health struct {
	SOCKS   string
	Version string
	// Status is what the directory authorities say of that version: "recommended",
	// "new", "new in series", "obsolete", "unrecommended", "none recommended" or
	// "unknown" (control-spec §3.9, status/version/current).
	Status       string
	Bootstrapped int // percent
	// Isolated: streams with other SOCKS credentials get other circuits.
	Isolated bool
	// Open are the listeners of it, but for a relay's own, to which other machines
	// can connect.
	Open []string
	// ValidAfter and ValidUntil are those of the consensus it has; zero where it has
	// none (dir-spec §3.4.1).
	ValidAfter, ValidUntil time.Time
}

// Health asks t over its control port. Without one the error is [ErrNoControl],
// and only SOCKS and Version are set.
func (t *Tor) Health(ctx context.Context) (Health, error) {
	h := Health{SOCKS: t.socks, Version: t.version.String()}
	if t.control == nil {
		return h, t.noControl()
	}
	return t.control.health(ctx, t.socks)
}

// SystemHealth looks for the system's Tor where [Start] does, and asks it. The
// errors are [ErrNoSystemTor], and [ErrNoControl] where it does not let us in: then
// only SOCKS is set. Nothing is started or waited for.
func SystemHealth(ctx context.Context, o Options) (Health, error) {
	socks, err := findSOCKS(ctx, o)
	if err != nil {
		return Health{}, err
	}
	c, refused := findControl(ctx, o, socks)
	if c == nil {
		return Health{SOCKS: socks}, fmt.Errorf("%w (%s)", ErrNoControl, refused)
	}
	defer c.Close()
	return c.health(ctx, socks)
}

// listenerKinds are those of tor's ports that are for this machine (control-spec
// §3.9, net/listeners).
func listenerKinds() []string {
	return []string{"socks", "control", "dns", "trans", "natd", "httptunnel"}
}

// health asks for all of it. A key that an older tor does not know is left out.
func (c *Control) health(ctx context.Context, socks string) (Health, error) {
	h := Health{SOCKS: socks}
	var err error
	if h.Version, err = c.Info(ctx, "version"); err != nil {
		return h, err
	}
	h.Version, _, _ = strings.Cut(h.Version, " ")
	if h.Status, err = c.Info(ctx, "status/version/current"); err != nil {
		return h, err
	}
	phase, err := c.Info(ctx, "status/bootstrap-phase")
	if err != nil {
		return h, err
	}
	if p, ok := parseBootstrap(phase); ok {
		h.Bootstrapped = p.Percent
	}
	lines, err := c.Request(ctx, "GETCONF SocksPort")
	if err != nil {
		return h, err
	}
	h.Isolated = isolates(lines, socks)
	for _, kind := range listenerKinds() {
		list, err := c.Info(ctx, "net/listeners/"+kind)
		if err != nil {
			continue
		}
		for _, f := range fields(list) {
			if reachable(f.val) {
				h.Open = append(h.Open, kind+" "+printable(f.val))
			}
		}
	}
	h.ValidAfter = c.timeOf(ctx, "consensus/valid-after")
	h.ValidUntil = c.timeOf(ctx, "consensus/valid-until")
	return h, nil
}

// timeOf is a time in UTC that tor tells, zero where it has none.
func (c *Control) timeOf(ctx context.Context, key string) time.Time {
	text, err := c.Info(ctx, key)
	if err != nil {
		return time.Time{}
	}
	at, _ := time.Parse(time.DateTime, strings.Trim(strings.TrimSpace(text), `"`))
	return at
}

// isolates reports whether the SocksPort at socks keeps credentials apart: it does
// unless its line says otherwise (tor(1), IsolateSOCKSAuth). Lines that may be that
// port's count as its.
func isolates(lines []string, socks string) bool {
	return !slices.ContainsFunc(lines, func(line string) bool {
		value, _ := strings.CutPrefix(line, "SocksPort=")
		words := strings.Fields(value)
		off := slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, "NoIsolateSOCKSAuth") })
		return off && mayBeAt(words[0], socks)
	})
}

// mayBeAt compares a SocksPort as torrc writes it with an address of ours.
func mayBeAt(port, socks string) bool {
	port = strings.ReplaceAll(port, `"`, "")
	if port == socks || port == "auto" {
		return true
	}
	if strings.HasPrefix(port, "unix:") || strings.HasPrefix(socks, "unix:") {
		return false
	}
	_, at, err := net.SplitHostPort(socks)
	if err != nil {
		return true
	}
	if i := strings.LastIndexByte(port, ':'); i >= 0 {
		port = port[i+1:]
	}
	return port == at || port == "auto"
}

// reachable reports whether other machines can connect to a listener.
func reachable(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if strings.HasPrefix(addr, "unix:") || err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}
