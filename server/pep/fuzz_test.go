package pep

import (
	"testing"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/dataform"
)

// Whatever form a client sends, the configuration that comes of it is one that is
// read again as it was written, and within the bounds.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		string(defaults().append(nil, dataform.TypeSubmit)),
		"<x xmlns='jabber:x:data' type='submit'><field var='pubsub#roster_groups_allowed'><value>a</value><value>b</value></field><field var='pubsub#max_items'><value>max</value></field></x>",
		"<x xmlns='jabber:x:data' type='submit'><field var='pubsub#title'><value>&lt;&#10;</value></field><field var='pubsub#love'/></x>",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
		if err != nil {
			return
		}
		form, err := dataform.Read(x, formConfig)
		if err != nil {
			return
		}
		for _, read := range []func(*dataform.Submission) (config, error){defaults().with, defaults().wanted} {
			c, err := read(form)
			if err != nil {
				continue
			}
			if c.max < 1 || c.max > maxItems {
				t.Errorf("%d items", c.max)
			}
			again, err := readConfig(c.append(nil, dataform.TypeSubmit))
			if err != nil || again != c {
				t.Errorf("%+v is read as %+v, %v", c, again, err)
			}
		}
	})
}
