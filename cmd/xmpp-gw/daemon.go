package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/internal/metrics"
	"xmpp-gw/internal/service"
	"xmpp-gw/proxy"
)

// drainTime is how long the sessions may take to close in good order.
const drainTime = 15 * time.Second

// daemon is `xmpp-gw run`: what wire.go puts together, and the state of it. It
// is what the control socket asks.
type daemon struct {
	console *console
	log     *slog.Logger
	started time.Time

	load      func() (*settings, error)
	wiring    *wiring
	gateway   *proxy.Gateway
	node      *node // nil: there is none
	tor       *torKeeper
	listeners *listenerSet
	recorder  *metrics.Recorder

	*publisher  // answers what the control socket asks of onion services
	accountDesk // and of accounts
	*verdicts   // and of the servers that were logged in at

	reloading sync.Mutex // one reload at a time

	mu          sync.Mutex
	state       string
	settings    *settings
	loaded      time.Time
	configError string
	torSaid     control.Tor // what was last printed of Tor
}

// run serves until an event ends it.
func (d *daemon) run(ctl *control.Socket, events <-chan service.Event) {
	ctx, cancel := context.WithCancel(context.Background())
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	defer ctl.Close() // removes the socket
	server := control.Serve(ctl, d, d.log)
	defer server.Close()

	d.setState(control.StateReady)
	service.Ready(d.summary())
	d.welcome(ctx)
	background.Go(func() {
		if err := service.Watchdog(ctx, d.healthy); err != nil {
			d.log.Warn("the service manager's watchdog cannot be served", "err", err)
		}
	})
	torEnded := make(chan struct{})
	background.Go(func() {
		defer close(torEnded)
		d.tor.run(ctx)
	})
	background.Go(func() { d.verdicts.judge(ctx) })
	background.Go(func() {
		d.publisher.run(ctx)
		// Behind an OnionBalance address, who comes while tor still answers
		// would find a closed door here and not try another node.
		<-torEnded
		d.publisher.gates.close()
	})
	if d.current().needsTor() || d.publisher.needsTor() {
		d.tor.want()
	} else {
		d.console.line("tor", "not started, as no rule goes through it and nothing is published")
		d.console.line("ready", "%s", d.pointer())
	}

	for event := range events {
		if event != service.Reload {
			d.drain(events)
			return
		}
		if err := d.Reload(ctx); err != nil {
			d.console.fail(err)
		}
	}
}

