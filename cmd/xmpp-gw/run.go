package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/control"
	"xmpp-gw/internal/metrics"
	"xmpp-gw/internal/scrub"
	"xmpp-gw/internal/service"
	"xmpp-gw/proxy"
)

func runCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "run",
		Usage: "run the gateway in the foreground",
		Flags: []cli.Flag{
			configFlag(), stateFlag(),
			&cli.StringFlag{Name: "log-level", Value: "info", Usage: "log `LEVEL` and above: debug, info, warn or error"},
			&cli.StringFlag{Name: "log-format", Value: "text", Usage: "log as `FORMAT`: text or json"},
			&cli.BoolFlag{Name: "log-addresses", Usage: "show IP addresses and host names in the log"},
			&cli.BoolFlag{Name: "log-jids", Usage: "show JIDs in the log"},
		},
		Action: func(c *cli.Context) error { return runDaemon(c, u) },
	})
}

func runDaemon(c *cli.Context, u *ui) error {
	if err := noArguments(c); err != nil {
		return err
	}
	collectEarly(os.LookupEnv)
	con := newConsole(u)
	log, err := newLogger(c, con.log(), os.Getenv("JOURNAL_STREAM") != "")
	if err != nil {
		return err
	}
	// What a dependency logs by itself goes the same way, and is scrubbed.
	slog.SetDefault(log)
	p, err := findPaths(c.String("state-dir"), os.Getenv)
	if err != nil {
		return err
	}
	load := func() (*settings, error) { return loadSettings(c.String("config")) }
	s, err := load()
	if err != nil {
		return err
	}
	con.line("", "xmpp-gw %s", version)
	con.line("configuration", "%s", s.source())
	for _, w := range s.Warnings {
		con.warn("%s", w)
	}
	if err := os.MkdirAll(p.state, 0o700); err != nil {
		return &problem{what: "the state directory cannot be made", why: err.Error(), hint: "name another with --state-dir DIR"}
	}
	sockets, err := activated()
	if err != nil {
		return err
	}
	if err := refuseUnsafe(c.Context, s, p, placesOf(sockets), con.warn); err != nil {
		return err
	}
	events, stop := service.Signals()
	defer stop()
	// Before the ports, so that a second daemon learns that it is the second.
	ctl, err := control.Listen(p.control())
	if err != nil {
		return err
	}
	d, err := assemble(con, log, p, s, load)
	if err == nil {
		err = d.listen(sockets)
	}
	if err != nil {
		ctl.Close()
		if d != nil {
			d.node.close(c.Context)
		}
		return err
	}
	if w := d.wiring.warning(); w != "" {
		con.warn("%s", w)
	}
	d.run(ctl, events)
	return nil
}

// collectEarly lets the heap grow by half between collections instead of by its
// whole size, unless GOGC says otherwise. What is collected is what sessions left
// behind at their start; once they are open, stanzas pass without an allocation,
// so collections are rare, and what they would save is memory held for nothing.
func collectEarly(env func(string) (string, bool)) {
	if _, set := env("GOGC"); !set {
		debug.SetGCPercent(50)
	}
}

// newLogger makes the log that the flags ask for. The journal has a clock of its
// own.
func newLogger(c *cli.Context, w io.Writer, journal bool) (*slog.Logger, error) {
	var level slog.Level
	names := []string{"debug", "info", "warn", "error"}
	if name := c.String("log-level"); !slices.Contains(names, name) {
		return nil, usage("--log-level is one of %s, not %q", strings.Join(names, ", "), name)
	} else if err := level.UnmarshalText([]byte(name)); err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: level}
	if journal {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	var h slog.Handler
	switch format := c.String("log-format"); format {
	case "text":
		h = slog.NewTextHandler(w, o)
	case "json":
		h = slog.NewJSONHandler(w, o)
	default:
		return nil, usage("--log-format is text or json, not %q", format)
	}
	return slog.New(scrub.NewHandler(h, scrub.Show{
		Addresses: c.Bool("log-addresses"),
		JIDs:      c.Bool("log-jids"),
	})), nil
}

// listen opens all listeners, and takes over those of the service manager.
func (d *daemon) listen(sockets map[string][]net.Listener) error {
	d.listeners.adopt(sockets)
	change, err := d.listeners.prepare(d.settings.places())
	if err != nil {
		d.listeners.Close()
		return err
	}
	change.apply()
	for _, p := range change.Skipped {
		d.console.warn("not listening at %s: this machine has no IPv6 loopback", p.address)
	}
	list := d.listeners.list()
	if !slices.ContainsFunc(list, func(l control.Listener) bool { return l.Kind != kindMetrics }) {
		d.listeners.Close()
		return &problem{
			what: "there is nothing to listen at",
			why:  "the configuration names no listener for clients, and the service manager hands none over",
			hint: "set listen.c2s or listen.c2s_tls",
			code: exitMistake,
		}
	}
	d.console.line("listening", "%s", listening(list))
	return nil
}

// serve serves l until it is closed.
func (d *daemon) serve(l net.Listener, kind string) io.Closer {
	switch kind {
	case kindMetrics:
		return metrics.Serve(l, version, d.snapshot)
	case kindNodeSTARTTLS, kindNodeDirectTLS:
		d.node.listen(l, kind, d.log)
		return l
	}
	speaks := proxy.STARTTLS
	if kind == kindDirectTLS {
		speaks = proxy.DirectTLS
	}
	go func() {
		err := d.gateway.Serve(l, speaks)
		if !errors.Is(err, proxy.ErrClosed) && !errors.Is(err, net.ErrClosed) {
			d.log.Error("a listener ended", "kind", kind, "err", err)
		}
	}()
	return l
}
