package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the flags of a command line in front of its arguments, so
// that `policy explain example.org --json` is read as people mean it: the cli
// package stops looking for flags at the first argument. What stands behind
// "--" is left alone.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	path, rest := args[:1], args[1:]
	commands, known := app.Commands, app.Flags
	for len(rest) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			break
		}
		path, rest = append(path, rest[0]), rest[1:]
		commands, known = commands[i].Subcommands, commands[i].Flags
	}
	var flags, others []string
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			others = append(others, rest...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			others = append(others, arg)
			continue
		}
		flags = append(flags, arg)
		if !strings.Contains(arg, "=") && takesValue(known, strings.TrimLeft(arg, "-")) && len(rest) > 0 {
			flags, rest = append(flags, rest[0]), rest[1:]
		}
	}
	line := slices.Concat(path, flags)
	if len(others) > 0 && others[0] != "help" {
		// An argument that begins with a dash stood behind "--".
		line = append(line, "--")
	}
	return append(line, others...)
}

// takesValue reports whether the flag of this name stands in front of a value.
func takesValue(flags []cli.Flag, name string) bool {
	for _, f := range flags {
		if _, isBool := f.(*cli.BoolFlag); !isBool && slices.Contains(f.Names(), name) {
			return true
		}
	}
	return false
}
