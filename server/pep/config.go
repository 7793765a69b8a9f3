package pep

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/dataform"
)

const (
	formConfig  = NS + "#node_config"
	formOptions = NS + "#publish-options"
)

// The access models (XEP-0060 §4.5) that a node can have.
const (
	Open      = "open"
	Presence  = "presence"  // who sees the owner's presence
	Roster    = "roster"    // those of them who are in certain groups of the owner's
	Whitelist = "whitelist" // the owner alone
)

// When the last item is sent (XEP-0060 §16.4.4).
const (
	sendNever    = "never"
	sendPresence = "on_sub_and_presence"
)

// config is how a node behaves. Two that are equal behave the same.
type config struct {
	access        string
	groups        string // of the model roster, each with an end
	persist       bool
	max           int    // items that are kept
	sendLast      string // never, on_sub or on_sub_and_presence
	notifyRetract bool
	notifyDelete  bool
	payloads      bool // notifications carry the items' payloads

	title, description, payload string // for people and programs that look
}

// defaults are those of XEP-0163 §3: for contacts, one item.
func defaults() config {
	return config{access: Presence, persist: true, max: 1, sendLast: sendPresence, notifyRetract: true, notifyDelete: true, payloads: true}
}

// groupEnd ends each group in config.groups. No XML has it.
const groupEnd = "\x00"

// allows reports whether one of a contact's groups is among those of the node.
func (c *config) allows(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return strings.Contains(groupEnd+c.groups, groupEnd+g+groupEnd) })
}

// fixed are fields that have one value here.
var fixed = map[string][]string{
	"pubsub#deliver_notifications": {"1", "true"},
	"pubsub#publish_model":         {"publishers"},
	"pubsub#subscribe":             {"1", "true"},
	"pubsub#notify_config":         {"0", "false"},
	"pubsub#notify_sub":            {"0", "false"},
	"pubsub#purge_offline":         {"0", "false"},
	"pubsub#item_expire":           {"max"},
}

// set sets a field. known is false for one that we do not have, ok for a value that
// it cannot have.
func (c *config) set(name string, values []string) (known, ok bool) {
	value := ""
	if len(values) > 0 {
		value = values[0]
	}
	switch name {
	case "pubsub#access_model":
		c.access, ok = value, slices.Contains([]string{Open, Presence, Roster, Whitelist}, value)
	case "pubsub#roster_groups_allowed":
		c.groups, ok = "", true
		for _, g := range slices.Sorted(slices.Values(values)) {
			if g != "" { // which is no group (RFC 6121 §2.1.2.6)
				c.groups += g + groupEnd
			}
		}
	case "pubsub#persist_items":
		c.persist, ok = dataform.Truth(value)
	case "pubsub#max_items":
		c.max, ok = count(value)
	case "pubsub#send_last_published_item":
		c.sendLast, ok = value, slices.Contains([]string{sendNever, "on_sub", sendPresence}, value)
	case "pubsub#notify_retract":
		c.notifyRetract, ok = dataform.Truth(value)
	case "pubsub#notify_delete":
		c.notifyDelete, ok = dataform.Truth(value)
	case "pubsub#deliver_payloads":
		c.payloads, ok = dataform.Truth(value)
	case "pubsub#title":
		c.title, ok = value, len(value) <= maxName
	case "pubsub#description":
		c.description, ok = value, len(value) <= maxName
	case "pubsub#type":
		c.payload, ok = value, len(value) <= maxName
	default:
		want, known := fixed[name]
		return known, known && slices.Contains(want, value)
	}
	return true, ok
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
	form, err := dataform.Read(x, formConfig)
	if err != nil {
		return c, err
	}
	return c.with(form)
}

// with is c with the fields of a form (XEP-0060 §8.2.4). What we do not know makes
// no difference.
func (c config) with(form *dataform.Submission) (config, error) {
	for _, name := range form.Names() {
		if known, ok := c.set(name, form.Values(name)); known && !ok {
			return c, server.ErrNotAcceptable.Because("The node cannot have this value of " + name + ".")
		}
	}
	return c, nil
}

// errPrecondition is the answer to publish options that cannot be met.
var errPrecondition = errorWith(server.ErrConflict, "precondition-not-met")

// wanted is c as publish options want it (XEP-0060 §7.1.5): what we do not know, or
// cannot be, is a precondition that is not met.
func (c config) wanted(options *dataform.Submission) (config, error) {
	for _, name := range options.Names() {
		if known, ok := c.set(name, options.Values(name)); !known || !ok {
			return c, errPrecondition
		}
	}
	return c, nil
}

// submitted reads the form inside an element, nil if there is none or it was cancelled.
func submitted(n *xmppstream.Node, formType string) (*dataform.Submission, error) {
	form, err := dataform.Submitted(n, formType)
	if err != nil || form == nil || form.Type == dataform.TypeCancel {
		return nil, err
	}
	return form, nil
}

// count reads a number of items; "max" is as many as we keep.
func count(s string) (int, bool) {
	if s == "max" {
		return maxItems, true
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		n, err = maxItems, nil
	}
	return int(min(n, maxItems)), err == nil && n > 0
}

// append writes the form: [dataform.TypeForm] to be filled in,
// [dataform.TypeSubmit] to be stored.
func (c config) append(b []byte, typ string) []byte {
	truth := map[bool]string{true: "1", false: "0"}
	f := dataform.Form{Type: typ, FormType: formConfig}
	add := func(kind, name, value string, options ...string) {
		if typ != dataform.TypeForm {
			options = nil
		}
		f.Fields = append(f.Fields, dataform.Field{Var: "pubsub#" + name, Type: kind, Values: []string{value}, Options: options})
	}
	add(dataform.TextSingle, "title", c.title)
	add(dataform.TextSingle, "description", c.description)
	add(dataform.TextSingle, "type", c.payload)
	add(dataform.ListSingle, "access_model", c.access, Open, Presence, Roster, Whitelist)
	f.Fields = append(f.Fields, dataform.Field{
		Var: "pubsub#roster_groups_allowed", Type: "list-multi", Values: strings.FieldsFunc(c.groups, func(r rune) bool { return r == 0 }),
	})
	add(dataform.Boolean, "persist_items", truth[c.persist])
	add(dataform.TextSingle, "max_items", strconv.Itoa(c.max))
	add(dataform.ListSingle, "send_last_published_item", c.sendLast, sendNever, "on_sub", sendPresence)
	add(dataform.Boolean, "notify_retract", truth[c.notifyRetract])
	add(dataform.Boolean, "notify_delete", truth[c.notifyDelete])
	add(dataform.Boolean, "deliver_payloads", truth[c.payloads])
	return f.Append(b)
}
