package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/control"
	"xmpp-gw/internal/egress"
	"xmpp-gw/onion"
)

// How long a command waits for a service to be published, and how often it looks.
// Tor needs introduction points first, and then uploads to each directory.
const (
	publishWait = 3 * time.Minute
	publishLook = 300 * time.Millisecond
)

// defaultOnion is the name of a service that is given none.
const defaultOnion = "node"

func publishCommand(u *ui) *cli.Command {
	c := onionAction(u, &cli.Command{
		Name: "publish", ArgsUsage: "[NAME]",
		Usage: "publish a server as an onion service, or change how it is published",
		Description: "For example: xmpp-gw onion publish --target 127.0.0.1:15222\n" +
			"The service is published as long as `xmpp-gw run` runs, at the same address each time. NAME is \"node\" if none is given.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "port", Usage: "publish `PORT[=TARGET]`, as often as there are ports (5222, 5223, 5269, 80)"},
			&cli.StringFlag{Name: "target", Usage: "the server that ports without a target of their own lead to: `IP:PORT`, unix:PATH or node, the bundled one (alone: as port 5222)"},
			&cli.StringFlag{Name: "proxy", Usage: "give the server a PROXY header of this `VERSION`: v1, v2 or none"},
			&cli.BoolFlag{Name: "circuit-id", Value: true, Usage: "limit connections by circuit, as Tor tells them apart"},
			&cli.BoolFlag{Name: "pow", Usage: "switch on Tor's proof-of-work defence"},
			&cli.IntFlag{Name: "pow-rate", Usage: "let in `N` requests a second under attack"},
			&cli.IntFlag{Name: "pow-burst", Usage: "and `N` at once"},
			&cli.IntFlag{Name: "intro-points", Usage: "use `N` introduction points (1 to 20)"},
			&cli.IntFlag{Name: "max-streams", Usage: "allow `N` connections on one circuit; who opens more loses it"},
			&cli.BoolFlag{Name: "single-hop-i-am-not-anonymous", Usage: "give up the service's anonymity for speed: the relays see this machine's address"},
			&cli.StringFlag{Name: "backend-of", Usage: "answer for the OnionBalance frontend at this `ADDRESS`"},
			&cli.StringFlag{Name: "key", Usage: "use the key in `FILE` (Tor's hs_ed25519_secret_key) for a new service", TakesFile: true},
			&cli.BoolFlag{Name: "wait", Usage: "wait until it is published (what a terminal does)"},
			&cli.BoolFlag{Name: "no-wait", Usage: "do not wait"},
		},
	}, 0, nil)
	c.Action = func(c *cli.Context) error {
		if c.NArg() > 1 {
			return wrongArguments(c)
		}
		q, err := publication(c)
		if err != nil {
			return err
		}
		return onionDo(c, u, func(j *onionJob) error { return onionPublish(j, q) })
	}
	return c
}

// publication reads the flags.
func publication(c *cli.Context) (q control.Publication, err error) {
	q.Name = defaultOnion
	if c.Args().Present() {
		q.Name = c.Args().First()
	}
	if q.Ports, err = publishedPorts(c.StringSlice("port"), c.String("target")); err != nil {
		return q, err
	}
	q.Proxy = given(c, "proxy", c.String)
	if q.Proxy != nil && *q.Proxy == "none" {
		*q.Proxy = ""
	}
	q.CircuitID = given(c, "circuit-id", c.Bool)
	q.PoW = given(c, "pow", c.Bool)
	q.PoWRate = given(c, "pow-rate", c.Int)
	q.PoWBurst = given(c, "pow-burst", c.Int)
	q.IntroPoints = given(c, "intro-points", c.Int)
	q.MaxStreams = given(c, "max-streams", c.Int)
	q.SingleHop = given(c, "single-hop-i-am-not-anonymous", c.Bool)
	q.Backend = given(c, "backend-of", c.String)
	if q.Backend != nil && *q.Backend != "" {
		if *q.Backend, err = onion.CheckAddress(*q.Backend); err != nil {
			return q, usage("--backend-of: %v", err)
		}
	}
	if file := c.String("key"); file != "" {
		if n := clientsBeside(file); n > 0 {
			return q, &problem{
				what: "the service is not published", why: fmt.Sprintf("tor lets in %d known clients with that key, and here everybody would get in", n), code: exitMistake,
				hint: "`xmpp-gw onion key import` takes the key alone; then `onion client add`, and `onion publish` without --key. For a service that is open to all, copy the key file out of its folder first",
			}
		}
		q.Key, err = readKey(file)
	}
	return q, err
}

