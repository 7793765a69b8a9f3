package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/control"
	"xmpp-gw/policy"
)

// watchInterval is how often `status --watch` looks.
const watchInterval = 2 * time.Second

// statusReport is the document of `status --json`.
type statusReport struct {
	Status   control.Status    `json:"status"`
	Sessions []control.Session `json:"sessions"`
	Onions   []control.Onion   `json:"onions"`
	Verdicts []control.Verdict `json:"verdicts"`
}

func statusCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:  "status",
		Usage: "show the running daemon: Tor, listeners, onion services, sessions",
		Flags: []cli.Flag{
			configFlag(), stateFlag(), jsonFlag(),
			&cli.BoolFlag{Name: "show-relays", Usage: "name the relays of each session's circuit"},
			&cli.BoolFlag{Name: "watch", Usage: "go on showing it, every two seconds, until interrupted"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			path, err := findControl(c.String("state-dir"), os.Getenv)
			if err != nil {
				return err
			}
			client := control.NewClient(path)
			defer client.Close()
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			show := func() error {
				return showStatus(ctx, u, client, statusFlags{c.Bool("json"), c.Bool("watch"), c.Bool("show-relays")})
			}
			if !c.Bool("watch") {
				return show()
			}
			return watch(ctx, watchInterval, show)
		},
	})
}

// watch calls show until ctx ends, which is how a person ends it and no error.
func watch(ctx context.Context, every time.Duration, show func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := show(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type statusFlags struct{ json, again, relays bool }

func showStatus(ctx context.Context, u *ui, client *control.Client, flags statusFlags) error {
	var report statusReport
	var err error
	if report.Status, err = client.Status(ctx); err != nil {
		return err
	}
	if report.Sessions, err = client.Sessions(ctx, flags.relays); err != nil {
		return err
	}
	if report.Onions, err = client.Onions(ctx); err != nil {
		return err
	}
	if report.Verdicts, err = client.Verdicts(ctx); err != nil {
		return err
	}
	if flags.json {
		return u.json(report)
	}
	var page strings.Builder
	if flags.again && u.outTerminal {
		page.WriteString("\x1b[H\x1b[2J") // top left, and clear
	}
	writeStatus(&page, u.outColour, report, time.Now())
	if flags.again && !u.outTerminal {
		page.WriteByte('\n')
	}
	u.printf("%s", page.String()) // in one write, so that a watched screen does not flicker
	return nil
}

func writeStatus(w io.Writer, colour bool, r statusReport, now time.Time) {
	s := r.Status
	fmt.Fprintf(w, "xmpp-gw %s, process %d, up %s, %s\n", printable(s.Version), s.PID, age(now.Sub(s.Started)),
		paint(colour, stateColour(s.State), printable(s.State)))
	head := func(name, text string) { fmt.Fprintf(w, "%s %s\n", paint(colour, bold, name+":"), printable(text)) }
	if s.Config == "" {
		head("configuration", "built-in defaults")
	} else {
		head("configuration", s.Config)
	}
	if s.ConfigError != "" {
		head("the last reload was refused", s.ConfigError)
	}
	head("tor", torText(s.Tor))
	head("listening", listening(s.Listeners))
	if s.Node != nil {
		head("node", nodeText(*s.Node))
	}
	for _, o := range r.Onions {
		head("onion", onionLine(o))
	}
	head("sessions", fmt.Sprintf("%d open, %d since the start", s.Sessions.Open, s.Sessions.Total))
	if len(r.Sessions) > 0 {
		fmt.Fprintln(w)
		writeSessions(w, r.Sessions)
	}
	if len(r.Verdicts) > 0 {
		fmt.Fprintln(w)
		writeVerdicts(w, r.Verdicts, now)
	}
	for _, o := range r.Onions {
		for _, trouble := range onionTroubles(o) {
			fmt.Fprintf(w, "%s onion %s: %s\n", paint(colour, yellow, "warning:"), printable(o.Name), printable(trouble))
		}
	}
	for _, session := range r.Sessions {
		if len(session.Relays) > 0 {
			fmt.Fprintf(w, "session %s goes by %s\n", printable(session.ID), printable(strings.Join(session.Relays, ", ")))
		}
		for _, warning := range session.Warnings {
			fmt.Fprintf(w, "%s session %s: %s\n", paint(colour, yellow, "warning:"), printable(session.ID), printable(warning))
		}
	}
}

func stateColour(state string) string {
	switch state {
	case control.StateReady:
		return green
	case control.StateFailed:
		return red
	}
	return yellow
}

func torText(t control.Tor) string {
	var parts []string
	if t.Version != "" {
		parts = append(parts, t.Version)
	}
	switch {
	case t.State == control.StateOff:
	case t.Managed:
		parts = append(parts, "started by xmpp-gw")
	case t.State == control.StateReady:
		parts = append(parts, "the system's")
	}
	switch t.State {
	case control.StateStarting:
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("starting, %d %% %s", t.Bootstrap, t.Doing)))
	case control.StateFailed:
		parts = append(parts, "failed: "+t.Error)
	default:
		parts = append(parts, t.State)
	}
	return strings.Join(parts, ", ")
}

