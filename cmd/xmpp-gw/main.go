// Xmpp-gw is a privacy gateway for XMPP: a client that is pointed at
// localhost:5222 reaches its server by the route that the owner of this machine
// decided, inside TLS that was really verified, or not at all.
//
// This package is the command line: one file a command, the rules of output in
// ui.go, and the wiring of the daemon in wire.go.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run executes one command line and gives its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	u := newUI(stdout, stderr)
	app := newApp(u)
	if err := app.Run(flagsFirst(app, args)); err != nil {
		return u.fail(err)
	}
	return exitDone
}

func newApp(u *ui) *cli.App {
	return &cli.App{
		Name:        "xmpp-gw",
		Usage:       "a privacy gateway for XMPP, and an XMPP server behind it: point any client at localhost:5222",
		Description: "`xmpp-gw run` needs no configuration. It goes through Tor, and nowhere else.",
		HideVersion: true, // `xmpp-gw version` is a command like the others
		Suggest:     true,
		Commands: []*cli.Command{
			runCommand(u),
			statusCommand(u),
			checkCommand(u),
			policyCommand(u),
			onionCommand(u),
			accountCommand(u),
			trustCommand(u),
			configCommand(u),
			versionCommand(u),
		},
		Action:         group,
		OnUsageError:   wrongUsage,
		ExitErrHandler: func(*cli.Context, error) {}, // run prints every error, once
		Writer:         u.out,
		ErrWriter:      u.err,
	}
}

// group is what a command does that only has others below it.
func group(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		p := usage("unknown command %q", name)
		p.hint = fmt.Sprintf("`%s --help` lists the commands", c.Command.HelpName)
		// The question comes as a sentence of its own, however far the guess.
		if question := cli.SuggestCommand(c.Command.Subcommands, name); strings.Contains(question, `"`+name[:1]) {
			p.hint = question + " " + p.hint
		}
		return p
	}
	if err := cli.ShowSubcommandHelp(c); err != nil {
		return err
	}
	return nil
}

// wrongUsage is what becomes of a flag that cannot be read.
func wrongUsage(c *cli.Context, err error, _ bool) error {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	p := usage("%v", err)
	p.hint = fmt.Sprintf("`%s --help` lists the flags", c.Command.HelpName)
	return p
}

// command completes a command: its mistakes of usage are ours to print.
func command(c *cli.Command) *cli.Command {
	c.OnUsageError = wrongUsage
	c.HideHelpCommand = true
	if len(c.Subcommands) > 0 {
		c.Action = group
	}
	return c
}

// noArguments refuses what stands behind a command that takes nothing.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		p := usage("%s takes no argument, and was given %q", c.Command.HelpName, c.Args().First())
		p.hint = fmt.Sprintf("`%s --help` shows what it takes", c.Command.HelpName)
		return p
	}
	return nil
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "read the configuration from `FILE`", TakesFile: true}
}

func stateFlag() cli.Flag {
	return &cli.StringFlag{Name: "state-dir", Usage: "keep keys, pins and the control socket in `DIR`", TakesFile: true}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON with stable names"}
}
