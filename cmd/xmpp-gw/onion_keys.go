package main

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
)

// clientCommand is about who may connect to a service of ours.
func clientCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "client",
		Usage: "who may connect to a service: from the first client on, nobody else gets in",
		Subcommands: []*cli.Command{
			onionAction(u, &cli.Command{
				Name: "add", Usage: "let a client in, and print the one string to hand over", ArgsUsage: "NAME CLIENT",
				Flags: []cli.Flag{pngFlag()},
			}, 2, clientAdd),
			onionAction(u, &cli.Command{Name: "list", Usage: "name the clients", ArgsUsage: "NAME"}, 1, clientList),
			onionAction(u, &cli.Command{
				Name: "remove", Usage: "let a client in no more, at once; strangers stay outside", ArgsUsage: "NAME CLIENT",
			}, 2, func(j *onionJob) error {
				name, client := j.Args().Get(0), j.Args().Get(1)
				if err := j.desk.RemoveClient(j.ctx, name, client); err != nil {
					return err
				}
				return j.done(said{Name: name}, "%s does not let %s in any more", name, client)
			}),
			onionAction(u, &cli.Command{
				Name: "open", Usage: "let everybody in again, once no client is left", ArgsUsage: "NAME",
			}, 1, func(j *onionJob) error {
				name := j.Args().First()
				if err := j.desk.Open(j.ctx, name); err != nil {
					return err
				}
				return j.done(said{Name: name}, "%s lets everybody in", name)
			}),
		},
	})
}

// clientReport is the document of `onion client add --json`.
type clientReport struct {
	control.OnionClient
	File    string `json:"file,omitempty"`
	Running bool   `json:"running"`
}

func clientAdd(j *onionJob) error {
	file := j.String("png")
	if file != "" {
		if _, err := os.Lstat(file); err == nil {
			// Before anything is done: the string is given once.
			return &problem{what: "the client is not let in", why: file + " is there already", hint: "name another file with --png FILE"}
		}
	}
	c, err := j.desk.AddClient(j.ctx, j.Args().Get(0), j.Args().Get(1))
	if err != nil {
		return err
	}
	if j.Bool("json") {
		err = j.ui.json(clientReport{c, file, j.running})
	} else {
		err = j.showClient(c)
	}
	if file != "" { // after the string, which must not be lost with a full disk
		err = errors.Join(err, writeQR(file, c.Private))
	}
	return err
}

func (j *onionJob) showClient(c control.OnionClient) error {
	if j.ui.outTerminal {
		code, err := encodeQR(c.Private)
		if err != nil {
			return err
		}
		j.ui.printf("%s", code.text(j.ui.outColour))
	}
	j.ui.printf("%s\n", c.Private)
	if j.ui.outTerminal {
		j.ui.printf("\nHand this string to %s and to nobody else; it is shown once. There: `xmpp-gw onion auth add`\n"+
			"asks for it (or a file ClientOnionAuthDir/%s.auth_private of Tor's).\n", c.Name, c.Name)
	}
	if !j.running {
		j.ui.warn("no xmpp-gw is running; it holds from the next `xmpp-gw run` on")
	}
	return nil
}

// clientsReport is the document of `onion client list --json`.
type clientsReport struct {
	Name       string   `json:"name"`
	Restricted bool     `json:"restricted"` // false: everybody gets in
	Clients    []string `json:"clients"`
}

func clientList(j *onionJob) error {
	o, err := j.desk.Onion(j.ctx, j.Args().First())
	if err != nil {
		return err
	}
	if j.Bool("json") {
		return j.ui.json(clientsReport{o.Name, o.Restricted, append([]string{}, o.Clients...)})
	}
	if len(o.Clients) == 0 {
		j.ui.printf("%s lets %s in\n", o.Name, onionClients(o))
	}
	for _, c := range o.Clients {
		j.ui.printf("%s\n", printable(c))
	}
	return nil
}

// authCommand is about keys for other people's services.
func authCommand(u *ui) *cli.Command {
	add := onionAction(u, &cli.Command{
		Name: "add", ArgsUsage: "[STRING]",
		Usage: "keep the string that the operator of an onion service handed over",
		Description: "Without STRING it is read from standard input, so that it stands in no list of processes\n" +
			"and no history: xmpp-gw onion auth add < FILE",
	}, 0, nil)
	add.Action = func(c *cli.Context) error {
		if c.NArg() > 1 {
			return wrongArguments(c)
		}
		line := c.Args().First()
		if line == "" {
			var err error
			if line, err = askString(u); err != nil {
				return err
			}
		}
		// Here, so that a mistake does not depend on who is asked.
		if _, err := onion.ParseClientKey(line); err != nil {
			return usage("%v", err)
		}
		return onionDo(c, u, func(j *onionJob) error {
			address, err := j.desk.AddAuth(j.ctx, line)
			if err != nil {
				return err
			}
			return j.done(said{Address: address}, "the key for %s is kept", address)
		})
	}
	return command(&cli.Command{
		Name:  "auth",
		Usage: "keys for other people's onion services",
		Subcommands: []*cli.Command{
			add,
			onionAction(u, &cli.Command{Name: "list", Usage: "name the services that a key is kept for"}, 0, authList),
			onionAction(u, &cli.Command{Name: "remove", Usage: "forget the key for a service", ArgsUsage: "ADDRESS"}, 1, func(j *onionJob) error {
				address, err := onion.CheckAddress(j.Args().First())
				if err != nil {
					return usage("%v", err)
				}
				if err := j.desk.RemoveAuth(j.ctx, address); err != nil {
					return err
				}
				return j.done(said{Address: address}, "the key for %s is gone", address)
			}),
		},
	})
}

