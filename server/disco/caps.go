package disco

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"xmpp-gw/internal/xmppstream"
)

const nsForm = "jabber:x:data"

// errIllFormed is for answers that a verification string cannot be made of
// without doubt about what it stands for.
var errIllFormed = errors.New("disco: ill-formed capabilities")

// Verification is the string whose hash stands for an answer to disco#info
// (XEP-0115 §5.1). It fails for answers that XEP-0115 §5.4 calls ill-formed, and
// for text with "<" in it: it is the delimiter, and what contains it could be read
// as something else.
func Verification(info *xmppstream.Node) (string, error) {
	var identities, features []string
	forms := map[string]string{}
	for _, c := range info.Children {
		switch {
		case c.Is(NSInfo, "identity"):
			identities = append(identities, strings.Join([]string{c.Attr("category"), c.Attr("type"), lang(c), c.Attr("name")}, "/"))
		case c.Is(NSInfo, "feature"):
			features = append(features, c.Attr("var"))
		case c.Is(nsForm, "x"):
			kind, text, err := formText(c)
			if err != nil {
				return "", err
			}
			if kind == "" {
				continue // without a hidden FORM_TYPE a form is ignored
			}
			if _, twice := forms[kind]; twice {
				return "", errIllFormed
			}
			forms[kind] = text
		}
	}
	slices.Sort(identities)
	slices.Sort(features)
	var b strings.Builder
	for _, list := range [][]string{identities, features} {
		for i, s := range list {
			if i > 0 && s == list[i-1] || strings.Contains(s, "<") {
				return "", errIllFormed
			}
			b.WriteString(s)
			b.WriteByte('<')
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(forms)) {
		b.WriteString(forms[kind])
	}
	return b.String(), nil
}

// formText is one form's part of the string, with its FORM_TYPE.
func formText(x *xmppstream.Node) (kind, text string, err error) {
	fields := map[string][]string{}
	for _, f := range x.Children {
		if !f.Is(nsForm, "field") {
			continue
		}
		var values []string
		for _, v := range f.Children {
			if v.Is(nsForm, "value") {
				values = append(values, v.Text)
			}
		}
		name := f.Attr("var")
		if name == "FORM_TYPE" {
			if f.Attr("type") != "hidden" {
				return "", "", nil
			}
			if len(slices.Compact(slices.Clone(values))) != 1 {
				return "", "", errIllFormed
			}
			kind = values[0]
			continue
		}
		slices.Sort(values)
		fields[name] = append(fields[name], values...)
	}
	var b strings.Builder
	b.WriteString(kind + "<")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b.WriteString(name + "<")
		for _, v := range fields[name] {
			if strings.Contains(v, "<") {
				return "", "", errIllFormed
			}
			b.WriteString(v + "<")
		}
	}
	if strings.Contains(kind, "<") {
		return "", "", errIllFormed
	}
	return kind, b.String(), nil
}

func lang(n *xmppstream.Node) string {
	for _, a := range n.Attrs {
		if a.Space == xmppstream.NSXML && a.Name == "lang" {
			return a.Value
		}
	}
	return ""
}
