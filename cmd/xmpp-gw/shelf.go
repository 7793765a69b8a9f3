package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
)

// onionShelf does on disk what is asked about onion services. It is the same for
// a command that works while no daemon runs and for the daemon, which then makes
// it so in the network (publisher).
type onionShelf struct {
	services *onion.Shelf
	auths    *onion.ClientKeys
	settings func() *settings

	sockets   []string                  // of ours that are in no configuration, "unix:PATH"
	listening func() []control.Listener // where the daemon listens; nil: none runs
}

// openShelf opens the folders in the state directory.
func openShelf(p paths, settings func() *settings) (*onionShelf, error) {
	services, err := onion.OpenShelf(p.onions())
	if err != nil {
		return nil, fmt.Errorf("open the folder of onion services: %w", err)
	}
	auths, err := onion.OpenClientKeys(filepath.Join(p.state, "onion-auth"))
	if err != nil {
		return nil, fmt.Errorf("open the folder of keys for other people's onion services: %w", err)
	}
	sockets := []string{"unix:" + p.control(), "unix:" + systemControl}
	return &onionShelf{services: services, auths: auths, settings: settings, sockets: sockets}, nil
}

var _ control.Onions = (*onionShelf)(nil)

// notPublished is what is asked of a service while no daemon runs.
const notPublished = "`xmpp-gw run` publishes it"

// describeOnion is a service as the shelf knows it.
func describeOnion(e onion.Entry) control.Onion {
	o := control.Onion{
		Name: e.Name, Address: e.Address, State: control.OnionWaiting, Hint: notPublished,
		Ports: []control.OnionPort{}, Clients: append([]string{}, e.Clients...), Restricted: e.Restricted,
		Proxy: e.Proxy, CircuitID: e.CircuitID, PoW: e.PoW.Enabled, PoWRate: e.PoW.Rate, PoWBurst: e.PoW.Burst,
		IntroPoints: e.IntroPoints, MaxStreams: e.MaxStreams, SingleHop: e.SingleHop, Backend: e.Backend,
		Created: e.Created, Previous: []control.PreviousOnion{},
	}
	for _, p := range e.Ports {
		o.Ports = append(o.Ports, control.OnionPort{Port: p.Virtual, Target: p.Target})
	}
	for _, p := range e.Previous {
		o.Previous = append(o.Previous, control.PreviousOnion{Address: p.Address, Until: p.Until})
	}
	switch {
	case e.Err != nil:
		o.State, o.Error, o.Hint = control.OnionFailed, e.Err.Error(), ""
	case e.Disabled:
		o.State, o.Hint = control.OnionUnpublished, "`xmpp-gw onion publish "+e.Name+"` publishes it again, at the same address"
	}
	return o
}

// Onions is part of [control.Onions].
func (s *onionShelf) Onions(context.Context) ([]control.Onion, error) {
	all, err := s.services.List()
	if err != nil {
		return nil, refusal("the onion services cannot be listed", err)
	}
	list := make([]control.Onion, len(all))
	for i, e := range all {
		list[i] = describeOnion(e)
	}
	return list, nil
}

// Onion is part of [control.Onions].
func (s *onionShelf) Onion(_ context.Context, name string) (control.Onion, error) {
	e, err := s.services.Get(name)
	if err != nil {
		return control.Onion{}, refusal("the onion service cannot be shown", err)
	}
	return describeOnion(e), nil
}

// Publish is part of [control.Onions].
func (s *onionShelf) Publish(_ context.Context, p control.Publication) (control.Onion, error) {
	const what = "the onion service is not published"
	now := s.settings()
	if now.Tor.Mode == "off" && !p.KeyOnly {
		return control.Onion{}, &control.Error{What: what, Why: "tor is switched off in the configuration", Hint: "set mode = \"auto\" under [tor]"}
	}
	e, err := s.services.Get(p.Name)
	switch {
	case errors.Is(err, onion.ErrNoService):
		e, err = s.create(p, now)
	case err != nil:
	case len(p.Key) > 0 || p.KeyOnly:
		err = onion.ErrServiceExists
	default:
		e, err = s.services.Update(p.Name, func(service *onion.Service) error {
			service.Disabled = false
			return s.lay(service, p)
		})
	}
	if err != nil {
		return control.Onion{}, refusal(what, err)
	}
	return describeOnion(e), nil
}

// keyOnlyTarget is the target of a service of which there is only a key. It is this
// gateway's own, so that the service is not published before it has another.
const keyOnlyTarget = "127.0.0.1:5222"

// create puts a new service on the shelf.
func (s *onionShelf) create(p control.Publication, now *settings) (onion.Entry, error) {
	// Only a tor of our own can tell circuits apart.
	service := onion.Service{Name: p.Name, Disabled: p.KeyOnly, CircuitID: now.Tor.Mode != "system"}
	if len(p.Ports) == 0 && !p.KeyOnly && now.othersReachNode() {
		for _, port := range nodePorts() {
			p.Ports = append(p.Ports, control.OnionPort{Port: port.Virtual, Target: port.Target})
		}
	}
	if p.KeyOnly && len(p.Ports) == 0 {
		p.Ports = []control.OnionPort{{Port: 5222, Target: keyOnlyTarget}}
	}
	if len(p.Ports) == 0 {
		return onion.Entry{}, &control.Error{
			What: "nothing says what the onion service leads to",
			Hint: "name the server with --target, such as --target 127.0.0.1:15222, or ports one by one with --port 5269=127.0.0.1:5269; " +
				"the bundled server is published with publish = true under [node]",
		}
	}
	if err := s.lay(&service, p); err != nil {
		return onion.Entry{}, err
	}
	var key *onion.Key
	if len(p.Key) > 0 {
		var err error
		if key, err = onion.ParseKey(p.Key); err != nil {
			return onion.Entry{}, err
		}
	}
	return s.services.Create(service, key)
}

