package main

import (
	"errors"
	"io/fs"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/config"
)

func configCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "config",
		Usage: "the configuration file",
		Subcommands: []*cli.Command{
			command(&cli.Command{
				Name:   "init",
				Usage:  "write an annotated configuration file with the defaults",
				Flags:  []cli.Flag{configFlag()},
				Action: func(c *cli.Context) error { return configInit(c, u) },
			}),
			command(&cli.Command{
				Name:   "validate",
				Usage:  "find every mistake in the configuration",
				Flags:  []cli.Flag{configFlag(), jsonFlag()},
				Action: func(c *cli.Context) error { return configValidate(c, u) },
			}),
			command(&cli.Command{
				Name:  "describe",
				Usage: "print the annotated default configuration",
				Flags: []cli.Flag{configFlag()},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return config.Describe(u.out)
				},
			}),
		},
	})
}

func configInit(c *cli.Context, u *ui) error {
	if err := noArguments(c); err != nil {
		return err
	}
	file := c.String("config")
	if file == "" {
		file = config.UserFile()
	}
	if file == "" {
		return &problem{
			what: "there is no place for a configuration file",
			why:  "neither HOME nor XDG_CONFIG_HOME is set",
			hint: "name one with --config FILE",
		}
	}
	err := config.Init(file)
	switch {
	case errors.Is(err, fs.ErrExist):
		return &problem{
			what: "there is a configuration file already",
			why:  file,
			hint: "name another with --config FILE; `xmpp-gw config describe` only prints what would be written",
		}
	case err != nil:
		return &problem{what: "the configuration file cannot be written", why: err.Error(), hint: "name another with --config FILE"}
	}
	u.printf("wrote %s\n", printable(file))
	return nil
}

// validation is the document of `config validate --json`.
type validation struct {
	File     string    `json:"file"` // empty: the built-in defaults
	Valid    bool      `json:"valid"`
	Mistakes []mistake `json:"mistakes"`
	Warnings []string  `json:"warnings"`
}

type mistake struct {
	Line int    `json:"line"`
	What string `json:"what"`
	Hint string `json:"hint,omitempty"`
}

func configValidate(c *cli.Context, u *ui) error {
	if err := noArguments(c); err != nil {
		return err
	}
	s, err := loadSettings(c.String("config"))
	if c.Bool("json") {
		return validateJSON(c, u, s, err)
	}
	if err != nil {
		return err
	}
	for _, w := range s.Warnings {
		u.warn("%s", w)
	}
	if s.File == "" {
		u.printf("there is no configuration file, and the built-in defaults need none\n")
		return nil
	}
	u.printf("%s: no mistakes\n", printable(s.File))
	return nil
}

func validateJSON(c *cli.Context, u *ui, s *settings, err error) error {
	v := validation{File: config.Find(c.String("config")), Valid: err == nil, Mistakes: []mistake{}, Warnings: []string{}}
	if err == nil {
		v.Warnings = append(v.Warnings, s.Warnings...)
		return u.json(v)
	}
	mistakes, ok := errors.AsType[config.Errors](err)
	if !ok {
		return err // the file could not be read
	}
	for _, m := range mistakes {
		v.Mistakes = append(v.Mistakes, mistake{m.Line, m.What, m.Hint})
	}
	return errors.Join(u.json(v), &problem{code: exitMistake}) // all is said
}
