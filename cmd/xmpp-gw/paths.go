package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"xmpp-gw/internal/ownfile"
)

// paths says where the daemon keeps what it keeps. An explicit state directory
// is one of an instance of its own, with its control socket in it; else the
// places are those of the service manager, and else of the person's session.
type paths struct {
	state   string // keys, pins, the CA
	runtime string // sockets
}

// findPaths chooses the places; flag is --state-dir and may be empty.
func findPaths(flag string, env func(string) string) (paths, error) {
	if flag != "" {
		dir, err := filepath.Abs(flag)
		return paths{dir, dir}, err
	}
	var p paths
	switch {
	case env("STATE_DIRECTORY") != "":
		// Several are parted by colons (systemd.exec(5)); the first is ours.
		p.state, _, _ = strings.Cut(env("STATE_DIRECTORY"), ":")
	case filepath.IsAbs(env("XDG_STATE_HOME")): // a relative one is to be ignored (XDG Base Directory)
		p.state = filepath.Join(env("XDG_STATE_HOME"), "xmpp-gw")
	case env("HOME") != "":
		p.state = filepath.Join(env("HOME"), ".local", "state", "xmpp-gw")
	default:
		return p, &problem{
			what: "there is no place to keep keys and pins",
			why:  "none of HOME, XDG_STATE_HOME and STATE_DIRECTORY is set",
			hint: "name one with --state-dir DIR",
		}
	}
	switch {
	case env("RUNTIME_DIRECTORY") != "":
		p.runtime, _, _ = strings.Cut(env("RUNTIME_DIRECTORY"), ":")
	case filepath.IsAbs(env("XDG_RUNTIME_DIR")):
		p.runtime = filepath.Join(env("XDG_RUNTIME_DIR"), "xmpp-gw")
	default:
		p.runtime = p.state
	}
	return p, nil
}

// check refuses a state directory of another user: what root makes in it, that
// user's daemon could not use.
func (p paths) check() error {
	if _, err := os.Stat(p.state); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := ownfile.Dir(p.state, 0); err != nil {
		why, hint, _ := strings.Cut(err.Error(), "; ")
		return &problem{what: "the state directory cannot be used", why: why, hint: hint, err: err}
	}
	return nil
}

func (p paths) control() string { return filepath.Join(p.runtime, "control.sock") }
func (p paths) ca() string      { return filepath.Join(p.state, "ca") }
func (p paths) onions() string  { return filepath.Join(p.state, "onions") }
func (p paths) pins() string    { return filepath.Join(p.state, "pins") }

// systemControl is the control socket of the service that systemd/ installs.
const systemControl = "/run/xmpp-gw/control.sock"

// findControl is the control socket to ask: one's own daemon's, and where there
// is none, the system service's.
func findControl(flag string, env func(string) string) (string, error) {
	p, err := findPaths(flag, env)
	if err != nil {
		return "", err
	}
	if flag == "" {
		for _, path := range []string{p.control(), systemControl} {
			if _, err := os.Lstat(path); err == nil {
				return path, nil
			}
		}
	}
	return p.control(), nil
}
