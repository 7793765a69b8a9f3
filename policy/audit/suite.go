package audit

import (
	"slices"
	"strings"

	"xmpp-gw/policy"
)

// standing is whether a server has what a row asks for.
type standing uint8

const (
	missing standing = iota
	unseen           // it could not be looked at
	there
)

func thereIf(ok bool) standing {
	if ok {
		return there
	}
	return missing
}

// row is one line of a compliance suite, server column (XEP-0479 §2).
type row struct {
	name     string // as the suite's table has it, and its specification
	advanced bool   // asked for at the advanced level only
	has      func(*Observation) standing
}

// has asks for one of these features at the server or the account.
func has(features ...string) func(*Observation) standing {
	return func(o *Observation) standing {
		return thereIf(slices.ContainsFunc(features, func(f string) bool {
			return slices.Contains(o.Login.Server.Features, f) || slices.Contains(o.Login.Account.Features, f)
		}))
	}
}

// hasAccount asks for a feature at the account.
func hasAccount(feature string) func(*Observation) standing {
	return func(o *Observation) standing { return thereIf(slices.Contains(o.Login.Account.Features, feature)) }
}

// hasStream asks for a feature of the stream after the login, by its namespace.
func hasStream(namespace string) func(*Observation) standing {
	return func(o *Observation) standing {
		return thereIf(slices.ContainsFunc(o.Login.Features, func(f string) bool { ns, _, _ := strings.Cut(f, " "); return ns == namespace }))
	}
}

// hasComponent asks for these features together, at one of the server's items or
// at the server. An item that did not answer might have them.
func hasComponent(features ...string) func(*Observation) standing {
	all := func(d Disco) bool {
		return !slices.ContainsFunc(features, func(f string) bool { return !slices.Contains(d.Features, f) })
	}
	return func(o *Observation) standing {
		best := thereIf(all(o.Login.Server))
		for _, d := range o.Login.Components {
			switch {
			case all(d):
				best = there
			case d.Err != "":
				best = max(best, unseen)
			}
		}
		return best
	}
}

// open is an endpoint for clients where a stream began.
func (e *Endpoint) open() bool {
	return e.Service == C2S && e.Err == "" && e.Secure != nil && e.Secure.Err == ""
}

func hasTLS(o *Observation) standing {
	return thereIf(slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool { return e.open() && e.TLS != nil && e.TLS.Err == "" }))
}

// hasDirectTLS cannot see a port that nothing names.
func hasDirectTLS(o *Observation) standing {
	looked := o.DNS != nil && o.DNS.SRV["_xmpps-client._tcp"].unusable() == ""
	for i := range o.Endpoints {
		if e := &o.Endpoints[i]; e.Service == C2S && e.At.Transport == policy.DirectTLS {
			looked = true
			if e.open() && e.TLS != nil && e.TLS.Err == "" {
				return there
			}
		}
	}
	if !looked {
		return unseen
	}
	return missing
}

// named is missing, or unseen where host-meta, which names what the web has, was not.
func named(o *Observation) standing {
	if h := o.HostMeta; h == nil || h.XMLErr != "" && !h.XMLMissing || h.JSONErr != "" && !h.JSONMissing {
		return unseen
	}
	return missing
}

func hasWebSocket(o *Observation) standing {
	if slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool { return e.At.Transport.OverWebSocket() && e.open() }) {
		return there
	}
	return named(o)
}

func hasBOSH(o *Observation) standing {
	if o.HostMeta != nil && slices.ContainsFunc(slices.Concat(o.HostMeta.XMLLinks, o.HostMeta.JSONLinks), func(l string) bool { return strings.HasPrefix(l, "https://") }) {
		return there
	}
	return named(o)
}

func hasCaps(o *Observation) standing {
	return max(hasStream("http://jabber.org/protocol/caps")(o), thereIf(slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool { return e.Secure != nil && e.Secure.CapsNode != "" })))
}

func hasPEP(o *Observation) standing {
	return thereIf(slices.Contains(o.Login.Account.Identities, "pubsub/pep"))
}

func hasPrivate(o *Observation) standing {
	return max(thereIf(o.Login.Private), has("jabber:iq:private")(o))
}

