package onion

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxSocketPath is the longest path that a unix socket can have on all systems:
// sun_path has 104 bytes on macOS and the BSDs (108 on Linux), one for the end.
const maxSocketPath = 103

// layout is where a managed Tor's files are.
type layout struct {
	data    string // DataDirectory
	sockets string // a private directory for the two sockets
	temp    bool   // sockets was made for this run alone
}

func (l layout) socks() string   { return filepath.Join(l.sockets, "socks") }
func (l layout) control() string { return filepath.Join(l.sockets, "control") }
func (l layout) torrc() string   { return filepath.Join(l.data, "torrc") }
func (l layout) nothing() string { return filepath.Join(l.data, "torrc-defaults") }

// newLayout makes the directories.
func newLayout(o Options) (layout, error) {
	if o.DataDir == "" {
		return layout{}, errors.New("a managed tor needs a data directory")
	}
	data, err := filepath.Abs(o.DataDir)
	if err != nil {
		return layout{}, err
	}
	l := layout{data: data, sockets: filepath.Join(data, "sockets")}
	if o.RuntimeDir != "" {
		run, err := filepath.Abs(o.RuntimeDir)
		if err != nil {
			return layout{}, err
		}
		l.sockets = filepath.Join(run, "tor")
	}
	if err := privateDir(l.data); err != nil {
		return layout{}, err
	}
	if len(l.control()) > maxSocketPath {
		if l.sockets, err = os.MkdirTemp("", "xmpp-gw-tor-"); err != nil {
			return layout{}, err
		}
		l.temp = true
		if len(l.control()) > maxSocketPath {
			os.Remove(l.sockets)
			return layout{}, fmt.Errorf("the paths of %s and of the temporary directory are both too long for a unix socket (%d bytes at most): set TMPDIR to a shorter one", o.DataDir, maxSocketPath)
		}
		return l, nil
	}
	return l, privateDir(l.sockets)
}

// privateDir makes dir, or closes the existing one to everybody else: tor
// refuses a socket in a directory that others can enter.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// clean removes the sockets.
func (l layout) clean() {
	os.Remove(l.socks())
	os.Remove(l.control())
	if l.temp {
		os.Remove(l.sockets)
	}
}

// write writes the configuration: the extra file's lines first, since of an
// option given twice tor takes the last.
func (l layout) write(extraFile string, owner int) error {
	var b strings.Builder
	if extraFile != "" {
		extra, err := os.ReadFile(extraFile)
		if err != nil {
			return fmt.Errorf("the extra torrc: %w", err)
		}
		b.Write(extra)
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "DataDirectory %s\n", torQuote(l.data))
	// The flags keep sessions apart and tell why a connection failed. No other
	// SocksPort or ControlPort: nothing listens on TCP.
	fmt.Fprintf(&b, "SocksPort unix:%s IsolateSOCKSAuth ExtendedErrors\n", torQuote(l.socks()))
	fmt.Fprintf(&b, "ControlPort unix:%s\n", torQuote(l.control()))
	b.WriteString("CookieAuthentication 1\n")
	b.WriteString("ClientOnly 1\n") // no relay; onion services are not touched by it
	b.WriteString("AvoidDiskWrites 1\n")
	b.WriteString("SafeLogging 1\n")
	b.WriteString("Log notice stdout\n")
	b.WriteString("RunAsDaemon 0\n")
	// With TAKEOWNERSHIP, the second safeguard against an orphan: tor looks
	// every 15 s whether this process still lives.
	fmt.Fprintf(&b, "__OwningControllerProcess %d\n", owner)
	if err := os.WriteFile(l.nothing(), nil, 0o600); err != nil {
		return err
	}
	return os.WriteFile(l.torrc(), []byte(b.String()), 0o600)
}

// torQuote is s as a quoted value of a torrc.
func torQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
