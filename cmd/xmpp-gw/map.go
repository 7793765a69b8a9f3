package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/addressbook"
	"xmpp-gw/policy"
)

// book is the address book of other people's onions in the state folder. The
// commands change its files, and a running daemon sees that at its next decision.
func (p paths) book() *addressbook.Store { return addressbook.Open(filepath.Join(p.state, "map")) }

// mapJob is a command about the address book under way.
type mapJob struct {
	*cli.Context
	ui   *ui
	book *addressbook.Store
}

// mapAction completes a command that takes this many arguments.
func mapAction(u *ui, c *cli.Command, args int, run func(*mapJob) error) *cli.Command {
	c.Flags = append([]cli.Flag{configFlag(), stateFlag(), jsonFlag()}, c.Flags...) // as the other commands about onions
	c.Action = func(c *cli.Context) error {
		if c.NArg() != args {
			return wrongArguments(c)
		}
		places, err := findPaths(c.String("state-dir"), os.Getenv)
		if err != nil {
			return err
		}
		if err := places.check(); err != nil {
			return err
		}
		err = run(&mapJob{c, u, places.book()})
		if own, ok := errors.AsType[*addressbook.Error](err); ok {
			return &problem{what: own.What, why: own.Why, hint: own.Hint, err: err}
		}
		return err
	}
	return command(c)
}

func mapCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "map",
		Usage: "the address book: onion addresses of other people's domains, in signed lists",
		Subcommands: []*cli.Command{
			mapAction(u, &cli.Command{
				Name: "import", Usage: "keep a signed list, once its signature and its addresses are checked", ArgsUsage: "FILE",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "key", Usage: "the curator's public `KEY` (RW…), or the file with it; needed for the first list"},
					&cli.StringFlag{Name: "signature", Usage: "the signature, where it is not `FILE`.minisig", TakesFile: true},
				},
			}, 1, mapImport),
			mapAction(u, &cli.Command{Name: "list", Usage: "show the lists, and the domains that are reached at onion addresses only"}, 0, mapList),
			mapAction(u, &cli.Command{Name: "remove", Usage: "remove the list of a key", ArgsUsage: "KEY"}, 1, mapRemove),
			mapAction(u, &cli.Command{
				Name: "forget", Usage: "let a domain be reached in other ways again than at its onion address", ArgsUsage: "DOMAIN",
			}, 1, mapForget),
			mapAction(u, &cli.Command{
				Name: "sign", Usage: "for curators: check a list and sign it (minisign does that as well)", ArgsUsage: "FILE",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "key", Usage: "the secret key, of keygen or of minisign, in `FILE`; needed", TakesFile: true},
					&cli.StringFlag{Name: "signature", Usage: "write to `FILE` in place of FILE.minisig", TakesFile: true},
				},
			}, 1, mapSign),
			mapAction(u, &cli.Command{
				Name: "keygen", Usage: "for curators: make a key to sign lists with (minisign -G does that as well)", ArgsUsage: "FILE",
			}, 1, mapKeygen),
		},
	})
}

// told prints what was done, or the JSON of it.
func (j *mapJob) told(doc any, format string, args ...any) error {
	if j.Bool("json") {
		return j.ui.json(doc)
	}
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		j.ui.printf("%s\n", printable(strings.TrimSuffix(line, "\n")))
	}
	return nil
}

// read reads a file that somebody gave us.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(f, addressbook.MaxList+1)); err == nil {
			return text, nil
		}
	}
	return nil, &problem{what: "the file cannot be read", why: err.Error(), err: err}
}

func mapImport(j *mapJob) error {
	file := j.Args().First()
	signature := j.String("signature")
	if signature == "" {
		signature = file + ".minisig"
	}
	text, err := read(file)
	if err != nil {
		return err
	}
	sig, err := read(signature)
	if errors.Is(err, fs.ErrNotExist) {
		return &problem{what: "the list has no signature", why: "there is no file " + signature,
			hint: "a list counts only with the signature of its curator: get that file too, or name it with --signature", err: err}
	}
	if err != nil {
		return err
	}
	var got addressbook.Imported
	if word := j.String("key"); word == "" {
		got, err = j.book.Import(text, sig, nil)
	} else {
		if !strings.HasPrefix(word, "RW") || len(word) != 56 {
			b, err := read(word)
			if err != nil {
				return err
			}
			word = string(b)
		}
		key, kerr := addressbook.ParseKey(word)
		if kerr != nil {
			return kerr
		}
		got, err = j.book.Import(text, sig, &key)
	}
	if err != nil {
		return err
	}
	return j.told(listOf(got), "%s: %d domains, until %s (key %s)", got.Title, len(got.Entries), got.Expires.Format(time.DateOnly), got.ID)
}

// mapDoc, listDoc, entryDoc and rememberedDoc are the JSON of the address book.
type mapDoc struct {
	Lists      []listDoc       `json:"lists"`
	Remembered []rememberedDoc `json:"remembered"` // reached at onion addresses only
	Problems   []string        `json:"problems"`   // what cannot be read, and refuses domains
}

type listDoc struct {
	Key     string     `json:"key"`
	Public  string     `json:"public_key"`
	Title   string     `json:"title"`
	Issued  time.Time  `json:"issued"`
	Expires time.Time  `json:"expires"`
	Expired bool       `json:"expired"`
	Entries []entryDoc `json:"entries"`
}

type entryDoc struct {
	Domain  string    `json:"domain"`
	Onions  []string  `json:"onions"`
	Expires time.Time `json:"expires"`
}

type rememberedDoc struct {
	Domain string   `json:"domain"`
	Since  string   `json:"since"` // YYYY-MM-DD
	Last   string   `json:"last"`
	Onions []string `json:"onions"`
}

