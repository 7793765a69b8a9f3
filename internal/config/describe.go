package config

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const describeHead = `The configuration of xmpp-gw: every key with its default. No file is needed at
all, and a key that is left out has its default.

Relative paths start at this file's directory. A key that does not exist is an
error. ` + "`xmpp-gw config validate`" + ` finds all mistakes at once, and
` + "`xmpp-gw policy explain DOMAIN`" + ` prints what holds for a domain and which
line says so.`

const defaultDoc = `What holds for every domain that has no section of its own.`

const domainDoc = `What holds for a domain and the domains under it. The longest section that fits
is laid over [default], and the shorter ones are left aside: with sections for
example.org and chat.example.org, the latter is all that room.chat.example.org
gets. All keys of [default] may stand here, and these:`

const socksDoc = `A SOCKS5 proxy for route = "socks:i2p": I2P, ssh -D, a company's. Any number.`

// Describe writes the default configuration with what each key means: a file that
// can be loaded, made from the tables that load it.
func Describe(w io.Writer) error {
	b := bufio.NewWriter(w)
	comment(b, "", describeHead)
	for _, s := range sections {
		describe(b, "", s.name, s.doc, s.keys)
	}
	describe(b, "", "default", defaultDoc, ruleKeys)
	describe(b, "# ", `domain."example.org"`, domainDoc, domainKeys)
	describe(b, "# ", "socks.i2p", socksDoc, socksKeys)
	return b.Flush()
}

// describe writes one section. The mark stands before each line that TOML would
// read otherwise.
func describe[T any](b *bufio.Writer, mark, name, doc string, keys []key[T]) {
	b.WriteByte('\n')
	comment(b, mark, doc)
	fmt.Fprintf(b, "%s[%s]\n", mark, name)
	for _, k := range keys {
		comment(b, mark, k.doc)
		fmt.Fprintf(b, "%s%s = %s\n", mark, k.name, k.def)
	}
}

// comment writes text in lines of some 80 characters. Behind a mark it is marked
// once more, so that taking the marks away leaves comments.
func comment(b *bufio.Writer, mark, text string) {
	const width = 80
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			fmt.Fprintf(b, "%s#\n", mark)
		}
		line := mark + "#"
		for _, word := range strings.Fields(paragraph) {
			if len(line)+1+len(word) > width && line != mark+"#" {
				fmt.Fprintln(b, line)
				line = mark + "#"
			}
			line += " " + word
		}
		fmt.Fprintln(b, line)
	}
}

// Init writes the file that [Describe] prints, for its owner alone, and makes the
// directory. A file that is there stays as it is: the error is then
// [io/fs.ErrExist].
func Init(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("the directory of the configuration cannot be made: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("the configuration cannot be written: %w", err)
	}
	err = Describe(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(file) // half a file would be worse than none
		return fmt.Errorf("the configuration cannot be written: %w", err)
	}
	return nil
}
