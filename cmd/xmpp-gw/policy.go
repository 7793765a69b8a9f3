package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/config"
	"xmpp-gw/policy"
)

func policyCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "policy",
		Usage: "what the rules say",
		Subcommands: []*cli.Command{command(&cli.Command{
			Name:      "explain",
			Usage:     "print what would happen to a domain, and which line says so",
			ArgsUsage: "DOMAIN",
			Flags:     []cli.Flag{configFlag(), stateFlag(), jsonFlag()},
			Action:    func(c *cli.Context) error { return policyExplain(c, u) },
		})},
	})
}

func policyExplain(c *cli.Context, u *ui) error {
	if c.NArg() != 1 {
		p := usage("%s takes one domain, and was given %d arguments", c.Command.HelpName, c.NArg())
		p.hint = "for example: xmpp-gw policy explain example.org"
		return p
	}
	// People paste their account's address; the domain decides.
	asked := c.Args().First()
	domain, err := policy.NormalizeDomain(asked[strings.LastIndexByte(asked, '@')+1:])
	if err != nil {
		p := usage("%q cannot be explained: %v", asked, err)
		p.hint = "for example: xmpp-gw policy explain example.org"
		return p
	}
	s, err := loadSettings(c.String("config"))
	if err != nil {
		return err
	}
	if p, err := findPaths(c.String("state-dir"), os.Getenv); err == nil {
		s.Rules.Known = p.book().Known // without a state folder there is nothing to know
	}
	d, err := s.Rules.Decide(policy.Target{Domain: domain})
	e := config.Explain(d, err)
	if c.Bool("json") {
		return u.json(e)
	}
	return e.WriteText(u.out)
}
