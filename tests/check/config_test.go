//go:build e2e

package check

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"

	"xmpp-gw/tests/peers"
)

// what a configuration is filled with.
type place struct {
	peers.Place
	Testdata, Certificates string
	Lines, Modules         []string // of prosody
	Fixes                  []string // modules of prosody, for the host
	Below                  []string // components of prosody
	Without                []string // taken out of the good configuration
}

// letsencrypt is where the fixes say that certificates are; in the tests they are
// elsewhere, laid out alike.
const letsencrypt = "/etc/letsencrypt/live"

// here makes what is written for anybody fit the test's server.
func (p place) here(text string) string {
	return strings.NewReplacer(letsencrypt, p.Certificates, "DOMAIN", domain).Replace(text)
}

// configuration is the good one of a kind of server with the lines of a case on top,
// and on top of those the fixes.
func configuration(kind string, p place, lines string, fixes []string) (string, error) {
	lines = p.here(lines)
	for i := range fixes {
		fixes[i] = p.here(fixes[i])
	}
	if kind == "ejabberd" {
		return ejabberd(p, append([]string{lines}, fixes...))
	}
	p.Lines, p.Modules = p.lua(lines)
	for _, f := range fixes {
		lines, modules := p.lua(f)
		p.Lines, p.Fixes = append(p.Lines, lines...), append(p.Fixes, modules...)
		if _, below, ok := strings.Cut(f, "\nComponent "); ok {
			p.Below = append(p.Below, "Component "+below)
		}
	}
	text, err := fill("prosody.cfg.lua", p)
	if err != nil {
		return "", err
	}
	return text, run(p, text, fixes)
}

func fill(file string, p place) (string, error) {
	text, err := os.ReadFile(filepath.Join(p.Testdata, file))
	if err != nil {
		return "", err
	}
	good := string(text)
	for _, w := range p.Without {
		if !strings.Contains(good, w) {
			return "", fmt.Errorf("%s has no %q to take out", file, w)
		}
		good = strings.ReplaceAll(good, w, "")
	}
	t, err := template.New(file).Parse(good)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, p)
	return b.String(), err
}

var modules = regexp.MustCompile(`^modules_enabled = \{([^}]*)\}`)

// usual is a usual port in a list of ports.
var usual = regexp.MustCompile(`\b(5222|5223|5269|5270|443|3478)\b`)

// ports are the test's in place of the usual ones.
func (p place) ports() map[string]int {
	return map[string]int{"5222": p.StartTLS, "5223": p.DirectTLS, "5269": p.More[0], "5270": p.More[1], "443": p.More[2], "3478": p.More[3]}
}

// lua takes the modules out of lines for Prosody: they come to those that are there.
func (p place) lua(text string) (lines, names []string) {
	text, _, _ = strings.Cut(text, "\nComponent ")
	text = usual.ReplaceAllStringFunc(text, func(port string) string { return strconv.Itoa(p.ports()[port]) })
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := modules.FindStringSubmatch(line); m != nil {
			names = append(names, strings.TrimSpace(m[1]))
		} else {
			lines = append(lines, line)
		}
	}
	return lines, names
}

// ejabberd puts blocks of YAML into the configuration: maps into maps, an entry of
// listen into that of the same module and port, and all else in place of what was.
func ejabberd(p place, more []string) (string, error) {
	text, err := fill("ejabberd.yml", p)
	if err != nil {
		return "", err
	}
	var all map[string]any
	if err := yaml.Unmarshal([]byte(text), &all); err != nil {
		return "", err
	}
	for _, m := range more {
		var top map[string]any
		if err := yaml.Unmarshal([]byte(m), &top); err != nil {
			return "", fmt.Errorf("%q is no YAML: %w", m, err)
		}
		for key, value := range top {
			if key == "listen" {
				value, err = listeners(all[key].([]any), value)
				if err != nil {
					return "", fmt.Errorf("%q: %w", m, err)
				}
			}
			all[key] = into(all[key], value)
		}
	}
	for _, l := range all["listen"].([]any) {
		entry := l.(map[string]any)
		port, ok := p.ports()[fmt.Sprint(entry["port"])]
		if !ok {
			return "", fmt.Errorf("no test has the port %v", entry["port"])
		}
		entry["port"], entry["ip"] = port, "127.0.0.1"
	}
	out, err := yaml.Marshal(all)
	return string(out), err
}

// into puts a value into another.
func into(old, value any) any {
	was, ok1 := old.(map[string]any)
	is, ok2 := value.(map[string]any)
	if !ok1 || !ok2 {
		return value
	}
	for k, v := range is {
		was[k] = into(was[k], v)
	}
	return was
}

// listeners puts entries into those of the same module and port.
func listeners(old []any, value any) ([]any, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("listen is a list")
	}
next:
	for _, v := range list {
		entry, ok := v.(map[string]any)
		if !ok || entry["port"] == nil || entry["module"] == nil {
			return nil, fmt.Errorf("an entry of listen has a port and a module")
		}
		for _, o := range old {
			if was := o.(map[string]any); was["port"] == entry["port"] && was["module"] == entry["module"] {
				into(was, entry)
				continue next
			}
		}
		old = append(old, entry)
	}
	return old, nil
}

// command is a line of a fix that is to be typed.
var command = regexp.MustCompile(`(?m)^-- run: (prosodyctl .*)$`)

// run types the commands of fixes, with the test's configuration.
func run(p place, config string, fixes []string) error {
	file := filepath.Join(p.Dir, "prosody.cfg.lua")
	for _, f := range fixes {
		for _, m := range command.FindAllStringSubmatch(f, -1) {
			args := strings.Fields(m[1])
			cmd := exec.Command(args[0], append([]string{"--config", file}, args[1:]...)...)
			err := errors.Join(os.MkdirAll(filepath.Join(p.Dir, "certs"), 0o700), write(file, config))
			if err != nil {
				return err
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", m[0], err, out)
			}
		}
	}
	return nil
}

func write(name, text string) error { return os.WriteFile(name, []byte(text), 0o600) }
