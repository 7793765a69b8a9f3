package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// The rules of output, for every command:
//
//   - What a command was asked for goes to standard output, all else (errors,
//     warnings, the log) to standard error.
//
//   - Colour is for a terminal, and not when NO_COLOR is set (no-color.org) or
//     TERM is "dumb". Nothing is said by colour alone.
//
//   - --json prints one JSON document and a newline, with stable names
//     (docs/cli.md), and nothing else on standard output.
//
//   - An error is what happened, why, and what to do:
//
//     error: the configuration has 2 mistakes
//     config.toml:3: unknown key "rout"
//     hint: `xmpp-gw config describe` prints every key
//
//   - What came from the network is printed without its control characters.
//
//   - Exit codes are below, and never anything else; `check` has 2 as well, for
//     warnings (audit.ExitWarnings), and its 3 is for what it looked at.
const (
	exitDone    = 0 // what was asked for is done
	exitFailed  = 1 // it could not be done
	exitMistake = 3 // what was looked at (a configuration) is not in order
	exitUsage   = 4 // the command line is wrong
)

// problem is an error for a person.
type problem struct {
	what string // one line, no full stop; empty: all is said, and only the code counts
	why  string // lines; may be empty
	hint string // may be empty
	code int    // exit code
	err  error  // what caused it; may be nil
}

func (p *problem) Unwrap() error { return p.err }

func (p *problem) Error() string {
	if p.why == "" {
		return p.what
	}
	return p.what + ": " + p.why
}

// usage is a mistake on the command line.
func usage(format string, args ...any) *problem {
	return &problem{what: fmt.Sprintf(format, args...), code: exitUsage}
}

// ui is where a command's output goes.
type ui struct {
	out, err io.Writer
	// Whether each of them is a terminal on which colour is welcome.
	outColour, errColour bool
	outTerminal          bool
}

func newUI(out, err io.Writer) *ui {
	colour := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	outTerm, errTerm := isTerminal(out), isTerminal(err)
	return &ui{out: out, err: err, outColour: colour && outTerm, errColour: colour && errTerm, outTerminal: outTerm}
}

// isTerminal reports whether w is a terminal: a character device, and not the
// one that swallows everything.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// The colours in use, as SGR parameters (ECMA-48 §8.3.117).
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

func paint(on bool, colour, s string) string {
	if !on || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// printf prints to standard output.
func (u *ui) printf(format string, args ...any) { fmt.Fprintf(u.out, format, args...) }

// json prints v as the one document of --json.
func (u *ui) json(v any) error {
	enc := json.NewEncoder(u.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// fail prints err as a person's error and gives the exit code.
func (u *ui) fail(err error) int {
	p := explain(err)
	if p.what == "" {
		return p.code
	}
	fmt.Fprintf(u.err, "%s %s\n", paint(u.errColour, red, "error:"), printable(p.what))
	for line := range strings.Lines(p.why) {
		fmt.Fprintf(u.err, "  %s\n", printable(strings.TrimSuffix(line, "\n")))
	}
	if p.hint != "" {
		fmt.Fprintf(u.err, "%s %s\n", paint(u.errColour, bold, "hint:"), printable(p.hint))
	}
	if p.code == exitDone {
		return exitFailed
	}
	return p.code
}

// warn prints a warning that does not stop the command.
func (u *ui) warn(format string, args ...any) {
	fmt.Fprintf(u.err, "%s %s\n", paint(u.errColour, yellow, "warning:"), printable(fmt.Sprintf(format, args...)))
}

// printable is s without what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
