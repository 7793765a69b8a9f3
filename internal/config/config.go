// Package config reads the gateway's TOML file: where it is, what it may say,
// and what is wrong with it.
//
//	c, err := config.Load(config.Find(flag))   // every mistake at once, with its line
//	decision, err := c.Rules.Decide(target)
//	config.Explain(decision, err).WriteText(os.Stdout)
//
// One table of keys (keys.go) serves loading, validation and the annotated
// default file that [Describe] gives, so that the three cannot disagree. No file
// at all means the defaults of that table.
//
// A section [domain."example.org"] is for that domain and those under it. Of the
// sections that fit a domain the longest is laid over [default]; the shorter ones
// have no say. Everything in it goes with it, an onion address and a certificate
// too.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xmpp-gw/policy"
)

// BuiltIn is the source of settings that no file gives.
const BuiltIn = "built-in default"

// Config is everything the configuration says, defaults filled in.
type Config struct {
	File     string   // "" where there is none
	Warnings []string // what works but should not stay so

	Listen Listen
	Tor    Tor
	DNS    DNS
	CT     CT
	Limits Limits
	SOCKS  map[string]*url.URL // the hops of the socks:NAME routes
	Rules  policy.Rules
	Onion  Onion
	Node   Node

	lines map[string]int // where each key of the file stands
}

// MistakeAt is a mistake that the caller found in the value of a key, such as
// MistakeAt(err, "tor", "bridges").
func (c *Config) MistakeAt(err error, key ...string) Mistake {
	return Mistake{File: c.File, Line: c.lines[join(key...)], What: presentable(wrap(key[len(key)-1], err).Error())}
}

// Source is where a key of a section stands, such as Source("listen", "client_tls"):
// FILE:LINE, or [BuiltIn] where no line gives it.
func (c *Config) Source(key ...string) string {
	if line := c.lines[join(key...)]; line > 0 {
		return fmt.Sprintf("%s:%d", c.File, line)
	}
	return BuiltIn
}

// Listen says where clients connect.
type Listen struct {
	C2S            []string // STARTTLS: HOST:PORT or unix:PATH
	C2STLS         []string // direct TLS, likewise
	ClientTLS      string   // "required", or "optional" on loopback and unix sockets
	MaxConnections int
	Metrics        string // HOST:PORT; "" is none
	MetricsPublic  bool
}

// Tor says which Tor to use.
type Tor struct {
	Mode    string   // auto, managed, system, off
	SOCKS   []string // where the system's Tor may be: HOST:PORT or unix:PATH
	Control string   // its control port, likewise; "" is none
	Torrc   string   // a file whose lines a managed Tor takes as well
	Bridges []string // lines that onion.ParseBridge reads; whoever loads them checks them
}

// Onion says what the clients of a published onion service may cost (0 is no
// bound), and what is known of other people's.
type Onion struct {
	CircuitConnections int // at a time, of one circuit
	CircuitPerMinute   int // new ones in a minute, of one circuit

	ClientKeys string // a folder with .auth_private files of Tor's; "" is none
}

// DNS says who is asked for names, over the decided route.
type DNS struct {
	Servers []string // tls://IP:PORT#NAME or tcp://IP:PORT
	CA      string   // PEM file of one more root for tls servers

	TrustAnchors string // a file that dnssec.ParseAnchors reads; "" is the root's own keys
}

// CT says whose word counts for certificates.
type CT struct {
	Logs string // a log list file; "" is the one built in
}

// Limits bounds what clients may cost and how long silence may last.
type Limits struct {
	PreAuthBytes int
	StanzaBytes  int
	PreAuth      time.Duration
	IdlePing     time.Duration
}

// Find gives the file to load: flag if it is set, else the first that exists of
// $XDG_CONFIG_HOME/xmpp-gw/config.toml and /etc/xmpp-gw/config.toml, else "".
func Find(flag string) string {
	if flag != "" {
		return flag
	}
	for _, file := range []string{UserFile(), "/etc/xmpp-gw/config.toml"} {
		if _, err := os.Stat(file); file != "" && (err == nil || !errors.Is(err, fs.ErrNotExist)) {
			return file
		}
	}
	return ""
}

// UserFile is the place of a user's own configuration, "" where the system does
// not say.
func UserFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "xmpp-gw", "config.toml")
}

// Default is the configuration without a file.
func Default() *Config {
	c, err := Parse("", nil)
	if err != nil {
		panic("config: the built-in defaults are wrong: " + err.Error()) // a test loads them
	}
	return c
}

// Load reads file, or gives the defaults for "". The error is of type [Errors]
// where the file could be read.
func Load(file string) (*Config, error) {
	if file == "" {
		return Default(), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	c, err := Parse(file, text)
	if err != nil {
		return nil, err
	}
	c.Warnings = c.warnings()
	return c, nil
}

// Mistake is one thing wrong with a file.
type Mistake struct {
	File string
	Line int
	What string
	Hint string
}

func (m Mistake) Error() string {
	s := fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.What)
	if m.Hint != "" {
		s += " (" + m.Hint + ")"
	}
	return s
}

// Errors is every mistake of a file, in the order of its lines.
type Errors []Mistake

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}
