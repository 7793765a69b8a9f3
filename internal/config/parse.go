package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"xmpp-gw/policy"
)

// loader collects a file's settings and its mistakes.
type loader struct {
	file     string
	c        *Config
	mistakes Errors
	seen     map[string]int    // full key -> line
	hops     map[string]int    // [socks.NAME] -> line
	domains  map[string]string // normalised -> as written
	routes   []policy.Value[policy.Route]
}

// Parse reads the text of file, whose name is for messages and relative paths.
// The error is of type [Errors].
func Parse(file string, text []byte) (*Config, error) {
	l := &loader{
		file:    file,
		c:       &Config{File: file, SOCKS: map[string]*url.URL{}, Rules: policy.Rules{Domains: map[string]policy.Rule{}}},
		seen:    map[string]int{},
		hops:    map[string]int{},
		domains: map[string]string{},
	}
	l.defaults()
	l.read(text)
	l.check()
	if len(l.mistakes) > 0 {
		slices.SortStableFunc(l.mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
		return nil, l.mistakes
	}
	return l.c, nil
}

func (l *loader) mistake(line int, err error) {
	m := Mistake{File: l.file, Line: line, What: err.Error()}
	var h hint
	if errors.As(err, &h) {
		m.Hint = h.advice
	}
	l.mistakes = append(l.mistakes, m)
}

// defaults takes the defaults of the tables.
func (l *loader) defaults() {
	for _, s := range sections {
		for _, k := range s.keys {
			if err := k.set(l.c, literal(k.def)); err != nil {
				l.mistake(0, fmt.Errorf("default of %s.%s: %w", s.name, k.name, err))
			}
		}
	}
	t := target{rule: &l.c.Rules.Default, source: BuiltIn}
	for _, k := range ruleKeys {
		if err := k.set(t, literal(k.def)); err != nil {
			l.mistake(0, fmt.Errorf("default of %s: %w", k.name, err))
		}
	}
}

// literal reads one TOML value.
func literal(toml string) value {
	var p unstable.Parser
	p.Reset([]byte("v = " + toml))
	if !p.NextExpression() {
		return value{kind: "something else"}
	}
	return valueOf(p.Expression().Value(), "")
}

func valueOf(n *unstable.Node, dir string) value {
	v := value{text: string(n.Data), dir: dir}
	switch n.Kind {
	case unstable.String:
		v.kind = "a string"
	case unstable.Integer:
		v.kind = "a number"
	case unstable.Bool:
		v.kind = "true or false"
	case unstable.Array:
		v.kind = "a list"
		for it := n.Children(); it.Next(); {
			v.list = append(v.list, valueOf(it.Node(), dir))
		}
	default:
		v.kind = "something else"
	}
	return v
}

// read goes over the file's expressions.
func (l *loader) read(text []byte) {
	dir, err := filepath.Abs(filepath.Dir(l.file))
	if err != nil {
		dir = filepath.Dir(l.file)
	}
	var p unstable.Parser
	p.Reset(text)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		path, at := keyOf(e)
		line := p.Shape(at).Start.Line
		switch e.Kind {
		case unstable.Table:
			table = path
			l.table(path, line)
		case unstable.ArrayTable:
			table = nil
			l.mistake(line, fmt.Errorf("[[%s]]: there are no lists of tables here", strings.Join(path, ".")))
		case unstable.KeyValue:
			full := append(slices.Clone(table), path...)
			l.value(full, line, e.Value(), dir)
		}
	}
	if err := p.Error(); err != nil {
		l.syntax(&p, err)
	}
}

// syntax reports what is no TOML. Nothing behind it can be read.
func (l *loader) syntax(p *unstable.Parser, err error) {
	line := 1
	var at *unstable.ParserError
	if errors.As(err, &at) {
		line = p.Shape(p.Range(at.Highlight)).Start.Line
		err = errors.New(at.Message)
	}
	l.mistake(line, hint{fmt.Errorf("not TOML: %w", err), "what follows was not looked at"})
}

func keyOf(n *unstable.Node) (path []string, at unstable.Range) {
	for it := n.Key(); it.Next(); {
		k := it.Node()
		if len(path) == 0 {
			at = k.Raw
		}
		path = append(path, string(k.Data))
	}
	return path, at
}

