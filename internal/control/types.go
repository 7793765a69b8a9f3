// Package control is the way into a running daemon: HTTP with JSON bodies over
// a unix socket that only its owner (and root) may use. `xmpp-gw status` and
// other commands speak it, and so may a script:
//
//	curl --unix-socket "$XDG_RUNTIME_DIR/xmpp-gw/control.sock" http://xmpp-gw/v1/status
//
// The daemon's side is [Listen] and [Serve]; the other is [Client]. The types of
// this file are the wire format, which docs/control.md describes: fields are
// added to it, never renamed or given another meaning, within /v1.
//
// The answers name the domains, endpoints and circuits of the owner's sessions.
// They hold no stanza, a JID only where the node's accounts were asked for, and a
// secret only where one was: an onion service's key, a new client's, an invitation,
// an export.
package control

import "time"

// Status is the answer to GET /v1/status.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// State is "starting" until the listeners are open, then "ready", and
	// "draining" from the first request to stop.
	State string `json:"state"`
	// Config is the configuration file, empty for the built-in defaults, and
	// ConfigLoaded the time of the last load that succeeded.
	Config       string    `json:"config"`
	ConfigLoaded time.Time `json:"config_loaded"`
	// ConfigError says why the last reload was refused; the configuration from
	// before it is in force.
	ConfigError string     `json:"config_error,omitempty"`
	Tor         Tor        `json:"tor"`
	Listeners   []Listener `json:"listeners"`
	Sessions    Counts     `json:"sessions"`
	// Node is the bundled server, absent where there is none.
	Node *Node `json:"node,omitempty"`
}

// Node is the bundled server's state.
type Node struct {
	Domain string `json:"domain"` // whose accounts live there
	// Connections are those that are open, logged in or not; Sessions the clients
	// that are logged in, of which Waiting have lost their connection and may come
	// back (XEP-0198).
	Connections int `json:"connections"`
	Sessions    int `json:"sessions"`
	Waiting     int `json:"waiting"`
}

// The states of the daemon and of Tor.
const (
	StateOff      = "off"
	StateStarting = "starting"
	StateReady    = "ready"
	StateDraining = "draining"
	StateFailed   = "failed"
)

// Tor is what the daemon knows of its Tor.
type Tor struct {
	// State is "off" (the configuration uses none), "starting", "ready" or
	// "failed".
	State string `json:"state"`
	// Managed tells a tor that the daemon started from the system's own.
	Managed bool   `json:"managed"`
	Version string `json:"version,omitempty"`
	// Bootstrap is in percent, and Doing Tor's own words for the present step.
	Bootstrap int    `json:"bootstrap"`
	Doing     string `json:"doing,omitempty"`
	// SOCKS is where it takes connections, "unix:/PATH" or "IP:PORT", once it is
	// ready: commands of the owner go out by it.
	SOCKS string `json:"socks,omitempty"`
	// Error and Hint are set when State is "failed".
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// Listener is one place where the daemon accepts connections.
type Listener struct {
	Kind    string `json:"kind"`    // "c2s", "c2s-tls", "node-c2s", "node-c2s-tls" or "metrics"
	Address string `json:"address"` // HOST:PORT or unix:PATH
}

// Counts says how many sessions there are, and were since the daemon started.
type Counts struct {
	Open  int    `json:"open"`
	Total uint64 `json:"total"`
}

// Session is one element of the answer to GET /v1/sessions. Fields that are not
// known yet, in the state the session is in, are empty.
type Session struct {
	ID      string    `json:"id"`
	Started time.Time `json:"started"`
	// Age is in whole seconds.
	Age int64 `json:"age_seconds"`
	// State is "opening", "login", "connecting" or "online".
	State  string `json:"state"`
	Domain string `json:"domain,omitempty"`
	// ClientTLS is the TLS version of the client leg, "none" without.
	ClientTLS string `json:"client_tls,omitempty"`
	// Route is as in the configuration, or "node" for a session of the bundled server,
	// which is all that is told of one.
	Route string `json:"route,omitempty"`
	// Endpoint is where the upstream leg ends: starttls://HOST:PORT or
	// tls://HOST:PORT.
	Endpoint string `json:"endpoint,omitempty"`
	Circuit  string `json:"circuit,omitempty"`
	// Relays are those of the circuit, nearest first; only where they were asked
	// for.
	Relays []string `json:"relays,omitempty"`
	TLS    TLS      `json:"tls"`
	SASL   SASL     `json:"sasl"`
	// Up is what went from the client to the server, in bytes and stanzas, and
	// Down the other way.
	Up   Flow `json:"up"`
	Down Flow `json:"down"`
	// Warnings are sentences for the owner: what was let pass that could be
	// better.
	Warnings []string `json:"warnings,omitempty"`
}

// TLS is the upstream leg's encryption.
type TLS struct {
	Version string `json:"version,omitempty"` // "TLS 1.3"
	Group   string `json:"group,omitempty"`   // key exchange, "X25519MLKEM768"
	Cipher  string `json:"cipher,omitempty"`
	// Identity is what proved that the far end is the domain's server.
	Identity string `json:"identity,omitempty"`
	// Logs is what public logs say of the certificate (sct), and Witness what a second
	// look at its key over another circuit saw (witness): each in a few words, or why
	// nobody asked.
	Logs    string `json:"logs,omitempty"`
	Witness string `json:"witness,omitempty"`
}

// SASL is the upstream leg's authentication.
type SASL struct {
	Mode      string `json:"mode,omitempty"` // "originate", "relay" or "passthrough"
	Mechanism string `json:"mechanism,omitempty"`
	Binding   string `json:"binding,omitempty"` // channel binding type, RFC 5056
}

// Flow counts one direction of a session.
type Flow struct {
	Bytes   uint64 `json:"bytes"`
	Stanzas uint64 `json:"stanzas"`
}

// Error is the body of every answer that is not a success, under the key
// "error": what happened, why, and what to do.
type Error struct {
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	Hint string `json:"hint,omitempty"`
}

// Error is the what and the why in one line.
func (e *Error) Error() string {
	if e.Why == "" {
		return e.What
	}
	return e.What + ": " + e.Why
}
