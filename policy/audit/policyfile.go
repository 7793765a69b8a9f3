package audit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"xmpp-gw/internal/sentence"
)

const (
	maxPolicy     = 1 << 20 // bytes
	maxExceptions = 10_000
)

// PolicyMistake is one mistake in a policy file.
type PolicyMistake struct {
	File       string
	Line       int // 0: of the file as a whole
	What, Hint string
}

// PolicyErrors are all mistakes of a policy file, in the order of their lines.
type PolicyErrors []PolicyMistake

func (e PolicyErrors) Error() string {
	var said []string
	for _, m := range e {
		at := m.File
		if m.Line > 0 {
			at = fmt.Sprintf("%s:%d", m.File, m.Line)
		}
		said = append(said, sentence.Of(at, m.What, m.Hint))
	}
	return strings.Join(said, "\n")
}

// policyReader collects a policy and its mistakes.
type policyReader struct {
	file     string
	text     []byte
	policy   *Policy
	mistakes PolicyErrors
	ids      map[string]bool
	set      map[string]int // key -> line, of the section at hand
	heads    []int          // line of each [[exception]]
}

// ParsePolicy reads a policy. file is for messages. The error is of type
// [PolicyErrors] and has all mistakes.
func ParsePolicy(file string, text []byte) (*Policy, error) {
	r := &policyReader{file: file, text: bytes.TrimPrefix(text, []byte("\ufeff")), policy: &Policy{Level: Medium}, ids: map[string]bool{}, set: map[string]int{}}
	for _, q := range questions() {
		r.ids[q.id] = true
	}
	if len(text) > maxPolicy {
		r.mistake(0, fmt.Sprintf("it is longer than %d bytes", maxPolicy), "")
		return nil, r.mistakes
	}
	r.read()
	if len(r.mistakes) == 0 {
		r.strict()
	}
	if len(r.mistakes) == 0 {
		r.complete()
	}
	if len(r.mistakes) > 0 {
		slices.SortStableFunc(r.mistakes, func(a, b PolicyMistake) int { return a.Line - b.Line })
		return nil, r.mistakes
	}
	return r.policy, nil
}

func (r *policyReader) mistake(line int, what, hint string) {
	r.mistakes = append(r.mistakes, PolicyMistake{Clean(r.file), line, lines(what), lines(hint)})
}

// read goes over the expressions of the file, up to the first that is no TOML.
func (r *policyReader) read() {
	var p unstable.Parser
	p.Reset(r.text)
	known, at, line := true, uint32(0), 1
	section := ""
	for p.NextExpression() {
		e := p.Expression()
		path, offset := keyOfNode(e)
		if offset > at {
			line += bytes.Count(r.text[at:offset], []byte("\n"))
			at = offset
		}
		switch e.Kind {
		case unstable.ArrayTable:
			known = path == "exception"
			if !known {
				r.mistake(line, fmt.Sprintf("unknown section [[%s]]", path), "there is [[exception]] only")
				continue
			}
			if len(r.heads) >= maxExceptions {
				r.mistake(line, fmt.Sprintf("more than %d exceptions", maxExceptions), "")
				return
			}
			r.closeException()
			section, r.set = path, map[string]int{}
			r.heads = append(r.heads, line)
			r.policy.Exceptions = append(r.policy.Exceptions, Exception{})
		case unstable.Table:
			known = false
			r.mistake(line, fmt.Sprintf("unknown section [%s]", path), "write [[exception]], with two brackets, for an exception")
		case unstable.KeyValue:
			if !known {
				continue
			}
			if first, twice := r.set[path]; twice {
				r.mistake(line, fmt.Sprintf("%s is set twice, first in line %d", path, first), "keep one of them")
				continue
			}
			r.set[path] = line
			var err error
			if section == "" {
				err = r.top(path, e.Value(), line)
			} else {
				err = r.exception(path, e.Value(), &r.policy.Exceptions[len(r.policy.Exceptions)-1])
			}
			if err != nil {
				r.mistake(line, path+": "+err.Error(), "")
			}
		}
	}
	r.closeException()
	if err := p.Error(); err != nil {
		line := 1
		if at, ok := errors.AsType[*unstable.ParserError](err); ok {
			line = p.Shape(p.Range(at.Highlight)).Start.Line
		}
		r.mistake(line, "not TOML: "+err.Error(), "what follows was not looked at")
	}
}

