package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/control"
)

func onionCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "onion",
		Usage: "onion services: publish a server, let clients in, keys for those of others",
		Subcommands: []*cli.Command{
			onionAction(u, &cli.Command{Name: "list", Usage: "show the services and what has become of them"}, 0, onionList),
			publishCommand(u),
			unpublishCommand(u),
			onionAction(u, &cli.Command{
				Name: "qr", Usage: "show a service's address as a QR code", ArgsUsage: "NAME",
				Flags: []cli.Flag{pngFlag()},
			}, 1, onionQR),
			clientCommand(u),
			authCommand(u),
			keyCommand(u),
			rotateCommand(u),
			mapCommand(u),
		},
	})
}

// onionJob is a command about onion services under way.
type onionJob struct {
	*cli.Context
	ctx  context.Context
	ui   *ui
	desk control.Onions
	// running: desk is a daemon, which does at once what it is asked; else it is
	// the shelf, for the next daemon to find.
	running bool
}

// onionAction completes a command: args names in front, then act with whoever
// is to be asked.
func onionAction(u *ui, c *cli.Command, args int, act func(*onionJob) error) *cli.Command {
	c.Flags = append([]cli.Flag{configFlag(), stateFlag(), jsonFlag()}, c.Flags...)
	c.Action = func(c *cli.Context) error {
		if c.NArg() != args {
			return wrongArguments(c)
		}
		return onionDo(c, u, act)
	}
	return command(c)
}

// wrongArguments says what a command takes.
func wrongArguments(c *cli.Context) error {
	if c.Command.ArgsUsage == "" {
		return noArguments(c)
	}
	p := usage("%s takes %s, and was given %d arguments", c.Command.HelpName, c.Command.ArgsUsage, c.NArg())
	p.hint = fmt.Sprintf("`%s --help` shows what it takes", c.Command.HelpName)
	return p
}

// onionDo asks the daemon where one runs, and else the shelf.
func onionDo(c *cli.Context, u *ui, act func(*onionJob) error) error {
	path, err := findControl(c.String("state-dir"), os.Getenv)
	if err != nil {
		return err
	}
	client := control.NewClient(path)
	defer client.Close()
	job := &onionJob{Context: c, ctx: c.Context, ui: u, desk: client, running: true}
	if _, err := client.Status(c.Context); errors.Is(err, control.ErrNotRunning) {
		p, err := findPaths(c.String("state-dir"), os.Getenv)
		if err != nil {
			return err
		}
		if err := p.check(); err != nil {
			return err
		}
		s, err := loadSettings(c.String("config"))
		if err != nil {
			return err
		}
		job.running = false
		if job.desk, err = openShelf(p, func() *settings { return s }); err != nil {
			return &problem{what: "the onion services cannot be looked at", why: err.Error(), err: err}
		}
	} else if err != nil {
		return err
	}
	return act(job)
}

// said is the document of --json where there is nothing to tell but that it is
// done.
type said struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
	File    string `json:"file,omitempty"`
	// Running: a daemon did it, so it holds now; else from the next start on.
	Running bool `json:"running"`
}

// done prints s as JSON, or the sentence.
func (j *onionJob) done(s said, format string, args ...any) error {
	if j.Bool("json") {
		s.Running = j.running
		return j.ui.json(s)
	}
	j.ui.printf("%s\n", printable(fmt.Sprintf(format, args...)))
	return nil
}

// onionReport is the document of `onion list --json`.
type onionReport struct {
	Running bool            `json:"running"`
	Onions  []control.Onion `json:"onions"`
}

func onionList(j *onionJob) error {
	list, err := j.desk.Onions(j.ctx)
	if err != nil {
		return err
	}
	if j.Bool("json") {
		return j.ui.json(onionReport{j.running, append([]control.Onion{}, list...)})
	}
	if len(list) == 0 {
		j.ui.printf("nothing is published; `xmpp-gw onion publish --target IP:PORT` publishes a server\n")
		return nil
	}
	var page strings.Builder
	t := tabwriter.NewWriter(&page, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tADDRESS\tPORTS\tCLIENTS")
	for _, o := range list {
		cells := []string{o.Name, onionState(o), o.Address, onionPorts(o), onionClients(o)}
		for i, cell := range cells {
			if cell == "" {
				cell = "-"
			}
			cells[i] = strings.ReplaceAll(printable(cell), "\t", " ")
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
	j.ui.printf("%s", page.String())
	for _, o := range list {
		for _, trouble := range onionTroubles(o) {
			j.ui.printf("%s: %s\n", o.Name, printable(trouble))
		}
		for _, old := range o.Previous {
			j.ui.printf("%s: the former address %s answers until %s\n", o.Name, printable(old.Address), old.Until.Local().Format(time.DateTime))
		}
	}
	if !j.running {
		j.ui.printf("no xmpp-gw is running; `xmpp-gw run` publishes them\n")
	}
	return nil
}

// onionState is the state, with how far it is.
func onionState(o control.Onion) string {
	if o.State == control.OnionPublishing && o.Uploads > 0 {
		return fmt.Sprintf("%s %d/%d", o.State, o.Uploaded, o.Uploads)
	}
	return o.State
}

func onionPorts(o control.Onion) string {
	parts := make([]string, len(o.Ports))
	for i, p := range o.Ports {
		parts[i] = fmt.Sprintf("%d=%s", p.Port, p.Target)
	}
	return strings.Join(parts, " ")
}

// onionClients says who gets in.
func onionClients(o control.Onion) string {
	switch {
	case !o.Restricted:
		return "everybody"
	case len(o.Clients) == 0:
		return "nobody"
	}
	return strings.Join(o.Clients, " ")
}

// onionLine is a service in one line of status.
func onionLine(o control.Onion) string {
	return fmt.Sprintf("%s, %s, %s, for %s", o.Name, onionState(o), o.Address, onionClients(o))
}

// onionTroubles is what is not as it should be, in sentences.
func onionTroubles(o control.Onion) (list []string) {
	if o.Error != "" {
		text := o.Error
		if o.Hint != "" {
			text += "; " + o.Hint
		}
		list = append(list, text)
	}
	for _, p := range o.Ports {
		if p.Error != "" {
			list = append(list, fmt.Sprintf("port %d: %s (%s); start that server, or name another with --port %d=IP:PORT", p.Port, p.Error, p.Target, p.Port))
		}
		if p.Refused > 0 {
			list = append(list, fmt.Sprintf("port %d: %d connections were turned away (section [onion] of the configuration)", p.Port, p.Refused))
		}
	}
	return list
}

func pngFlag() cli.Flag {
	return &cli.StringFlag{Name: "png", Usage: "write the QR code to `FILE`, which must not exist", TakesFile: true}
}

func onionQR(j *onionJob) error {
	o, err := j.desk.Onion(j.ctx, j.Args().First())
	if err != nil {
		return err
	}
	if o.Address == "" {
		return &problem{what: "there is no address to show", why: o.Error}
	}
	file := j.String("png")
	if file != "" {
		if err := writeQR(file, o.Address); err != nil {
			return err
		}
	}
	if j.Bool("json") || file != "" {
		return j.done(said{Name: o.Name, Address: o.Address, File: file}, "wrote %s: %s", file, o.Address)
	}
	code, err := encodeQR(o.Address)
	if err != nil {
		return err
	}
	j.ui.printf("%s%s\n", code.text(j.ui.outColour), o.Address)
	return nil
}
