package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"xmpp-gw/policy"
)

// loader collects a file's settings and its mistakes.
type loader struct {
	file     string
	dir      string // where relative paths start
	c        *Config
	mistakes Errors
	tables   map[string]int    // full name of each table that has a head -> line
	keys     map[string]int    // full name of each key -> line
	hops     map[string]int    // [socks.NAME] -> line
	domains  map[string]string // normalised name -> as it was written first
	bad      map[string]bool   // domains, as written, that are none
	routes   []hopUse
}

// hopUse is a route that needs a SOCKS hop.
type hopUse struct {
	name string
	line int
}

// Parse reads the text of file, whose name is for messages and relative paths.
// The error is of type [Errors].
func Parse(file string, text []byte) (*Config, error) {
	l := &loader{
		file:    file,
		dir:     filepath.Dir(file),
		c:       &Config{File: file, SOCKS: map[string]*url.URL{}, Rules: policy.Rules{Domains: map[string]policy.Rule{}}},
		tables:  map[string]int{},
		keys:    map[string]int{},
		hops:    map[string]int{},
		domains: map[string]string{},
		bad:     map[string]bool{},
	}
	if dir, err := filepath.Abs(l.dir); err == nil {
		l.dir = dir
	}
	// Some editors begin a file with a byte order mark; TOML has no use for it.
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	l.defaults()
	rest, headless := l.syntax(text)
	complete := len(l.mistakes) == 0
	l.read(rest, headless)
	if complete { // else what is missing may stand in a line that cannot be read
		l.check()
	}
	l.strict(text)
	if len(l.mistakes) > 0 {
		slices.SortStableFunc(l.mistakes, func(a, b Mistake) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.What, b.What)) })
		return nil, l.mistakes
	}
	l.c.lines = l.keys
	return l.c, nil
}

func (l *loader) mistake(line int, err error) {
	m := Mistake{File: l.file, Line: line, What: presentable(err.Error())}
	if h, ok := errors.AsType[hint](err); ok {
		m.Hint = presentable(h.advice)
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

// read goes over the file's expressions. headless are the lines at which a section
// was to begin.
func (l *loader) read(text []byte, headless []int) {
	var p unstable.Parser
	p.Reset(text)
	lines := lineCounter{text: text, line: 1}
	var table []string
	known := true
	opened := 0 // the line of table
	for p.NextExpression() {
		e := p.Expression()
		path, line := keyPath(e), lines.at(int(keyStart(e)))
		if e.Kind == unstable.KeyValue && slices.ContainsFunc(headless, func(n int) bool { return opened < n && n < line }) {
			continue // of a section whose head was reported
		}
		switch e.Kind {
		case unstable.Table:
			table, known, opened = path, l.table(path, line), line
		case unstable.ArrayTable:
			known, opened = false, line
			l.mistake(line, hinted(fmt.Sprintf("[[%s]] is a list of tables, and there are none here", dotted(path)), "write ["+dotted(path)+"]"))
		case unstable.KeyValue:
			if known { // the keys of a section that was reported are not looked at
				l.value(slices.Concat(table, path), line, e.Value(), &lines)
			}
		}
	}
}

// strict finds what is no TOML and was not noticed, so that no file loads here
// that other TOML readers refuse.
func (l *loader) strict(text []byte) {
	if len(l.mistakes) > 0 {
		return
	}
	var all map[string]any
	if err := toml.Unmarshal(text, &all); err != nil {
		line := 1
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = at.Position()
		}
		l.mistake(line, fmt.Errorf("not TOML: %w", err))
	}
}

// lineCounter numbers the lines of a text whose offsets come in rising order.
type lineCounter struct {
	text   []byte
	offset int
	line   int
}

func (c *lineCounter) at(offset int) int {
	if offset > c.offset {
		c.line += bytes.Count(c.text[c.offset:offset], []byte("\n"))
		c.offset = offset
	}
	return c.line
}

// keyPath is the dotted key of an expression.
func keyPath(n *unstable.Node) (path []string) {
	for it := n.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
	}
	return path
}

// keyStart is the offset of an expression's key.
func keyStart(n *unstable.Node) uint32 {
	it := n.Key()
	it.Next()
	return it.Node().Raw.Offset
}

// dotted writes a key as TOML does.
func dotted(path []string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = p
		if p == "" || strings.ContainsFunc(p, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			parts[i] = fmt.Sprintf("%q", p)
		}
	}
	return strings.Join(parts, ".")
}

// join is a full name as the key of a map.
func join(path ...string) string { return strings.Join(path, "\x00") }

// value takes one key. An inline table is taken as its keys.
func (l *loader) value(full []string, line int, n *unstable.Node, lines *lineCounter) {
	if n.Kind == unstable.InlineTable {
		if !l.table(full, line) {
			return
		}
		for it := n.Children(); it.Next(); {
			e := it.Node()
			l.value(slices.Concat(full, keyPath(e)), lines.at(int(keyStart(e))), e.Value(), lines)
		}
		return
	}
	name := join(full...)
	if before, ok := l.keys[name]; ok {
		l.mistake(line, hinted(fmt.Sprintf("%s is set twice, first in line %d", dotted(full), before), "keep one of them"))
		return
	}
	l.keys[name] = line
	err := l.set(full, line, valueOf(n, l.dir))
	if err != nil && err != errReported {
		l.mistake(line, wrap(full[len(full)-1], err))
	}
}

// wrap puts the key before an error and keeps its advice.
func wrap(key string, err error) error {
	name := dotted([]string{key})
	if h, ok := errors.AsType[hint](err); ok {
		return hint{fmt.Errorf("%s: %w", name, h.error), h.advice}
	}
	return fmt.Errorf("%s: %w", name, err)
}
