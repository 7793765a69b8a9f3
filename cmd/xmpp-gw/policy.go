package main

import (
	"os"
	"slices"
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
		if domain == hostedDomain(p, s) {
			return explainHosted(c, u, s, domain)
		}
	}
	d, err := s.Rules.Decide(policy.Target{Domain: domain})
	e := config.Explain(d, err)
	if c.Bool("json") {
		return u.json(e)
	}
	return e.WriteText(u.out)
}

// hostedHere is the document of `policy explain --json` for the node's domain.
type hostedHere struct {
	Domain    string   `json:"domain"`
	Allowed   bool     `json:"allowed"`
	Route     string   `json:"route"` // "node"
	Sentences []string `json:"sentences"`
	Source    string   `json:"source"` // where the domain is set
}

// explainHosted is what holds for the domain of the bundled server.
func explainHosted(c *cli.Context, u *ui, s *settings, domain string) error {
	h := hostedHere{Domain: domain, Allowed: true, Route: "node", Source: s.NodeSource(), Sentences: []string{
		"It is served by the bundled server in this process, and nothing about it goes out.",
		map[string]string{
			"invite": "Who has an invitation can make an account (`xmpp-gw account invite`).",
			"closed": "Accounts are made with `xmpp-gw account add` alone.",
			"open":   "Everybody who can connect can make an account.",
		}[s.Node.Registration],
	}}
	switch {
	case s.Node.Publish:
		h.Sentences = append(h.Sentences, "Others reach it at its onion service, node.")
	case len(s.Node.C2S)+len(s.Node.C2STLS) > 0:
		h.Sentences = append(h.Sentences, "Others reach it at "+strings.Join(slices.Concat(s.Node.C2S, s.Node.C2STLS), ", ")+".")
	}
	if c.Bool("json") {
		return u.json(h)
	}
	u.printf("%s: served here\n", policy.DisplayDomain(domain))
	for _, sentence := range h.Sentences {
		u.printf("  %s\n", sentence)
	}
	u.printf("\ndomain  %s  %s\n", domain, printable(h.Source))
	return nil
}
