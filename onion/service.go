package onion

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Port is a port of an onion service.
type Port struct {
	Virtual int    `json:"port"`   // what clients connect to
	Target  string `json:"target"` // where that goes: "127.0.0.1:5222", "unix:/path", or one of the names below
}

// Targets that are no address: the XMPP server in the process that publishes. Tor
// must be given an address in their place ([Entry.Publications]).
const (
	TargetNode    = "node"     // that begins with a stream header
	TargetNodeTLS = "node:tls" // that begins with TLS
)

// ParsePort reads "5222" (the target is the same port of this machine),
// "5222=127.0.0.1:15222" or "5222=unix:/path".
func ParsePort(s string) (Port, error) {
	virtual, target, ok := strings.Cut(s, "=")
	n, err := strconv.Atoi(virtual)
	if err != nil {
		return Port{}, fmt.Errorf("%q is no port of an onion service: write PORT or PORT=TARGET, such as 5222=127.0.0.1:5222", printable(s))
	}
	if !ok {
		target = net.JoinHostPort("127.0.0.1", virtual)
	}
	p := Port{n, target}
	return p, p.check()
}

// String is p as ParsePort reads it.
func (p Port) String() string { return fmt.Sprintf("%d=%s", p.Virtual, p.Target) }

func (p Port) check() error {
	if p.Virtual < 1 || p.Virtual > 65535 {
		return fmt.Errorf("%d is no port number (1 to 65535)", p.Virtual)
	}
	return checkTarget(p.Target)
}

// checkTarget refuses a target that would have to be looked up: Tor, or the
// gateway, would ask the machine's resolver for it.
func checkTarget(target string) error {
	if strings.ContainsFunc(target, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("a target must not have control characters")
	}
	if target == TargetNode || target == TargetNodeTLS {
		return nil
	}
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("the target %q must be an absolute path", target)
		}
		return nil
	}
	at, err := netip.ParseAddrPort(target)
	if err != nil {
		return fmt.Errorf("%q is no target: write IP:PORT (an address, no name: names are not looked up) or unix:/path", target)
	}
	if at.Port() == 0 {
		return fmt.Errorf("the target %q has no port", target)
	}
	return nil
}

// PoW is Tor's proof-of-work defence: under attack, clients that computed more
// are served first.
type PoW struct {
	Enabled bool `json:"enabled,omitempty"`
	Rate    int  `json:"rate,omitempty"`  // requests a second that are let in; 0: Tor's default (250)
	Burst   int  `json:"burst,omitempty"` // and how many at once; 0: Tor's default (2500)
}

// Service is one onion service as it is kept in service.json.
type Service struct {
	Name     string `json:"name"`
	Ports    []Port `json:"ports"`
	Disabled bool   `json:"disabled,omitempty"` // kept, not published

	// Proxy is the PROXY protocol header that the target gets: "", "v1" or "v2".
	// CircuitID makes Tor tell which circuit a connection came by.
	Proxy     string `json:"proxy,omitempty"`
	CircuitID bool   `json:"circuit_id,omitempty"`

	PoW         PoW `json:"pow,omitzero"`
	IntroPoints int `json:"intro_points,omitempty"` // 0: Tor's default (3); at most 20
	// MaxStreams is how many connections one circuit may have open; whoever
	// wants more loses the circuit. 0: no limit.
	MaxStreams int `json:"max_streams,omitempty"`

	// SingleHop gives up the service's anonymity for speed: Tor connects to the
	// relays directly, and they see this machine's address. It cannot be changed.
	SingleHop bool `json:"single_hop,omitempty"`
	// Backend is the address of the OnionBalance frontend that this service
	// answers for; empty: none.
	Backend string `json:"backend,omitempty"`

	Created  time.Time  `json:"created"`
	Previous []Previous `json:"previous,omitempty"`
}

// Previous is an address that a service had before it was rotated, and that
// still leads to it.
type Previous struct {
	Address string    `json:"address"`
	Until   time.Time `json:"until"`
}

// Limits of Tor's.
const (
	maxIntroPoints = 20
	maxStreams     = 65535
)

// Check reports the first thing that is wrong with s.
func (s *Service) Check() error {
	if err := checkName("service", s.Name); err != nil {
		return err
	}
	if len(s.Ports) == 0 {
		return errors.New("an onion service needs at least one port")
	}
	for i, p := range s.Ports {
		if err := p.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Ports[:i], func(q Port) bool { return q.Virtual == p.Virtual }) {
			return fmt.Errorf("port %d is given twice", p.Virtual)
		}
	}
	switch {
	case s.Proxy != "" && s.Proxy != "v1" && s.Proxy != "v2":
		return fmt.Errorf("%q is no version of the PROXY protocol (v1 or v2)", printable(s.Proxy))
	case s.Proxy != "" && !s.CircuitID:
		return errors.New("a PROXY header (proxy) needs circuit ids, as there is nothing else to say in it: set circuit_id, or leave proxy empty")
	case s.PoW.Rate < 0 || s.PoW.Burst < 0:
		return errors.New("rate and burst of the proof-of-work defence cannot be negative")
	case s.IntroPoints < 0 || s.IntroPoints > maxIntroPoints:
		return fmt.Errorf("an onion service has 1 to %d introduction points, not %d", maxIntroPoints, s.IntroPoints)
	case s.MaxStreams < 0 || s.MaxStreams > maxStreams:
		return fmt.Errorf("the limit of streams is 1 to %d, not %d", maxStreams, s.MaxStreams)
	case s.Backend != "" && s.SingleHop:
		return errors.New("a service behind OnionBalance cannot be single-hop")
	}
	if s.Backend != "" {
		if _, err := CheckAddress(s.Backend); err != nil {
			return fmt.Errorf("the OnionBalance frontend: %w", err)
		}
	}
	return nil
}

// checkName accepts what is safe as a file's name everywhere.
func checkName(what, s string) error {
	ok := len(s) >= 1 && len(s) <= 32 && s[0] != '-'
	for _, r := range s {
		ok = ok && (r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z')
	}
	if !ok {
		return fmt.Errorf("%q is no name for a %s: up to 32 of the letters a to z, digits and \"-\" (not in front)", printable(s), what)
	}
	return nil
}
