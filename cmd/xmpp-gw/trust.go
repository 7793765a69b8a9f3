package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smallstep/truststore"
	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/localca"
)

func trustCommand(u *ui) *cli.Command {
	with := func(name, does string, more []cli.Flag, act func(*cli.Context, *ui, *localca.CA) error) *cli.Command {
		return command(&cli.Command{
			Name: name, Usage: does,
			Flags: append([]cli.Flag{configFlag(), stateFlag()}, more...),
			Action: func(c *cli.Context) error {
				if err := noArguments(c); err != nil {
					return err
				}
				ca, err := openCA(c)
				if err != nil {
					return err
				}
				return act(c, u, ca)
			},
		})
	}
	return command(&cli.Command{
		Name:  "trust",
		Usage: "the authority by which clients on this machine know the gateway",
		Subcommands: []*cli.Command{
			with("install", "make the system's programs trust the gateway's authority", nil, trustInstall),
			with("remove", "undo install", nil, trustRemove),
			with("show", "print where the authority is, its fingerprint, and what to do in a client", []cli.Flag{jsonFlag()}, trustShow),
		},
	})
}

// openCA opens the authority that `run` with the same flags uses.
func openCA(c *cli.Context) (*localca.CA, error) {
	p, err := findPaths(c.String("state-dir"), os.Getenv)
	if err != nil {
		return nil, err
	}
	s, err := loadSettings(c.String("config"))
	if err != nil {
		return nil, err
	}
	return localca.Open(p.ca(), s.certificateNames(hostedDomain(p, s)))
}

func trustInstall(_ *cli.Context, u *ui, ca *localca.CA) error {
	changed, err := ca.Install(localca.System())
	if err != nil {
		return storeProblem("the authority cannot be installed in the system's store", ca, err)
	}
	if !changed {
		u.printf("the system trusts the authority already\n")
		return nil
	}
	u.printf("the system trusts the authority from now on: %s\n", ca.Fingerprint())
	if len(ca.Certificate().PermittedDNSDomains) == 0 {
		u.warn("the authority can speak for every domain, so its key in %s is as good as every password. "+
			"With [default] route = \"block\" and a section for each of your domains, it is bound to these", filepath.Dir(ca.File()))
	}
	u.printf("start your clients again; `xmpp-gw trust show` helps where one still complains\n")
	return nil
}

func trustRemove(_ *cli.Context, u *ui, ca *localca.CA) error {
	found, err := ca.Uninstall(localca.System())
	if err != nil {
		return storeProblem("the authority cannot be removed from the system's store", ca, err)
	}
	if !found {
		u.printf("the system does not trust the authority\n")
		return nil
	}
	u.printf("the system does not trust the authority any more\n")
	return nil
}

// trustReport is the document of `trust show --json`.
type trustReport struct {
	File        string   `json:"file"`
	Fingerprint string   `json:"fingerprint"` // SHA-256, hex pairs with colons
	Names       []string `json:"names"`       // the domains it may speak for; none: every one
	Installed   bool     `json:"installed"`   // in the system's store
}

func trustShow(c *cli.Context, u *ui, ca *localca.CA) error {
	cert := ca.Certificate()
	r := trustReport{File: ca.File(), Fingerprint: ca.Fingerprint(), Names: append([]string{}, cert.PermittedDNSDomains...)}
	var err error
	if r.Installed, err = ca.Trusted(localca.System()); err != nil {
		return storeProblem("the authority cannot be looked for in the system's store", ca, err)
	}
	if c.Bool("json") {
		return u.json(r)
	}
	names, state := "every domain", "no (`xmpp-gw trust install` does it)"
	if len(r.Names) > 0 {
		names = strings.Join(r.Names, ", ")
	}
	if r.Installed {
		state = "yes"
	}
	u.printf(`certificate: %s
fingerprint: %s (SHA-256)
speaks for:  %s
installed:   %s

Most clients (Gajim, Dino, Psi, Profanity, Pidgin, poezio) trust whom the system
trusts: once the authority is installed, start them again, and that is all.

One with a store of its own, or in a sandbox (Flatpak, Snap), may not see it.
Then import the certificate there, as an authority for servers. Do not accept
the gateway's own certificate instead: that one is made anew every few days.
`, printable(r.File), r.Fingerprint, printable(names), state)
	return nil
}

func storeProblem(what string, ca *localca.CA, err error) error {
	p := &problem{
		what: what, why: err.Error(), err: err,
		hint: fmt.Sprintf("import %s as an authority in your client instead (`xmpp-gw trust show`)", ca.File()),
	}
	if _, ok := errors.AsType[*truststore.CmdError](err); ok {
		p.hint = fmt.Sprintf("the system's store is root's: run it with sudo and --state-dir %s, or import %s in your client",
			filepath.Dir(filepath.Dir(ca.File())), ca.File())
	}
	return p
}