// given is the value of a flag that stands on the command line, nil without.
func given[T any](c *cli.Context, name string, get func(string) T) *T {
	if !c.IsSet(name) {
		return nil
	}
	v := get(name)
	return &v
}

// publishedPorts reads --port and --target.
func publishedPorts(ports []string, target string) (list []control.OnionPort, err error) {
	if target != "" {
		if target, err = plainTarget(target); err != nil {
			return nil, usage("--target: %v", err)
		}
		if len(ports) == 0 {
			ports = []string{"5222"}
		}
	}
	for _, s := range ports {
		virtual, own, ok := strings.Cut(s, "=")
		switch {
		case ok:
			if own, err = plainTarget(own); err != nil {
				return nil, usage("--port %s: %v", s, err)
			}
			s = virtual + "=" + own
		case target != "":
			s += "=" + target
		}
		p, err := onion.ParsePort(s)
		if err != nil {
			return nil, usage("--port %s: %v", s, err)
		}
		list = append(list, control.OnionPort{Port: p.Virtual, Target: p.Target})
	}
	return list, nil
}

// plainTarget is a target as it is kept: localhost is a number there.
func plainTarget(s string) (string, error) {
	if _, ok := nodeTarget(s); ok {
		return s, nil
	}
	if port, ok := strings.CutPrefix(s, "localhost:"); ok {
		s = net.JoinHostPort("127.0.0.1", port)
	}
	_, err := egress.ParseLocal(s)
	return s, err
}

// clientsBeside counts the clients that the HiddenServiceDir of a key file lets in;
// 0: everybody, or it is in no such folder.
func clientsBeside(file string) int {
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "authorized_clients", "*.auth"))
	return len(files)
}

// readKey reads a key file that is this user's alone.
func readKey(file string) ([]byte, error) {
	key, err := onion.ReadKeyFile(file)
	if err != nil {
		return nil, &problem{
			what: "the key cannot be used", why: err.Error(), code: exitMistake, err: err,
			hint: "it is the file hs_ed25519_secret_key of a HiddenServiceDir, or one of `xmpp-gw onion key export`, with mode 0600",
		}
	}
	return key.Marshal(), nil
}

func onionPublish(j *onionJob, q control.Publication) error {
	for _, p := range q.Ports {
		if l, err := egress.ParseLocal(p.Target); err == nil && !l.Loopback() {
			j.ui.warn("the target %s is not on this machine: what clients send goes there as it is", p.Target)
		}
	}
	if q.SingleHop != nil && *q.SingleHop {
		j.ui.warn("this service is not anonymous: relays of the Tor network see this machine's address, and its location can be found out")
	}
	o, err := j.desk.Publish(j.ctx, q)
	if err != nil {
		return err
	}
	if !j.running {
		return j.published(o)
	}
	if wait := j.Bool("wait") || j.ui.outTerminal; wait && !j.Bool("no-wait") {
		if o, err = j.await(o); err != nil {
			return err
		}
		if o.State != control.OnionPublished {
			return &problem{
				what: fmt.Sprintf("%s is not published yet (%s)", o.Name, onionState(o)), why: strings.Join(onionTroubles(o), "\n"),
				hint: "the daemon goes on trying; `xmpp-gw onion list` shows how far it is. Its address will be " + o.Address,
			}
		}
	} else if o.State == control.OnionFailed {
		return &problem{what: o.Name + " is not published", why: strings.Join(onionTroubles(o), "\n"),
			hint: "the daemon goes on trying; `xmpp-gw onion list` shows how far it is"}
	}
	return j.published(o)
}

