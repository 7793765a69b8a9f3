package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/control"
	"xmpp-gw/server/portable"
)

func accountCommand(u *ui) *cli.Command {
	stdin := &cli.BoolFlag{Name: "password-stdin", Usage: "read the password from standard input, its first line"}
	return command(&cli.Command{
		Name:  "account",
		Usage: "the accounts of the bundled server",
		Subcommands: []*cli.Command{
			accountAction(u, &cli.Command{
				Name: "add", Usage: "make an account", ArgsUsage: "JID",
				Flags: []cli.Flag{stdin, &cli.BoolFlag{Name: "admin", Usage: "it may administer the server from within a client"}},
			}, 1, accountAdd),
			accountAction(u, &cli.Command{Name: "passwd", Usage: "give an account another password", ArgsUsage: "JID", Flags: []cli.Flag{stdin}}, 1, accountPassword),
			accountAction(u, &cli.Command{Name: "list", Usage: "show the accounts"}, 0, accountList),
			accountAction(u, &cli.Command{
				Name: "remove", Usage: "remove an account with all that it owns", ArgsUsage: "JID",
				Flags: []cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "do not ask"}},
			}, 1, accountRemove),
			accountAction(u, &cli.Command{Name: "disable", Usage: "let nobody log in to an account; what it owns stays", ArgsUsage: "JID"}, 1, accountLock(true)),
			accountAction(u, &cli.Command{Name: "enable", Usage: "undo disable", ArgsUsage: "JID"}, 1, accountLock(false)),
			accountAction(u, &cli.Command{
				Name: "admin", Usage: "let an account administer the server from within a client", ArgsUsage: "JID",
				Flags: []cli.Flag{&cli.BoolFlag{Name: "off", Usage: "no more"}},
			}, 1, accountAdmin),
			accountAction(u, &cli.Command{
				Name: "invite", Usage: "print a link with which somebody makes an account from a client",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "name", Usage: "keep `NAME` for the guest"},
					&cli.StringFlag{Name: "contact", Usage: "make `JID` and the guest contacts of each other"},
					&cli.IntFlag{Name: "uses", Value: 1, Usage: "let it be used `N` times"},
					&cli.IntFlag{Name: "days", Value: 7, Usage: "let it be used for `N` days"},
					pngFlag(),
				},
			}, 0, accountInvite),
			accountAction(u, &cli.Command{
				Name: "export", Usage: "write accounts with all that they own (XEP-0227); all of them for no JID", ArgsUsage: "[JID...]",
				Flags: []cli.Flag{&cli.StringFlag{Name: "out", Usage: "write to `FILE`, which must not exist, instead of standard output", TakesFile: true}},
			}, -1, accountExport),
			accountAction(u, &cli.Command{
				Name: "import", Usage: "read accounts from a file of this program or another server (XEP-0227); - is standard input", ArgsUsage: "FILE",
			}, 1, accountImport),
		},
	})
}

// accountJob is a command about accounts under way.
type accountJob struct {
	*cli.Context
	ctx     context.Context
	ui      *ui
	desk    control.Accounts
	running bool // desk is a daemon
}

// accountAction completes a command: args arguments (any number for -1), then act
// with whoever is to be asked: the daemon where one runs, and else the node itself.
func accountAction(u *ui, c *cli.Command, args int, act func(*accountJob) error) *cli.Command {
	c.Flags = append([]cli.Flag{configFlag(), stateFlag(), jsonFlag()}, c.Flags...)
	c.Action = func(c *cli.Context) error {
		if args >= 0 && c.NArg() != args {
			return wrongArguments(c)
		}
		for _, arg := range c.Args().Slice() {
			if strings.Trim(arg, ".") == "" { // as a part of a request's path it would be another request
				return usage("%q is neither an address of an account nor a file", arg)
			}
		}
		return accountDo(c, u, act)
	}
	return command(c)
}

func accountDo(c *cli.Context, u *ui, act func(*accountJob) error) error {
	path, err := findControl(c.String("state-dir"), os.Getenv)
	if err != nil {
		return err
	}
	client := control.NewClient(path)
	defer client.Close()
	job := &accountJob{Context: c, ctx: c.Context, ui: u, desk: client, running: true}
	if _, err := client.Status(c.Context); err == nil {
		return act(job)
	} else if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	n, err := ownNode(c)
	if err != nil {
		return err
	}
	defer n.close(c.Context)
	job.desk, job.running = accountDesk{n}, false
	return act(job)
}

