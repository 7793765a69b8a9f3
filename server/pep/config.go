package pep

import (
	"slices"
	"strconv"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

const (
	nsForm = "jabber:x:data"

	formConfig  = NS + "#node_config"
	formOptions = NS + "#publish-options"
)

// Access models (XEP-0060 §4.5) that a node can have.
const (
	open      = "open"
	presence  = "presence"
	whitelist = "whitelist" // the owner alone
)

// When the last item is sent (XEP-0060 §16.4.4).
const (
	sendNever    = "never"
	sendPresence = "on_sub_and_presence"
)

// config is how a node behaves.
type config struct {
	access        string
	persist       bool
	max           int    // items that are kept
	sendLast      string // never, on_sub or on_sub_and_presence
	notifyRetract bool
	payloads      bool // notifications carry the items' payloads
}

// defaults are those of XEP-0163 §3: for contacts, one item.
func defaults() config {
	return config{access: presence, persist: true, max: 1, sendLast: sendPresence, notifyRetract: true, payloads: true}
}

// keep is how many items stay.
func (c config) keep() int {
	if !c.persist {
		return 0
	}
	return c.max
}

// readConfig reads what append wrote; nil is the defaults.
func readConfig(raw []byte) (config, error) {
	c := defaults()
	if raw == nil {
		return c, nil
	}
	x, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
	if err != nil {
		return c, err
	}
	return c.with(x, formConfig)
}

// with is c with the fields of a form.
func (c config) with(x *xmppstream.Node, formType string) (config, error) {
	if x.Attr("type") != "submit" {
		return c, server.ErrBadRequest
	}
	err := fields(x, formType, func(name, value string) error {
		var ok bool
		switch name {
		case "pubsub#access_model":
			c.access, ok = value, slices.Contains([]string{open, presence, whitelist}, value)
		case "pubsub#persist_items":
			c.persist, ok = boolean(value)
		case "pubsub#max_items":
			c.max, ok = count(value)
		case "pubsub#send_last_published_item":
			c.sendLast, ok = value, slices.Contains([]string{sendNever, "on_sub", sendPresence}, value)
		case "pubsub#notify_retract":
			c.notifyRetract, ok = boolean(value)
		case "pubsub#deliver_payloads":
			c.payloads, ok = boolean(value)
		default:
			ok = true // what makes no difference here
		}
		if !ok {
			return server.ErrNotAcceptable.Because("The node cannot have this value of " + name + ".")
		}
		return nil
	})
	return c, err
}

// meets reports whether the node already is as publish options want it
// (XEP-0060 §7.1.5).
func (c config) meets(x *xmppstream.Node) (bool, error) {
	wanted, err := c.with(x, formOptions)
	return wanted == c, err
}

// fields goes through a form's fields with their first values.
func fields(x *xmppstream.Node, formType string, each func(name, value string) error) error {
	for _, f := range x.Children {
		if !f.Is(nsForm, "field") {
			continue
		}
		value := f.ChildText(nsForm, "value")
		if f.Attr("var") == "FORM_TYPE" {
			if value != formType {
				return server.ErrBadRequest
			}
			continue
		}
		if err := each(f.Attr("var"), value); err != nil {
			return err
		}
	}
	return nil
}

func boolean(s string) (value, ok bool) {
	switch s {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// count reads a number of items; "max" is as many as we keep.
func count(s string) (int, bool) {
	if s == "max" {
		return maxItems, true
	}
	n, err := strconv.Atoi(s)
	return min(n, maxItems), err == nil && n > 0
}

// append writes the form: "form" to be filled in, "submit" to be stored.
func (c config) append(b []byte, kind string) []byte {
	b = append(append(append(b, "<x xmlns='"+nsForm+"' type='"...), kind...), "'>"...)
	field := func(typ, name, value string, options ...string) {
		b = append(b, "<field var='"+name+"' type='"+typ+"'><value>"+value+"</value>"...)
		if kind == "form" {
			for _, o := range options {
				b = append(b, "<option><value>"+o+"</value></option>"...)
			}
		}
		b = append(b, "</field>"...)
	}
	truth := map[bool]string{true: "1", false: "0"}
	field("hidden", "FORM_TYPE", formConfig)
	field("list-single", "pubsub#access_model", c.access, open, presence, whitelist)
	field("boolean", "pubsub#persist_items", truth[c.persist])
	field("text-single", "pubsub#max_items", strconv.Itoa(c.max))
	field("list-single", "pubsub#send_last_published_item", c.sendLast, sendNever, "on_sub", sendPresence)
	field("boolean", "pubsub#notify_retract", truth[c.notifyRetract])
	field("boolean", "pubsub#deliver_payloads", truth[c.payloads])
	return append(b, "</x>"...)
}
