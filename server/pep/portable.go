package pep

import (
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/dataform"
)

// ConfigFrom makes a node's configuration of another server's form (XEP-0227
// §3.9.1), as it is stored: fields and values that no node can have here are left
// aside. Nil gives nil, the defaults.
func ConfigFrom(form *xmppstream.Node) []byte {
	if form == nil {
		return nil
	}
	c := defaults()
	for _, f := range form.Children {
		var values []string
		for _, v := range f.Children {
			if v.Name == "value" {
				values = append(values, v.Text)
			}
		}
		try := c
		if known, ok := try.set(f.Attr("var"), values); known && ok {
			c = try
		}
	}
	return c.append(nil, dataform.TypeSubmit)
}
