package pep

import (
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/dataform"
)

// ConfigFrom makes a node's configuration of another server's form (XEP-0227
// §3.9.1), as it is stored: fields and values that no node can have here are left
// aside, but what was for those that such a node lets in (XEP-0060 §4.5: authorize,
// and whatever else) is for the owner alone. Nil gives nil, the defaults.
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
		} else if known && f.Attr("var") == "pubsub#access_model" {
			c.access = Whitelist
		}
	}
	return c.append(nil, dataform.TypeSubmit)
}
