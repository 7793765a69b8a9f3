package onion

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrNoCircuit says that no circuit carries a stream for that SOCKS user.
var ErrNoCircuit = errors.New("no Tor circuit belongs to this session (yet, or any more)")

// ErrNoControl says that the control port of the system's Tor is closed, or
// closed to this user: no circuits are seen, and no onion services published.
var ErrNoControl = errors.New("tor's control port is not open to this program: set \"ControlPort unix:/run/tor/control\" and CookieAuthentication 1 in its torrc and add this program's user to its group, or let the gateway run a tor of its own (tor.mode \"managed\")")

// Circuit is one path through the Tor network. What it prints tells how many
// relays there are, not which: their names would help whoever reads a log to
// find the person.
type Circuit struct {
	ID      string `json:"id"`      // Tor's number for it
	Purpose string `json:"purpose"` // such as "general", "conflux_linked", "hs_client_rend"
	Hops    int    `json:"hops"`    // relays that this side chose; an onion service adds its own
	Streams int    `json:"streams"` // connections open on it

	relays []string
}

// Relays names the circuit's relays, nearest first, as "name FINGERPRINT", for an
// owner who asked to see them.
func (c Circuit) Relays() []string { return c.relays }

// String tells id, purpose and length.
func (c Circuit) String() string {
	return fmt.Sprintf("%s (%s, %d hops)", c.ID, c.Purpose, c.Hops)
}

// GoString is String: no way of printing names the relays.
func (c Circuit) GoString() string { return c.String() }

// Circuit is the circuit whose streams came with the given SOCKS user name,
// which is how the gateway keeps sessions apart. With several, it is the one
// that carries most streams, and the newest of these.
func (t *Tor) Circuit(ctx context.Context, socksUser string) (Circuit, error) {
	all, err := t.Circuits(ctx)
	if err != nil {
		return Circuit{}, err
	}
	c, ok := all[socksUser]
	if !ok || socksUser == "" {
		return Circuit{}, ErrNoCircuit
	}
	return c, nil
}

// Circuits is what [Tor.Circuit] would answer for every SOCKS user, in one go.
func (t *Tor) Circuits(ctx context.Context) (map[string]Circuit, error) {
	if t.control == nil {
		return nil, fmt.Errorf("circuits cannot be shown: %w", t.noControl())
	}
	circuits, err := t.control.Info(ctx, "circuit-status")
	if err != nil {
		return nil, err
	}
	streams, err := t.control.Info(ctx, "stream-status")
	if err != nil {
		return nil, err
	}
	return byUser(parseCircuits(circuits), parseStreams(streams)), nil
}

// circuitLine is a built circuit of a reply and the SOCKS user it serves. The
// circuits of one conflux set carry the same streams over several paths; Tor
// names the user at one of them only.
type circuitLine struct {
	Circuit
	user    string
	conflux string // the set's id; empty: a circuit by itself
}

// parseCircuits reads the value of circuit-status (control-spec §4.1.1: id,
// status, path, then keywords). Circuits that are not built are left out.
func parseCircuits(reply string) []circuitLine {
	var out []circuitLine
	for line := range strings.Lines(reply) {
		fs := fields(line)
		if len(fs) < 3 || fs[0].key != "" || fs[1] != (field{"", "BUILT"}) || fs[2].key != "" {
			continue
		}
		c := circuitLine{user: lookup(fs, "SOCKS_USERNAME"), conflux: lookup(fs, "CONFLUX_ID")}
		c.ID = printable(fs[0].val)
		c.Purpose = printable(strings.ToLower(lookup(fs, "PURPOSE")))
		for relay := range strings.SplitSeq(fs[2].val, ",") {
			c.relays = append(c.relays, relayName(relay))
		}
		c.Hops = len(c.relays)
		out = append(out, c)
	}
	return out
}

// relayName is "name FINGERPRINT" for the "$FINGERPRINT~name" of Tor
// (control-spec §2.4, LongName).
func relayName(relay string) string {
	fingerprint, name := relay, ""
	if i := strings.IndexAny(relay, "~="); i >= 0 {
		fingerprint, name = relay[:i], relay[i+1:]
	}
	return printable(strings.TrimSpace(name + " " + strings.TrimPrefix(fingerprint, "$")))
}

// parseStreams reads the value of stream-status (control-spec §4.1.2: stream
// id, status, circuit id, target) and counts the open streams of each circuit.
func parseStreams(reply string) map[string]int {
	n := make(map[string]int)
	for line := range strings.Lines(reply) {
		fs := fields(line)
		if len(fs) >= 3 && fs[1].val == "SUCCEEDED" && fs[2].val != "0" {
			n[fs[2].val]++
		}
	}
	return n
}

// byUser picks each SOCKS user's circuit: the one with most streams; of equals
// the later in Tor's list, which is the newer. The streams of a conflux set
// count for its circuit that has the user's name.
func byUser(circuits []circuitLine, streams map[string]int) map[string]Circuit {
	sets := make(map[string]int)
	for _, c := range circuits {
		sets[c.conflux] += streams[c.ID]
	}
	out := make(map[string]Circuit)
	for _, c := range circuits {
		if c.user == "" {
			continue
		}
		c.Streams = streams[c.ID]
		if c.conflux != "" {
			c.Streams = sets[c.conflux]
		}
		if old, ok := out[c.user]; !ok || c.Streams >= old.Streams {
			out[c.user] = c.Circuit
		}
	}
	return out
}