// drain ends the sessions in good order, or at once when asked again.
func (d *daemon) drain(events <-chan service.Event) {
	d.setState(control.StateDraining)
	service.Stopping()
	d.console.done()
	if n := len(d.gateway.Sessions(done())); n > 0 {
		d.console.line("stopping", "%d sessions are closing; once more to end at once", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	go func() {
		for {
			select {
			case event := <-events:
				if event != service.Reload {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	var node sync.WaitGroup
	node.Go(func() { d.node.close(ctx) }) // the gateway waits for its clients as well
	if err := d.gateway.Shutdown(ctx); err != nil {
		d.log.Warn("sessions were cut off", "err", err)
	}
	node.Wait()
	if err := d.listeners.Close(); err != nil {
		d.log.Warn("a listener did not close", "err", err)
	}
	d.console.line("stopped", "%d sessions since the start", d.recorder.Accepted())
}

// Reload reads the configuration and the certificates again; see
// [control.Daemon].
func (d *daemon) Reload(context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	service.Reloading()
	defer func() { service.Ready(d.summary()) }()

	next, err := d.prepareReload()
	if err != nil {
		p := explain(err)
		d.mu.Lock()
		d.configError = p.Error()
		d.mu.Unlock()
		d.log.Error("reload refused; the configuration from before stays in force", "err", err)
		return &control.Error{What: "the reload was refused, and all is as before: " + p.what, Why: p.why, Hint: p.hint}
	}
	before := d.current()
	d.mu.Lock()
	d.settings, d.loaded, d.configError = next, time.Now(), ""
	d.mu.Unlock()
	if next.needsTor() {
		d.tor.want()
	}
	d.console.line("reloaded", "%s", next.source())
	d.console.line("listening", "%s", listening(d.listeners.list()))
	d.publisher.changed()
	if w := d.wiring.warning(); w != "" {
		d.console.warn("%s", w)
	}
	if !next.sameTor(before) {
		d.console.warn("what [tor] says now holds from the next start on")
	}
	if !next.sameNode(before) {
		d.console.warn("what [node] says now holds from the next start on, but for its listeners and the certificate's files")
	}
	return nil
}

// prepareReload puts the new settings in force, or changes nothing.
func (d *daemon) prepareReload() (*settings, error) {
	next, err := d.load()
	if err != nil {
		return nil, err
	}
	if err := next.fitsNode(d.node); err != nil {
		return nil, err
	}
	change, err := d.listeners.prepare(next.places())
	if err != nil {
		return nil, err
	}
	live, err := d.wiring.change(next)
	if err != nil {
		change.abandon()
		return nil, err
	}
	if err := d.node.recertify(next); err != nil {
		change.abandon()
		return nil, err
	}
	d.gateway.Reload(live)
	change.apply()
	return next, nil
}

// Status is part of [control.Daemon].
func (d *daemon) Status() control.Status {
	d.mu.Lock()
	s := control.Status{
		State: d.state, Config: d.settings.File, ConfigLoaded: d.loaded, ConfigError: d.configError,
	}
	d.mu.Unlock()
	s.Version, s.PID, s.Started = version, os.Getpid(), d.started
	s.Tor = d.tor.Status()
	s.Listeners = d.listeners.list()
	s.Node = d.node.status()
	s.Sessions = control.Counts{Open: len(d.gateway.Sessions(done())), Total: d.recorder.Accepted()}
	return s
}

// Sessions is part of [control.Daemon].
func (d *daemon) Sessions(ctx context.Context, relays bool) []control.Session {
	infos := d.gateway.Sessions(ctx)
	list := make([]control.Session, len(infos))
	for i, s := range infos {
		list[i] = control.Session{
			ID: s.ID, Started: s.Started, Age: int64(time.Since(s.Started).Seconds()),
			State: s.State, Domain: s.Domain, ClientTLS: s.ClientTLS,
			Route: s.Route, Endpoint: s.Endpoint, Circuit: s.Circuit,
			TLS:      control.TLS{Version: s.TLSVersion, Group: s.Group, Cipher: s.Cipher, Identity: s.Identity, Logs: s.Logs, Witness: s.Witness},
			SASL:     control.SASL{Mode: s.Mode, Mechanism: s.SASL, Binding: s.Binding},
			Up:       control.Flow{Bytes: s.BytesUp, Stanzas: s.StanzasUp},
			Down:     control.Flow{Bytes: s.BytesDown, Stanzas: s.StanzasDown},
			Warnings: s.Warnings,
		}
		if relays && s.Circuit != "" {
			list[i].Relays = d.tor.relays(s.Circuit)
		}
	}
	return list
}

// snapshot is what Prometheus gets.
func (d *daemon) snapshot() metrics.Snapshot {
	s := d.recorder.Snapshot()
	s.Sessions = make(map[metrics.Kind]int)
	for _, info := range d.gateway.Sessions(done()) {
		s.Sessions[metrics.Kind{State: info.State, Route: metrics.RouteKind(info.Route)}]++
	}
	if tor := d.tor.Status(); tor.State != control.StateOff {
		s.Bootstrap = tor.Bootstrap
	}
	return s
}

// healthy passes through every lock that a stuck daemon would hold.
func (d *daemon) healthy() bool {
	return d.Status().State != ""
}

// done is a context that has ended: sessions are listed without asking Tor for
// their circuits.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (d *daemon) setState(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state
}

func (d *daemon) current() *settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settings
}

// summary is the state in a few words, for the service manager.
func (d *daemon) summary() string {
	text := fmt.Sprintf("tor: %s; %d sessions", torText(d.tor.Status()), len(d.gateway.Sessions(done())))
	if published, all := d.publisher.count(); all > 0 {
		text += fmt.Sprintf("; %d of %d onion services published", published, all)
	}
	return text
}

// pointer says where a client is to be pointed.
func (d *daemon) pointer() string {
	list := d.listeners.list()
	for _, kind := range []string{kindSTARTTLS, kindDirectTLS} {
		i := slices.IndexFunc(list, func(l control.Listener) bool { return l.Kind == kind })
		if i < 0 {
			continue
		}
		at := list[i].Address
		for _, loopback := range []string{"127.0.0.1:", "[::1]:"} {
			if port, ok := strings.CutPrefix(at, loopback); ok {
				at = "localhost:" + port
			}
		}
		if kind == kindDirectTLS {
			at += ", with direct TLS"
		}
		return "point your client at " + at
	}
	return "but nothing listens for clients"
}

// reportTor tells of each change of Tor: on a terminal in one line, else in a
// line for each quarter of the way.
func (d *daemon) reportTor(t control.Tor) {
	d.mu.Lock()
	said := d.torSaid
	quarter := t.Bootstrap/25 > said.Bootstrap/25
	news := t.State != said.State || t.Error != said.Error || quarter
	if news {
		d.torSaid = t
	}
	d.mu.Unlock()

	switch t.State {
	case control.StateStarting:
		d.console.step("tor", "starting … %d %% %s", t.Bootstrap, t.Doing)
		if news && !d.console.terminal {
			d.console.line("tor", "starting … %d %%", t.Bootstrap)
		}
		if news && t.Error != "" {
			d.console.warn("tor, at %d %% (%s), says %q, and goes on trying", t.Bootstrap, t.Doing, t.Error)
		}
	case control.StateReady:
		d.console.done()
		d.console.line("tor", "%s", torText(t))
		d.console.line("ready", "%s", d.pointer())
	case control.StateOff:
		d.console.line("tor", "switched off; the routes over it are refused")
		d.console.line("ready", "%s", d.pointer())
	case control.StateFailed:
		d.console.done()
		if !news {
			break // it was tried again, and it is as it was
		}
		d.console.fail(&problem{what: "tor cannot be used, and nothing goes out by the routes over it", why: t.Error, hint: t.Hint})
		d.console.line("ready", "for the other routes: %s", d.pointer())
	}
	if news {
		service.Status(d.summary())
	}
}