// value takes one key. An inline table is taken as its keys.
func (l *loader) value(full []string, line int, n *unstable.Node, dir string) {
	if n.Kind == unstable.InlineTable {
		if !l.table(full, line) {
			return
		}
		for it := n.Children(); it.Next(); {
			path, _ := keyOf(it.Node())
			l.value(append(slices.Clone(full), path...), line, it.Node().Value(), dir)
		}
		return
	}
	name := strings.Join(full, "\x00")
	if before, ok := l.seen[name]; ok {
		l.mistake(line, fmt.Errorf("%s is set twice, first in line %d", strings.Join(full, "."), before))
		return
	}
	l.seen[name] = line
	if err := l.set(full, line, valueOf(n, dir)); err != nil {
		l.mistake(line, wrap(strings.Join(full[len(full)-1:], "."), err))
	}
}

// wrap puts the key before an error and keeps its advice.
func wrap(name string, err error) error {
	var h hint
	if errors.As(err, &h) {
		return hint{fmt.Errorf("%s: %w", name, h.error), h.advice}
	}
	return fmt.Errorf("%s: %w", name, err)
}

// errSkip is a key of a section that was reported already.
var errSkip = errors.New("reported already")

// table opens a table and reports whether its keys mean anything.
func (l *loader) table(path []string, line int) bool {
	switch {
	case len(path) == 1 && (path[0] == "default" || path[0] == "domain" || path[0] == "socks" || isSection(path[0])):
	case len(path) == 2 && path[0] == "domain":
		l.domain(path[1], line)
	case len(path) == 2 && path[0] == "socks":
		if _, ok := l.hops[path[1]]; !ok {
			l.hops[path[1]] = line
		}
	default:
		name := "[" + strings.Join(path, ".") + "]"
		if path[0] == "domain" && len(path) > 2 {
			l.mistake(line, hinted(name+" is no section", `quote the domain: [domain."`+strings.Join(path[1:], ".")+`"]`))
		} else if !isSection(path[0]) && path[0] != "default" {
			l.mistake(line, hinted(name+" is no section", nearest(path[0], sectionNames())))
		} else {
			l.mistake(line, fmt.Errorf("%s is no section", name))
		}
		return false
	}
	return true
}

func isSection(name string) bool {
	return slices.ContainsFunc(sections, func(s section) bool { return s.name == name })
}

func sectionNames() []string {
	names := []string{"default", "domain", "socks"}
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// domain gives the normalised name of a [domain] section, "" where it has none.
func (l *loader) domain(written string, line int) string {
	name, err := policy.NormalizeDomain(written)
	if err == nil && policy.IsOnion(name) {
		err = policy.CheckOnion(name)
	}
	if err != nil {
		if _, ok := l.domains["\x00"+written]; !ok {
			l.domains["\x00"+written] = written
			l.mistake(line, fmt.Errorf("[domain.%q]: %w", written, err))
		}
		return ""
	}
	if before, ok := l.domains[name]; ok && before != written {
		l.mistake(line, fmt.Errorf("[domain.%q] is the same domain as [domain.%q]", written, before))
	}
	l.domains[name] = written
	if _, ok := l.c.Rules.Domains[name]; !ok {
		l.c.Rules.Domains[name] = policy.Rule{}
	}
	return name
}

// set takes the value of one full key.
func (l *loader) set(full []string, line int, v value) error {
	source := fmt.Sprintf("%s:%d", l.file, line)
	last := full[len(full)-1]
	switch {
	case len(full) == 1:
		return hinted("it stands in no section", nearest(last, allKeys()))
	case len(full) == 2 && full[0] == "default":
		err := setRule(target{&l.c.Rules.Default, source, false}, ruleKeys, last, v)
		if err != nil && has(domainKeys, last) {
			return hinted("it belongs to one domain", `set it in a [domain."..."] section`)
		}
		l.route(last, l.c.Rules.Default.Route)
		return err
	case len(full) == 3 && full[0] == "domain":
		name := l.domain(full[1], line)
		if name == "" {
			return errSkip
		}
		rule := l.c.Rules.Domains[name]
		err := setRule(target{&rule, source, true}, slices.Concat(ruleKeys, domainKeys), last, v)
		l.c.Rules.Domains[name] = rule
		l.route(last, rule.Route)
		return err
	case len(full) == 3 && full[0] == "socks":
		if last != "url" {
			return hinted("there is no such key", nearest(last, []string{"url"}))
		}
		if _, ok := l.hops[full[1]]; !ok {
			l.hops[full[1]] = line
		}
		u, err := v.socksURL()
		l.c.SOCKS[full[1]] = u
		return err
	case len(full) == 2 && isSection(full[0]):
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == full[0] })
		for _, k := range sections[i].keys {
			if k.name == last {
				return k.set(l.c, v)
			}
		}
		return hinted("there is no such key", nearest(last, keyNames(sections[i].keys)))
	}
	return errSkip // the table was reported
}