// ownNode opens the node that no daemon runs. Nobody can connect to it.
func ownNode(c *cli.Context) (*node, error) {
	p, err := findPaths(c.String("state-dir"), os.Getenv)
	if err != nil {
		return nil, err
	}
	s, err := loadSettings(c.String("config"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.state, 0o700); err != nil {
		return nil, &problem{what: "the state directory cannot be made", why: err.Error(), hint: "name another with --state-dir DIR"}
	}
	shelf, err := openShelf(p, func() *settings { return s })
	if err != nil {
		return nil, err
	}
	domain, err := nodeDomain(shelf.services, s)
	if err != nil {
		return nil, err
	}
	return openNode(c.Context, p, s, nodeOptions{domain: domain})
}

// print prints a as JSON, or the sentence.
func (j *accountJob) print(a control.Account, format string, args ...any) error {
	if j.Bool("json") {
		return j.ui.json(a)
	}
	j.ui.printf("%s\n", printable(fmt.Sprintf(format, args...)))
	return nil
}

func accountAdd(j *accountJob) error {
	password, err := readPassword(j, "password for "+j.Args().First())
	if err != nil {
		return err
	}
	a, err := j.desk.AddAccount(j.ctx, control.NewAccount{JID: j.Args().First(), Password: password, Admin: j.Bool("admin")})
	if err != nil {
		return err
	}
	return j.print(a, "%s can log in from now on", a.JID)
}

func accountPassword(j *accountJob) error {
	password, err := readPassword(j, "new password for "+j.Args().First())
	if err != nil {
		return err
	}
	a, err := j.desk.SetPassword(j.ctx, j.Args().First(), password)
	if err != nil {
		return err
	}
	return j.print(a, "%s has another password; clients that are logged in stay so", a.JID)
}

// accountReport is the document of `account list --json`.
type accountReport struct {
	Running  bool              `json:"running"`
	Accounts []control.Account `json:"accounts"`
}

func accountList(j *accountJob) error {
	list, err := j.desk.Accounts(j.ctx)
	if err != nil {
		return err
	}
	if j.Bool("json") {
		return j.ui.json(accountReport{j.running, append([]control.Account{}, list...)})
	}
	if len(list) == 0 {
		j.ui.printf("there is no account; `xmpp-gw account add NAME` makes one, `xmpp-gw account invite` lets somebody make one\n")
		return nil
	}
	var page strings.Builder
	t := tabwriter.NewWriter(&page, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACCOUNT\tSTATE\tCREATED\tLAST SEEN")
	for _, a := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", printable(a.JID), accountState(a), day(a.Created), lastSeen(a))
	}
	t.Flush()
	j.ui.printf("%s", page.String())
	return nil
}

func accountState(a control.Account) string {
	words := []string{"active"}
	if a.Disabled {
		words[0] = "disabled"
	}
	if a.Admin {
		words = append(words, "admin")
	}
	return strings.Join(words, ", ")
}

func lastSeen(a control.Account) string {
	switch {
	case a.Sessions > 0:
		return fmt.Sprintf("now, %d clients", a.Sessions)
	case a.LastSeen == "":
		return "never"
	}
	return day(a.LastSeen)
}

func day(stamp string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return "-"
	}
	return t.Local().Format(time.DateOnly)
}

func accountRemove(j *accountJob) error {
	jid := j.Args().First()
	if !j.Bool("yes") {
		if err := confirm(j.Context, j.ui, fmt.Sprintf("Contacts, messages and all else of %s are gone for ever then. Remove it?", jid)); err != nil {
			return err
		}
	}
	a, err := j.desk.RemoveAccount(j.ctx, jid)
	if err != nil {
		return err
	}
	return j.print(a, "%s is removed", a.JID)
}

