package servertest

import (
	"strings"
	"testing"

	"xmpp-gw/internal/xmppstream"
)

// Matches reports whether n looks like pattern: the same name, the pattern's
// attributes with the same values, its text unless it has none, and for each of its
// children one that looks like it. An attribute whose value is "*" need only be
// there, one whose value is "-" must not be there; n may have more of everything.
func Matches(n, pattern *xmppstream.Node) bool {
	if !n.Is(pattern.Space, pattern.Name) {
		return false
	}
	for _, want := range pattern.Attrs {
		value, found := "", false
		for _, a := range n.Attrs {
			if a.Space == want.Space && a.Name == want.Name {
				value, found = a.Value, true
			}
		}
		switch want.Value {
		case "*":
			if !found {
				return false
			}
		case "-":
			if found {
				return false
			}
		default:
			if !found || value != want.Value {
				return false
			}
		}
	}
	if text := strings.TrimSpace(pattern.Text); text != "" && text != strings.TrimSpace(n.Text) {
		return false
	}
	used := make([]bool, len(n.Children))
next:
	for _, want := range pattern.Children {
		for i, c := range n.Children {
			if !used[i] && Matches(c, want) {
				used[i] = true
				continue next
			}
		}
		return false
	}
	return true
}

// parse reads a pattern, whose default namespace is jabber:client.
func parse(t testing.TB, pattern string) *xmppstream.Node {
	t.Helper()
	e, err := xmppstream.ParseElement([]byte(pattern), limits)
	if err != nil {
		t.Fatalf("the pattern %s: %v", pattern, err)
	}
	n, err := e.Node()
	if err != nil {
		t.Fatalf("the pattern %s: %v", pattern, err)
	}
	return n
}