// route keeps a route that was set, to see later whether its hop exists.
func (l *loader) route(key string, r policy.Value[policy.Route]) {
	if key == "route" && r.V.Kind == policy.RouteSOCKS {
		l.routes = append(l.routes, r)
	}
}

func setRule(t target, keys []key[target], name string, v value) error {
	for _, k := range keys {
		if k.name == name {
			return k.set(t, v)
		}
	}
	return hinted("there is no such key", nearest(name, keyNames(keys)))
}

func has(keys []key[target], name string) bool {
	return slices.ContainsFunc(keys, func(k key[target]) bool { return k.name == name })
}

func keyNames[T any](keys []key[T]) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

func allKeys() []string {
	names := append(keyNames(ruleKeys), keyNames(domainKeys)...)
	for _, s := range sections {
		names = append(names, keyNames(s.keys)...)
	}
	return names
}

// check looks at what settings mean together.
func (l *loader) check() {
	for _, r := range l.routes {
		if _, ok := l.hops[r.V.Name]; !ok {
			l.mistake(lineOf(r.Source), hinted(fmt.Sprintf("route: there is no SOCKS hop %q", r.V.Name), fmt.Sprintf("add [socks.%s] with its url", r.V.Name)))
		}
	}
	for name, line := range l.hops {
		if _, ok := l.c.SOCKS[name]; !ok {
			l.mistake(line, hinted(fmt.Sprintf("[socks.%s] has no url", name), "write url = \"socks5://IP:PORT\""))
		}
	}
	if l.c.Listen.ClientTLS == "optional" {
		for _, a := range l.c.Listen.C2S {
			if !loopback(a) {
				l.mistake(l.seen["listen\x00client_tls"], hinted(fmt.Sprintf("client_tls = \"optional\" with the listener %s, which others can reach", a),
					"keep clients without TLS to loopback and unix sockets"))
			}
		}
	}
	if m := l.c.Listen.Metrics; m != "" && !loopback(m) && !l.c.Listen.MetricsPublic {
		l.mistake(l.seen["listen\x00metrics"], hinted("metrics listens beyond loopback", "set metrics_public = true if that is what you want"))
	}
	l.checkRules()
}

// checkRules finds rules that could never hold.
func (l *loader) checkRules() {
	for name, written := range l.domains {
		rule, ok := l.c.Rules.Domains[name]
		if !ok {
			continue
		}
		line := func(key string) int {
			if n := l.seen["domain\x00"+written+"\x00"+key]; n > 0 {
				return n
			}
			return l.seen["default\x00"+key]
		}
		onionOnly := rule.Onion.IsSet() || policy.IsOnion(name)
		d, _ := l.c.Rules.Decide(policy.Target{Domain: name})
		switch {
		case rule.TLS.V == policy.TLSOnion && !onionOnly:
			l.mistake(line("tls"), hinted(`tls = "onion" needs an onion address for the domain`, `add onion = "....onion"`))
		case rule.TLS.V == policy.TLSPin && len(rule.Pins.V) == 0:
			l.mistake(line("tls"), hinted(`tls = "pin" needs pins for the domain`, `add pins = ["sha256/..."]`))
		}
		if onionOnly && d.Route.Kind != policy.RouteUnset && !d.Route.ViaTor() && d.Route.Kind != policy.RouteBlock {
			at := line("onion")
			if n := line("route"); n > 0 {
				at = n
			}
			l.mistake(at, hinted(fmt.Sprintf("route: an onion address cannot be reached by %q", d.Route), `use route = "tor" or "onion-only"`))
		}
	}
	if l.c.Rules.Default.TLS.V == policy.TLSPin || l.c.Rules.Default.TLS.V == policy.TLSOnion {
		l.mistake(l.seen["default\x00tls"], hinted(fmt.Sprintf("tls: %q cannot hold for every domain", l.c.Rules.Default.TLS.V), `set it in a [domain."..."] section`))
	}
}

func lineOf(source string) int {
	var line int
	if i := strings.LastIndexByte(source, ':'); i >= 0 {
		_, _ = fmt.Sscanf(source[i+1:], "%d", &line)
	}
	return line
}

func loopback(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// nearest is a hint at the name that was probably meant, "" if none is close.
func nearest(name string, names []string) string {
	best, bestDistance := "", 3
	for _, n := range names {
		if d := distance(name, n); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	if best == "" {
		return "xmpp-gw config describe lists what there is"
	}
	return "did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