func accountLock(disabled bool) func(*accountJob) error {
	return func(j *accountJob) error {
		a, err := j.desk.SetDisabled(j.ctx, j.Args().First(), disabled)
		if err != nil {
			return err
		}
		if disabled {
			return j.print(a, "nobody can log in to %s any more; `xmpp-gw account enable` undoes that", a.JID)
		}
		return j.print(a, "%s can log in again", a.JID)
	}
}

func accountAdmin(j *accountJob) error {
	a, err := j.desk.SetAdmin(j.ctx, j.Args().First(), !j.Bool("off"))
	if err != nil {
		return err
	}
	if a.Admin {
		return j.print(a, "%s may administer the server from within a client", a.JID)
	}
	return j.print(a, "%s is no administrator any more", a.JID)
}

func accountInvite(j *accountJob) error {
	if j.Int("days") < 1 || j.Int("days") > 366 || j.Int("uses") < 1 {
		return usage("--days is a number from 1 to 366, and --uses at least 1")
	}
	i, err := j.desk.Invite(j.ctx, control.Invitation{
		Name: j.String("name"), Contact: j.String("contact"), Uses: j.Int("uses"), Lifetime: int64(j.Int("days")) * 24 * 3600,
	})
	if err != nil {
		return err
	}
	if file := j.String("png"); file != "" {
		if err := writeQR(file, i.URI); err != nil {
			return err
		}
	}
	if j.Bool("json") {
		return j.ui.json(i)
	}
	if j.ui.outTerminal && j.String("png") == "" {
		code, err := encodeQR(i.URI)
		if err != nil {
			return err
		}
		j.ui.printf("%s", code.text(j.ui.outColour))
	}
	j.ui.printf("%s\n", printable(i.URI))
	if j.ui.outTerminal {
		j.ui.printf("good until %s, for %d use(s); whoever has the link can use it\n", i.Expires.Local().Format(time.DateTime), i.Uses)
	}
	return nil
}

func accountExport(j *accountJob) error {
	jids := j.Args().Slice()
	if len(jids) == 0 {
		jids = nil
	}
	file := j.String("out")
	if file == "" {
		if j.ui.outTerminal {
			p := usage("the export holds what logs in to the accounts, and is not for a terminal")
			p.hint = "name a file with --out FILE"
			return p
		}
		return j.desk.Export(j.ctx, jids, j.ui.out)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &problem{what: "the export cannot be written", why: err.Error(), hint: "name another file with --out FILE", err: err}
	}
	err = j.desk.Export(j.ctx, jids, f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(file) // half an export would be worse than none
		return err
	}
	if j.Bool("json") {
		return j.ui.json(said{File: file, Running: j.running})
	}
	j.ui.printf("wrote %s; it is as good as the accounts' passwords to whoever wants to guess them\n", printable(file))
	return nil
}

func accountImport(j *accountJob) error {
	var in io.Reader = os.Stdin
	if name := j.Args().First(); name != "-" {
		f, err := portable.Open(name)
		if err != nil {
			return &problem{what: "the file cannot be read", why: err.Error(), err: err}
		}
		defer f.Close()
		in = f
	}
	done, err := j.desk.Import(j.ctx, in)
	if err != nil {
		return err
	}
	failed := 0
	for _, a := range done.Accounts {
		if a.Error != "" {
			failed++
		}
	}
	if j.Bool("json") {
		if err := j.ui.json(done); err != nil {
			return err
		}
	} else {
		j.printImport(done)
	}
	if failed > 0 {
		return &problem{what: fmt.Sprintf("%d of %d accounts were not imported", failed, len(done.Accounts))}
	}
	return nil
}

func (j *accountJob) printImport(done control.Imported) {
	for _, a := range done.Accounts {
		if a.Error != "" {
			j.ui.warn("%s: %s", a.JID, a.Error)
			continue
		}
		j.ui.printf("%s: %d contacts, %d messages that wait, %d in the archive, %d other items\n", printable(a.JID), a.Contacts, a.Offline, a.Archived, a.Items)
		if a.Weak {
			j.ui.warn("%s: the file has no keys for the newer hashes; until its password is set again (`xmpp-gw account passwd`), everybody's login is by the older ones", a.JID)
		}
	}
	for _, note := range done.Notes {
		j.ui.warn("%s", note)
	}
}