// suites are the server's rows. Not among them are RFC 6120 and RFC 6121, which a
// login shows; XEP-0114 (the port for external components), which cannot be seen from
// outside; XEP-0249 and XEP-0410, for which a server passes on what clients say; and
// XEP-0153, which is XEP-0398 as far as it is the server's.
func suites() map[string][]row {
	const muc, mam = "http://jabber.org/protocol/muc", "urn:xmpp:mam:2"
	return map[string][]row{
		"suite.core": {
			{"TLS (RFC 7590)", false, hasTLS},
			{"Feature discovery (XEP-0030)", false, has("http://jabber.org/protocol/disco#info")},
			{"Direct TLS (XEP-0368)", true, hasDirectTLS},
			{"Feature broadcasts (XEP-0115)", true, hasCaps},
			{"Event publishing (XEP-0163)", true, hasPEP},
		},
		"suite.web": {
			{"WebSocket (RFC 7395)", false, hasWebSocket},
			{"BOSH (XEP-0206)", false, hasBOSH},
		},
		"suite.im": {
			{"vcard-temp (XEP-0054)", false, has("vcard-temp")},
			{"Outbound message synchronization (XEP-0280)", false, has("urn:xmpp:carbons:2")},
			{"Group chat (XEP-0045)", false, hasComponent(muc)},
			{"File upload (XEP-0363)", false, hasComponent("urn:xmpp:http:upload:0")},
			{"User avatar compatibility (XEP-0398)", true, has("urn:xmpp:pep-vcard-conversion:0")},
			{"User blocking (XEP-0191)", true, has("urn:xmpp:blocking")},
			{"Group chat history (XEP-0313)", true, hasComponent(muc, mam)},
			{"Bookmarks (XEP-0402)", true, has("urn:xmpp:bookmarks:1#compat", "urn:xmpp:bookmarks:1#compat-pep")},
			{"Persistent private data (XEP-0223)", true, hasAccount("http://jabber.org/protocol/pubsub#publish-options")},
			{"Private XML storage (XEP-0049)", true, hasPrivate},
			{"Stream management (XEP-0198)", true, hasStream("urn:xmpp:sm:3")},
			{"History (XEP-0313)", true, hasAccount(mam)},
		},
		"suite.mobile": {
			{"Stream management (XEP-0198)", false, hasStream("urn:xmpp:sm:3")},
			{"Client state indication (XEP-0352)", false, hasStream("urn:xmpp:csi:0")},
			{"Push notifications (XEP-0357)", true, has("urn:xmpp:push:0")},
		},
		"suite.av": {{"STUN and TURN discovery (XEP-0215)", false, has("urn:xmpp:extdisco:2", "urn:xmpp:extdisco:1")}},
	}
}

func suiteChecks() []question {
	lines := map[string]map[string]string{
		"suite.core":   fix(prosodyCore, ejabberdCore, ""),
		"suite.web":    fix(prosodyWeb, ejabberdWebSuite, ""),
		"suite.im":     fix(prosodyIM, ejabberdIM, ""),
		"suite.mobile": fix(prosodyMobile, ejabberdMobile, ""),
		"suite.av":     fix(prosodyAV, ejabberdAV, ""),
	}
	var all []question
	for _, name := range []string{"core", "web", "im", "mobile", "av"} {
		id := "suite." + name
		all = append(all, question{id, "compliance suite 2023, " + name + ": which level the server meets", Info, "XEP-0479 §2", lines[id], func(j *judge) { askSuite(j, id) }})
	}
	return all
}

// askSuite names the level of one suite, and what is missing for the next one. All
// others stand on Core (XEP-0479 §2.2 to §2.5).
func askSuite(j *judge, id string) {
	l := j.login()
	if l == nil {
		return
	}
	if l.Server.Err != "" || l.Account.Err != "" {
		j.unknown(j.Domain, "the server did not tell its features: %s", l.Server.Err+l.Account.Err)
		return
	}
	all := suites()
	rows := slices.Clone(all[id])
	if id != "suite.core" {
		rows = append(rows, all["suite.core"]...)
	}
	var base, advanced lacking
	for _, r := range rows {
		if r.advanced {
			advanced.add(r.name, r.has(j.Observation))
		} else {
			base.add(r.name, r.has(j.Observation))
		}
	}
	unseen := ""
	if id == "suite.core" {
		unseen = " (XEP-0114 cannot be seen from outside)"
	}
	switch {
	case len(base.missing) > 0:
		j.warn(j.Domain, "no level; for Server: %s%s", base, unseen)
	case len(base.unseen) > 0:
		j.unknown(j.Domain, "for Server: %s%s", base, unseen)
	case len(advanced.missing)+len(advanced.unseen) > 0:
		j.pass(j.Domain, "level Server; for Advanced Server: %s%s", advanced, unseen)
	default:
		j.pass(j.Domain, "level Advanced Server%s", unseen)
	}
}

// lacking are rows that stand between a server and a level.
type lacking struct{ missing, unseen []string }

func (l *lacking) add(name string, s standing) {
	switch s {
	case missing:
		l.missing = append(l.missing, name)
	case unseen:
		l.unseen = append(l.unseen, name)
	}
}

func (l lacking) String() string {
	var parts []string
	if len(l.missing) > 0 {
		parts = append(parts, list(l.missing, "")+" missing")
	}
	if len(l.unseen) > 0 {
		parts = append(parts, list(l.unseen, "")+" not seen")
	}
	return strings.Join(parts, "; ")
}