// askString reads one line from standard input.
func askString(u *ui) (string, error) {
	if isTerminal(os.Stdin) && u.outTerminal {
		u.printf("the string: ")
	}
	line, err := bufio.NewReader(io.LimitReader(os.Stdin, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		p := usage("there is no string to keep")
		p.hint = "give it as the argument, or on standard input"
		return "", p
	}
	return line, nil
}

// authReport is the document of `onion auth list --json`.
type authReport struct {
	Addresses []string `json:"addresses"`
}

func authList(j *onionJob) error {
	list, err := j.desk.Auths(j.ctx)
	if err != nil {
		return err
	}
	if j.Bool("json") {
		return j.ui.json(authReport{append([]string{}, list...)})
	}
	if len(list) == 0 {
		j.ui.printf("no key for another's onion service is kept\n")
	}
	for _, a := range list {
		j.ui.printf("%s\n", printable(a))
	}
	return nil
}

// keyCommand moves keys in Tor's own format.
func keyCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "key",
		Usage: "a service's key in Tor's own format (hs_ed25519_secret_key)",
		Subcommands: []*cli.Command{
			onionAction(u, &cli.Command{
				Name: "export", Usage: "write the key to a new file", ArgsUsage: "NAME FILE",
			}, 2, keyExport),
			onionAction(u, &cli.Command{
				Name: "import", Usage: "put a new service with this key on the shelf, to be published later", ArgsUsage: "NAME FILE",
			}, 2, keyImport),
		},
	})
}

func keyExport(j *onionJob) error {
	name, file := j.Args().Get(0), j.Args().Get(1)
	b, err := j.desk.Key(j.ctx, name)
	if err != nil {
		return err
	}
	defer clear(b)
	key, err := onion.ParseKey(b)
	if err != nil {
		return err
	}
	err = key.WriteFile(file)
	switch {
	case errors.Is(err, fs.ErrExist):
		return &problem{what: "the key is not written", why: file + " is there already, and keys are never written over", hint: "name another file", err: err}
	case err != nil:
		return &problem{what: "the key is not written", why: err.Error(), err: err}
	}
	return j.done(said{Name: name, Address: key.Address(), File: file},
		"wrote %s: whoever has it can be %s", file, key.Address())
}

func keyImport(j *onionJob) error {
	name := j.Args().Get(0)
	b, err := readKey(j.Args().Get(1))
	if err != nil {
		return err
	}
	defer clear(b)
	o, err := j.desk.Publish(j.ctx, control.Publication{Name: name, Key: b, KeyOnly: true})
	if err != nil {
		return err
	}
	if n := clientsBeside(j.Args().Get(1)); n > 0 {
		j.ui.warn("tor lets in %d known clients with that key, and their keys were not taken over: add them with `xmpp-gw onion client add %s CLIENT` before you publish it, or everybody gets in", n, name)
	}
	return j.done(said{Name: name, Address: o.Address},
		"%s has the address %s; `xmpp-gw onion publish %s --target IP:PORT` publishes it", name, o.Address, name)
}

func rotateCommand(u *ui) *cli.Command {
	return onionAction(u, &cli.Command{
		Name: "rotate", Usage: "give a service a new address; the old one goes on for a while", ArgsUsage: "NAME",
		Flags: []cli.Flag{&cli.DurationFlag{Name: "overlap", Value: 7 * 24 * time.Hour, Usage: "let the old address answer for `TIME` more, such as 168h; 0 ends it at once"}},
	}, 1, func(j *onionJob) error {
		overlap := j.Duration("overlap")
		if overlap < 0 || overlap > 0 && overlap < time.Second {
			return usage("--overlap is a time such as 168h, or 0, not %v", overlap)
		}
		o, err := j.desk.Rotate(j.ctx, j.Args().First(), overlap)
		if err != nil {
			return err
		}
		if j.Bool("json") {
			return j.ui.json(o)
		}
		j.ui.printf("%s: %s\n", o.Name, printable(o.Address))
		for _, old := range o.Previous {
			j.ui.printf("the former address %s answers until %s\n", printable(old.Address), old.Until.Local().Format(time.DateTime))
		}
		if len(o.Clients) > 0 {
			j.ui.warn("the clients' strings name the old address: add them anew, or tell them the new one")
		}
		return nil
	})
}
