package service

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// Listener is a listening socket that the service manager handed over.
type Listener struct {
	Name string // the unit's FileDescriptorName=
	net.Listener
}

// Listeners takes over the sockets of socket activation, in their order; none
// is no error. Each must be a listening stream socket with one of the names. It
// takes the variables out of the environment, so that no child believes the
// sockets to be its own, and must be called once.
func Listeners(names ...string) ([]Listener, error) {
	files := activation.Files(true)
	defer func() {
		for _, f := range files {
			f.Close() // a net.Listener has a descriptor of its own
		}
	}()
	var all []Listener
	for _, f := range files {
		l, err := open(f.Name(), names, func() (net.Listener, error) { return net.FileListener(f) })
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
		all = append(all, Listener{f.Name(), l})
	}
	return all, nil
}

func open(name string, names []string, listen func() (net.Listener, error)) (net.Listener, error) {
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("socket activation hands over a socket named %q; set FileDescriptorName= in the socket unit to one of %s",
			name, strings.Join(names, ", "))
	}
	l, err := listen()
	if err != nil {
		return nil, fmt.Errorf("socket activation: the socket named %q is no listening stream socket (ListenStream= and Accept=no make one): %w", name, err)
	}
	return l, nil
}