// await waits until the service is published, and shows how far it is.
func (j *onionJob) await(o control.Onion) (control.Onion, error) {
	c := newConsole(j.ui)
	c.terminal = c.terminal && !j.Bool("json")
	defer c.done()
	ctx, cancel := context.WithTimeout(j.ctx, publishWait)
	defer cancel()
	tick := time.NewTicker(publishLook)
	defer tick.Stop()
	for o.State == control.OnionWaiting || o.State == control.OnionPublishing {
		c.step("onion", "%s: %s", o.Name, onionProgress(o))
		select {
		case <-ctx.Done():
			return o, nil
		case <-tick.C:
		}
		next, err := j.desk.Onion(ctx, o.Name)
		if err != nil {
			if ctx.Err() != nil {
				return o, nil
			}
			return o, err
		}
		o = next
	}
	return o, nil
}

func onionProgress(o control.Onion) string {
	switch {
	case o.State == control.OnionWaiting:
		return o.Error // tor is starting …
	case o.Uploads == 0:
		return "publishing …"
	}
	return fmt.Sprintf("publishing … %d of %d directories have it", o.Uploaded, o.Uploads)
}

// published says where a service is.
func (j *onionJob) published(o control.Onion) error {
	if j.Bool("json") {
		return j.ui.json(o)
	}
	j.ui.printf("%s: %s, %s\n", o.Name, printable(o.Address), onionPorts(o))
	switch {
	case !j.running:
		j.ui.printf("no xmpp-gw is running; `xmpp-gw run` publishes it\n")
	case o.State == control.OnionPublished:
		j.ui.printf("published; %d of %d directories have it\n", o.Uploaded, o.Uploads)
	default:
		j.ui.printf("%s; `xmpp-gw onion list` shows how far it is\n", onionState(o))
	}
	for _, trouble := range onionTroubles(o) {
		j.ui.warn("%s", trouble)
	}
	if o.Backend != "" {
		j.ui.printf("for OnionBalance's config.yaml, among the instances of its service:\n  - address: %s\n    name: %s\n", o.Address, o.Name)
	}
	return nil
}

func unpublishCommand(u *ui) *cli.Command {
	return onionAction(u, &cli.Command{
		Name: "unpublish", Usage: "take a service out of the network; its key is kept", ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "forget-key", Usage: "remove its key as well: the address is gone for ever"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		},
	}, 1, func(j *onionJob) error {
		name, forget := j.Args().First(), j.Bool("forget-key")
		if forget && !j.Bool("yes") {
			o, err := j.desk.Onion(j.ctx, name)
			if err != nil {
				return err
			}
			if err := j.confirm(fmt.Sprintf("Nobody, you included, can ever publish %s again. Forget its key?", o.Address)); err != nil {
				return err
			}
		}
		if err := j.desk.Unpublish(j.ctx, name, forget); err != nil {
			return err
		}
		if forget {
			return j.done(said{Name: name}, "%s is unpublished, and its key is gone", name)
		}
		return j.done(said{Name: name}, "%s is unpublished; its key is kept, and `xmpp-gw onion publish %s` publishes it again", name, name)
	})
}

// confirm asks; see [confirm].
func (j *onionJob) confirm(question string) error { return confirm(j.Context, j.ui, question) }

// confirm asks a person at a terminal, and refuses anybody else.
func confirm(c *cli.Context, u *ui, question string) error {
	if !isTerminal(os.Stdin) || !u.outTerminal || c.Bool("json") {
		p := usage("that cannot be undone, and there is nobody to ask")
		p.hint = "say --yes if it is meant"
		return p
	}
	u.printf("%s [y/N] ", printable(question))
	answer, err := bufio.NewReader(io.LimitReader(os.Stdin, 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return &problem{what: "nothing was done"}
	}
	return nil
}