// closeException sees that the exception that was just read is whole.
func (r *policyReader) closeException() {
	if len(r.heads) == 0 {
		return
	}
	line := r.heads[len(r.heads)-1]
	for _, key := range []string{"id", "reason"} {
		if _, ok := r.set[key]; !ok {
			r.mistake(line, "the exception has no "+key, map[string]string{"id": `write id = "cert.sct"`, "reason": "write for the next reader why it is well"}[key])
		}
	}
}

func (r *policyReader) top(key string, v *unstable.Node, line int) error {
	p := r.policy
	switch key {
	case "version":
		if v.Kind != unstable.Integer || string(v.Data) != "1" {
			return errors.New("this program reads version 1")
		}
		return nil
	case "name":
		return text(v, &p.Name)
	case "description":
		return text(v, &p.Description)
	case "level":
		var s string
		err := text(v, &s)
		if err == nil {
			p.Level, err = ParseSeverity(s)
		}
		return err
	case "require":
		return r.idList(v, &p.Require, line)
	case "require_if_applies":
		return r.idList(v, &p.IfApplies, line)
	}
	return errors.New("unknown key (there are version, name, description, level, require and require_if_applies)")
}

func (r *policyReader) exception(key string, v *unstable.Node, e *Exception) error {
	switch key {
	case "id":
		if err := text(v, &e.ID); err != nil {
			return err
		}
		return r.id(e.ID)
	case "target":
		return text(v, &e.Target)
	case "reason":
		if err := text(v, &e.Reason); err != nil {
			return err
		}
		if strings.TrimSpace(e.Reason) == "" {
			return errors.New("it is empty")
		}
		return nil
	case "until":
		day, err := time.Parse(time.DateOnly, string(v.Data))
		if v.Kind != unstable.LocalDate || err != nil {
			return errors.New("it must be a day, such as 2027-01-31, without quotes")
		}
		e.Until = day
		return nil
	}
	return errors.New("unknown key (there are id, target, reason and until)")
}

func (r *policyReader) id(id string) error {
	if !r.ids[id] {
		return fmt.Errorf("there is no check %q (`xmpp-gw check --list` prints all)", id)
	}
	return nil
}

func (r *policyReader) idList(v *unstable.Node, to *[]string, line int) error {
	if v.Kind != unstable.Array {
		return errors.New("it must be a list of ids")
	}
	for it := v.Children(); it.Next(); {
		var id string
		if it.Node().Kind == unstable.Comment {
			continue
		}
		if err := text(it.Node(), &id); err != nil {
			return fmt.Errorf("each element: %w", err)
		}
		at := line
		if raw := it.Node().Raw; raw.Length > 0 {
			at = 1 + bytes.Count(r.text[:raw.Offset], []byte("\n"))
		}
		switch err := r.id(id); {
		case err != nil:
			r.mistake(at, err.Error(), "")
		case slices.Contains(*to, id):
			r.mistake(at, fmt.Sprintf("%s stands there twice", id), "keep one of them")
		default:
			*to = append(*to, id)
		}
	}
	return nil
}

// text takes a string.
func text(v *unstable.Node, to *string) error {
	if v.Kind != unstable.String {
		return errors.New("it must be a string, in quotes")
	}
	*to = string(v.Data)
	return nil
}

// complete looks at what must be there.
func (r *policyReader) complete() {
	p := r.policy
	if p.Name == "" {
		r.mistake(0, "it has no name", `write name = "ours"`)
	}
	for _, id := range p.Require {
		if slices.Contains(p.IfApplies, id) {
			r.mistake(0, id+" is both in require and in require_if_applies", "keep one of them")
		}
	}
}

// strict refuses what other TOML readers refuse.
func (r *policyReader) strict() {
	var all map[string]any
	if err := toml.Unmarshal(r.text, &all); err != nil {
		line := 1
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = at.Position()
		}
		r.mistake(line, "not TOML: "+err.Error(), "")
		return
	}
	if _, ok := all["version"]; !ok {
		r.mistake(0, "it has no version", "write version = 1")
	}
}

// keyOfNode is the dotted key of an expression, and where it begins.
func keyOfNode(n *unstable.Node) (path string, offset uint32) {
	var parts []string
	for it := n.Key(); it.Next(); {
		if len(parts) == 0 {
			offset = it.Node().Raw.Offset
		}
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, "."), offset
}