func listening(all []control.Listener) string {
	if len(all) == 0 {
		return "nowhere"
	}
	var parts []string
	for _, l := range all {
		parts = append(parts, l.Address+" ("+kindText(l.Kind)+")")
	}
	return strings.Join(parts, ", ")
}

// kindText is what a person calls a listener's kind.
func kindText(kind string) string {
	switch kind {
	case kindSTARTTLS:
		return "STARTTLS"
	case kindDirectTLS:
		return "direct TLS"
	case kindNodeSTARTTLS:
		return "STARTTLS, the node alone"
	case kindNodeDirectTLS:
		return "direct TLS, the node alone"
	}
	return kind
}

func writeSessions(w io.Writer, sessions []control.Session) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tDOMAIN\tROUTE\tCIRCUIT\tTLS\tLOGIN\tUP\tDOWN\tAGE")
	for _, s := range sessions {
		cells := []string{
			s.ID, s.State, s.Domain, s.Route, s.Circuit,
			joined(strings.TrimPrefix(s.TLS.Version, "TLS "), s.TLS.Group, strings.TrimPrefix(s.TLS.Cipher, "TLS_")),
			login(s.SASL),
			size(s.Up.Bytes), size(s.Down.Bytes), age(time.Duration(s.Age) * time.Second),
		}
		for i, cell := range cells {
			if cell == "" {
				cell = "-"
			}
			// A tab would end the cell.
			cells[i] = strings.ReplaceAll(printable(cell), "\t", " ")
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

// writeVerdicts says what the last login at each domain showed of its server.
func writeVerdicts(w io.Writer, verdicts []control.Verdict, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER OF\tGRADE\tFAIL\tWARN\tWORST\tSEEN")
	for _, v := range verdicts {
		worst := "-"
		if v.Worst != nil {
			worst = joined(v.Worst.Verdict, v.Worst.Severity, v.Worst.ID)
		}
		if v.Grade == "" {
			v.Grade = "-"
		}
		row := fmt.Sprintf("%s\t%s\t%d\t%d\t%s\t%s ago", printable(policy.DisplayDomain(v.Domain)), v.Grade, v.Failures, v.Warnings, printable(worst), age(now.Sub(v.At)))
		fmt.Fprintln(t, row)
	}
	t.Flush()
}

// login is the mechanism with its binding, or who else does the login.
func login(s control.SASL) string {
	if s.Mechanism == "" && s.Mode != "originate" {
		return s.Mode
	}
	return joined(s.Mechanism, s.Binding)
}

// joined puts the words that are there next to each other.
func joined(words ...string) string {
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// size is a count of bytes in decimal units.
func size(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if v /= 1000; v < 999.95 {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
	}
	return fmt.Sprintf("%.1f TB", v/1000)
}

// age is a duration in its two largest units.
func age(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	days, hours, minutes, seconds := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min %d s", minutes, seconds)
	}
	return fmt.Sprintf("%d s", seconds)
}
