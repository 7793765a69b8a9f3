package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// readPassword reads a new password: a line of standard input where that was asked
// for, else twice from a person at a terminal, where nobody else sees it.
func readPassword(j *accountJob, prompt string) (string, error) {
	if j.Bool("password-stdin") {
		// Longer than any that is taken.
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 8<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			return "", usage("standard input has no password in its first line")
		}
		return line, nil
	}
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		p := usage("there is nobody to ask for a password")
		p.hint = "hand it over on standard input, with --password-stdin"
		return "", p
	}
	ask := func(what string) (string, error) {
		_, _ = io.WriteString(j.ui.err, printable(what)+": ")
		b, err := term.ReadPassword(in)
		_, _ = io.WriteString(j.ui.err, "\n")
		return string(b), err
	}
	first, err := ask(prompt)
	if err != nil {
		return "", err
	}
	again, err := ask("once more")
	switch {
	case err != nil:
		return "", err
	case first == "":
		return "", &problem{what: "there is no account without a password"}
	case first != again:
		return "", &problem{what: "the two are not the same", hint: "try again"}
	}
	return first, nil
}