// lay lays what p says over the settings of a service.
func (s *onionShelf) lay(service *onion.Service, p control.Publication) error {
	if len(p.Ports) > 0 {
		service.Ports = nil
		for _, port := range p.Ports {
			service.Ports = append(service.Ports, onion.Port{Virtual: port.Port, Target: port.Target})
		}
	}
	for _, port := range service.Ports {
		if _, ok := nodeTarget(port.Target); ok && !service.Disabled && !s.settings().othersReachNode() {
			return &control.Error{
				What: "the onion service is not published",
				Why:  "it leads to the node, where nobody else can have an account as long as its domain is \"localhost\", or none",
				Hint: "set publish = true under [node] and start xmpp-gw again",
			}
		}
		if err := s.notOurselves(port.Target); err != nil && !service.Disabled {
			return err
		}
	}
	over(&service.Proxy, p.Proxy)
	over(&service.CircuitID, p.CircuitID)
	over(&service.PoW.Enabled, p.PoW)
	over(&service.PoW.Rate, p.PoWRate)
	over(&service.PoW.Burst, p.PoWBurst)
	over(&service.IntroPoints, p.IntroPoints)
	over(&service.MaxStreams, p.MaxStreams)
	over(&service.SingleHop, p.SingleHop)
	over(&service.Backend, p.Backend)
	if service.Proxy != "" && !service.CircuitID {
		return &control.Error{
			What: "a PROXY header without circuit numbers would say nothing",
			Hint: "leave --proxy out, or publish with --circuit-id (a tor that xmpp-gw runs itself, mode = \"managed\", gives them)",
		}
	}
	return nil
}

func over[T any](to *T, with *T) {
	if with != nil {
		*to = *with
	}
}

// Unpublish is part of [control.Onions].
func (s *onionShelf) Unpublish(_ context.Context, name string, forgetKey bool) error {
	err := s.nodeStays(name, forgetKey)
	if err != nil {
		return err
	}
	if forgetKey {
		err = s.services.Remove(name)
	} else {
		_, err = s.services.Update(name, func(service *onion.Service) error {
			service.Disabled = true
			return nil
		})
	}
	return refusal("the onion service stays as it is", err)
}

// Rotate is part of [control.Onions].
func (s *onionShelf) Rotate(_ context.Context, name string, overlap time.Duration) (control.Onion, error) {
	if s.isNodeDomain(name) {
		return control.Onion{}, &control.Error{
			What: "the onion service keeps its address", Why: "the accounts of the node are at this address, and would all have another one",
			Hint: "give the node a domain of your own under [node] first",
		}
	}
	e, err := s.services.Rotate(name, overlap)
	if err != nil {
		return control.Onion{}, refusal("the onion service keeps its address", err)
	}
	return describeOnion(e), nil
}

// Key is part of [control.Onions].
func (s *onionShelf) Key(_ context.Context, name string) ([]byte, error) {
	key, err := s.services.Key(name)
	if err != nil {
		return nil, refusal("the key cannot be read", err)
	}
	return key.Marshal(), nil
}

// AddClient is part of [control.Onions].
func (s *onionShelf) AddClient(_ context.Context, name, client string) (control.OnionClient, error) {
	key, err := s.services.AddClient(name, client)
	if err != nil {
		return control.OnionClient{}, refusal("the client is not let in", err)
	}
	return control.OnionClient{Name: client, Address: key.Address(), Private: key.Line()}, nil
}

// RemoveClient is part of [control.Onions].
func (s *onionShelf) RemoveClient(_ context.Context, name, client string) error {
	return refusal("the client is not removed", s.services.RemoveClient(name, client))
}

// Open is part of [control.Onions].
func (s *onionShelf) Open(_ context.Context, name string) error {
	return refusal("the onion service stays closed", s.services.Open(name))
}

// Auths is part of [control.Onions].
func (s *onionShelf) Auths(context.Context) ([]string, error) {
	keys, err := s.auths.List()
	if err != nil {
		return nil, refusal("the keys for other people's onion services cannot be read", err)
	}
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.Address()
	}
	return list, nil
}

// AddAuth is part of [control.Onions].
func (s *onionShelf) AddAuth(_ context.Context, line string) (string, error) {
	address, err := s.auths.Add(line)
	return address, refusal("the key is not kept", err)
}

// RemoveAuth is part of [control.Onions].
func (s *onionShelf) RemoveAuth(_ context.Context, address string) error {
	return refusal("no key is removed", s.auths.Remove(address))
}

// refusal is err as the control socket tells it; nil for nil.
func refusal(what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e
	}
	e := &control.Error{What: what, Why: err.Error()}
	switch {
	case errors.Is(err, onion.ErrNoService):
		e.Why, e.Hint = "there is no onion service of that name", "`xmpp-gw onion list` shows all"
	case errors.Is(err, onion.ErrServiceExists):
		e.Why, e.Hint = "there is one of that name, which has a key already", "take another name"
	case errors.Is(err, onion.ErrNoClient):
		e.Hint = "`xmpp-gw onion client list NAME` shows those that it has"
	case errors.Is(err, onion.ErrNoClientKey):
		e.Hint = "`xmpp-gw onion auth list` shows those that are kept"
	default:
		// The sentences of onion end in what to do.
		if why, hint, ok := strings.Cut(e.Why, "; "); ok {
			e.Why, e.Hint = why, hint
		}
	}
	return e
}
