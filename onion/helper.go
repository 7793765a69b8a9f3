package onion

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// helper is a program that speaks pluggable transports for Tor.
type helper struct {
	transports []string
	programs   []string // names that it goes by
	install    string   // how to get it
}

// helpers are the programs that are known, each with the transports that all its
// versions speak.
func helpers() []helper {
	return []helper{
		{[]string{"obfs4", "meek_lite"}, []string{"lyrebird", "obfs4proxy"}, `install it with "sudo apt-get install obfs4proxy" (newer systems: "lyrebird")`},
		{[]string{"snowflake"}, []string{"snowflake-client"}, `install it with "sudo apt-get install snowflake-client"`},
		{[]string{"webtunnel"}, []string{"webtunnel-client"}, `Debian has the package "webtunnel-client" in newer releases alone; elsewhere build it from https://gitlab.torproject.org/tpo/anti-censorship/pluggable-transports/webtunnel and put it into /usr/local/bin`},
	}
}

// helperFor is the helper for a transport, or nil.
func helperFor(transport string) *helper {
	for _, h := range helpers() {
		if slices.Contains(h.transports, transport) {
			return &h
		}
	}
	return nil
}

// helperDirs is where helpers are when PATH does not have them: Debian's
// directories and those of a Tor Browser that is installed for all.
func helperDirs() []string {
	return []string{"/usr/bin", "/usr/local/bin", "/usr/lib/tor", "/usr/libexec/tor", "/usr/local/libexec/tor", "/opt/homebrew/bin"}
}

// HelperError says that a bridge's transport has no program.
type HelperError struct {
	Transport string
	Programs  []string // any of which would do
	Install   string   // how to get one
}

func (e *HelperError) Error() string {
	return fmt.Sprintf("the configuration has a bridge of the kind %s, but its program (%s) is not installed: %s", e.Transport, strings.Join(e.Programs, " or "), e.Install)
}

// findHelper finds the program for a transport on PATH and in dirs.
func findHelper(transport string, dirs []string) (string, error) {
	h := helperFor(transport)
	if h == nil {
		return "", fmt.Errorf("the transport %q is not known", transport)
	}
	for _, program := range h.programs {
		names := []string{program}
		for _, dir := range dirs {
			names = append(names, filepath.Join(dir, program))
		}
		for _, name := range names {
			path, err := exec.LookPath(name)
			if err != nil {
				continue
			}
			// torrc has no quotes for this program's path.
			if path, err = filepath.Abs(path); err == nil && !strings.ContainsAny(path, " \t\"") {
				return path, nil
			}
		}
	}
	return "", &HelperError{transport, h.programs, h.install}
}

// bridgeLines are the torrc lines for these bridges; empty for none.
func bridgeLines(bridges, dirs []string) (string, error) {
	if len(bridges) == 0 {
		return "", nil
	}
	var b strings.Builder
	b.WriteString("UseBridges 1\n")
	started := make(map[string]bool)
	for i, line := range bridges {
		bridge, err := ParseBridge(line)
		if err != nil {
			return "", fmt.Errorf("bridge %d: %w", i+1, err)
		}
		if t := bridge.transport; t != "" && !started[t] {
			program, err := findHelper(t, dirs)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "ClientTransportPlugin %s exec %s\n", t, program)
			started[t] = true
		}
		fmt.Fprintf(&b, "Bridge %s\n", bridge.line)
	}
	return b.String(), nil
}