func listOf(l addressbook.Imported) listDoc {
	doc := listDoc{Key: l.ID, Public: l.Key.String(), Title: l.Title, Issued: l.Issued, Expires: l.Expires,
		Expired: l.Expired(time.Now()), Entries: []entryDoc{}}
	for _, e := range l.Entries {
		doc.Entries = append(doc.Entries, entryDoc{e.Domain, spell(e.Endpoints), e.Expires})
	}
	return doc
}

func spell(list []policy.Endpoint) []string {
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = e.String()
	}
	return words
}

func mapList(j *mapJob) error {
	doc := mapDoc{Lists: []listDoc{}, Remembered: []rememberedDoc{}, Problems: []string{}}
	lists, err := j.book.Lists()
	if err != nil {
		doc.Problems = append(doc.Problems, err.Error())
	}
	for _, l := range lists {
		doc.Lists = append(doc.Lists, listOf(l))
	}
	remembered, err := j.book.Remembered()
	if err != nil && (len(doc.Problems) == 0 || doc.Problems[0] != err.Error()) {
		doc.Problems = append(doc.Problems, err.Error())
	}
	for _, r := range remembered {
		doc.Remembered = append(doc.Remembered, rememberedDoc{r.Domain, r.Since, r.Last, spell(r.Endpoints)})
	}
	if j.Bool("json") {
		err = j.ui.json(doc)
	} else {
		j.text(doc)
	}
	if err == nil && len(doc.Problems) > 0 {
		return &problem{code: exitFailed} // all is said
	}
	return err
}

// text prints the address book for a person.
func (j *mapJob) text(doc mapDoc) {
	for _, p := range doc.Problems {
		j.ui.warn("%s", p)
	}
	line := func(format string, args ...any) { j.ui.printf("%s\n", printable(fmt.Sprintf(format, args...))) }
	if len(doc.Lists)+len(doc.Remembered) == 0 {
		line("the address book is empty; `xmpp-gw onion map import FILE --key KEY` keeps a signed list")
	}
	for _, l := range doc.Lists {
		state := "until " + l.Expires.Format(time.DateOnly)
		if l.Expired {
			state = "EXPIRED on " + l.Expires.Format(time.DateOnly)
		}
		line("%s (key %s, of %s, %s)", l.Title, l.Key, l.Issued.Format(time.DateOnly), state)
		for _, e := range l.Entries {
			line("  %s  %s", policy.DisplayDomain(e.Domain), strings.Join(e.Onions, "  "))
		}
	}
	if len(doc.Remembered) > 0 {
		line("reached at onion addresses only, since a login there:")
	}
	for _, r := range doc.Remembered {
		line("  %s  since %s  %s", policy.DisplayDomain(r.Domain), r.Since, strings.Join(r.Onions, "  "))
	}
}

func mapRemove(j *mapJob) error {
	id := strings.ToUpper(j.Args().First())
	if err := j.book.Remove(id); err != nil {
		return err
	}
	return j.told(map[string]string{"removed": id}, "the list of key %s is removed; domains that were reached by it stay remembered", id)
}

func mapForget(j *mapJob) error {
	asked := j.Args().First()
	domain, err := policy.NormalizeDomain(asked[strings.LastIndexByte(asked, '@')+1:])
	if err != nil {
		return usage("%q is no domain: %v", asked, err)
	}
	ok, err := j.book.Forget(domain)
	if err != nil {
		return &problem{what: "the domain was not forgotten", why: err.Error(), err: err}
	}
	if !ok {
		return &problem{what: "nothing is remembered of " + policy.DisplayDomain(domain), hint: "`xmpp-gw onion map list` shows what is"}
	}
	return j.told(map[string]string{"forgotten": domain},
		"%s may be reached in other ways again, until the next login at an onion address of it; onion_upgrade = \"off\" in its section prevents that",
		policy.DisplayDomain(domain))
}

func mapSign(j *mapJob) error {
	file := j.Args().First()
	if j.String("key") == "" {
		p := usage("a list is signed with a secret key, and none is named")
		p.hint = "`xmpp-gw onion map keygen FILE` makes one; then: onion map sign LIST --key FILE"
		return p
	}
	text, err := read(file)
	if err != nil {
		return err
	}
	key, err := addressbook.ReadSecretKey(j.String("key"), password)
	if err != nil {
		return err
	}
	sig, err := addressbook.Sign(key, text, time.Now())
	if err != nil {
		return err
	}
	out := j.String("signature")
	if out == "" {
		out = file + ".minisig"
	}
	if err := os.WriteFile(out, sig, 0o644); err != nil {
		return &problem{what: "the signature was not written", why: err.Error(), err: err}
	}
	return j.told(map[string]string{"signature": out, "key": fmt.Sprintf("%016X", key.ID())}, "signed by key %016X: %s", key.ID(), out)
}

// password reads the password of a secret key from a pipe. Typed on a terminal it
// would be seen.
func password() (string, error) {
	if isTerminal(os.Stdin) {
		return "", errors.New("it is encrypted: give its password on standard input (not typed), or sign with minisign itself")
	}
	line, err := bufio.NewReader(io.LimitReader(os.Stdin, 1024)).ReadString('\n')
	if err != nil && line == "" {
		return "", errors.New("it is encrypted, and no password came on standard input")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func mapKeygen(j *mapJob) error {
	file := j.Args().First()
	key, err := addressbook.NewKey(file)
	if err != nil {
		return err
	}
	return j.told(map[string]string{"secret_key": file, "public_key": key.String(), "key": addressbook.KeyID(key)},
		"the secret key is in %s (keep it, and keep it secret)\nthe public key, for those who import your lists, is\n%s", file, key.String())
}
