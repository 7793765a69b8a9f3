package audit

import (
	"slices"
	"strings"

	"xmpp-gw/policy"
)

// row is one line of a compliance suite, server column (XEP-0479 §2).
type row struct {
	name     string // as the suite's table has it, and its specification
	advanced bool   // asked for at the advanced level only
	has      func(*Observation) bool
}

// has asks for one of these features at the server or the account.
func has(features ...string) func(*Observation) bool {
	return func(o *Observation) bool {
		return slices.ContainsFunc(features, func(f string) bool {
			return slices.Contains(o.Login.Server.Features, f) || slices.Contains(o.Login.Account.Features, f)
		})
	}
}

// hasStream asks for a feature of the stream after the login, by its namespace.
func hasStream(namespace string) func(*Observation) bool {
	return func(o *Observation) bool {
		return slices.ContainsFunc(o.Login.Features, func(f string) bool { ns, _, _ := strings.Cut(f, " "); return ns == namespace })
	}
}

// hasComponent asks for these features together, at one of the server's items or
// at the server.
func hasComponent(features ...string) func(*Observation) bool {
	all := func(d Disco) bool {
		return !slices.ContainsFunc(features, func(f string) bool { return !slices.Contains(d.Features, f) })
	}
	return func(o *Observation) bool {
		for _, d := range o.Login.Components {
			if all(d) {
				return true
			}
		}
		return all(o.Login.Server)
	}
}

// hasEndpoint asks for an endpoint for clients that was reached.
func hasEndpoint(transports ...policy.Transport) func(*Observation) bool {
	return func(o *Observation) bool {
		return slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool {
			return e.Service == C2S && e.Err == "" && slices.Contains(transports, e.At.Transport)
		})
	}
}

func hasBOSH(o *Observation) bool {
	return o.HostMeta != nil && slices.ContainsFunc(slices.Concat(o.HostMeta.XMLLinks, o.HostMeta.JSONLinks), func(l string) bool { return strings.HasPrefix(l, "https://") })
}

func hasTLS(o *Observation) bool {
	return slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool { return e.TLS != nil && e.TLS.Err == "" })
}

func hasCaps(o *Observation) bool {
	return hasStream("http://jabber.org/protocol/caps")(o) || slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool { return e.Secure != nil && e.Secure.CapsNode != "" })
}

// suites are the server's rows. XEP-0114 (the port for external components) is not
// among them: it cannot be seen from outside.
func suites() map[string][]row {
	const muc, mam = "http://jabber.org/protocol/muc", "urn:xmpp:mam:2"
	return map[string][]row{
		"suite.core": {
			{"TLS (RFC 7590)", false, hasTLS},
			{"Feature discovery (XEP-0030)", false, has("http://jabber.org/protocol/disco#info")},
			{"Direct TLS (XEP-0368)", true, hasEndpoint(policy.DirectTLS)},
			{"Feature broadcasts (XEP-0115)", true, hasCaps},
			{"Event publishing (XEP-0163)", true, func(o *Observation) bool { return slices.Contains(o.Login.Account.Identities, "pubsub/pep") }},
		},
		"suite.web": {
			{"WebSocket (RFC 7395)", false, hasEndpoint(policy.WebSocket, policy.PlainWebSocket)},
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
			{"Persistent private data (XEP-0223)", true, has("http://jabber.org/protocol/pubsub#publish-options")},
			{"Private XML storage (XEP-0049)", true, has("jabber:iq:private")},
			{"Stream management (XEP-0198)", true, hasStream("urn:xmpp:sm:3")},
			{"History (XEP-0313)", true, has(mam)},
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
		"suite.core": fix(`modules_enabled = { "disco", "tls", "pep" }; c2s_direct_tls_ports = { 5223 }`,
			`modules: {mod_disco: {}, mod_caps: {}, mod_pubsub: {plugins: [flat, pep]}}  # and listen: {port: 5223, module: ejabberd_c2s, tls: true}`, ""),
		"suite.web": fix(`modules_enabled = { "bosh", "websocket" }`, `request_handlers: {/ws: ejabberd_http_ws, /bosh: mod_bosh}  # and modules: {mod_bosh: {}}`, ""),
		"suite.im": fix(`modules_enabled = { "vcard_legacy", "carbons", "blocklist", "bookmarks", "private", "smacks", "mam" }; Component "rooms.DOMAIN" "muc"; Component "upload.DOMAIN" "http_file_share"`,
			`modules: {mod_vcard: {}, mod_avatar: {}, mod_carboncopy: {}, mod_blocking: {}, mod_private: {}, mod_stream_mgmt: {}, mod_mam: {}, mod_muc: {default_room_options: {mam: true}}, mod_http_upload: {}}`, ""),
		"suite.mobile": fix(`modules_enabled = { "smacks", "csi_simple", "cloud_notify" }  -- cloud_notify is of prosody-modules`,
			`modules: {mod_stream_mgmt: {}, mod_client_state: {}, mod_push: {}}`, ""),
		"suite.av": fix(`modules_enabled = { "turn_external" }; turn_external_host = "turn.DOMAIN"; turn_external_secret = "SECRET"`,
			`modules: {mod_stun_disco: {}}  # and listen: {port: 3478, transport: udp, module: ejabberd_stun, use_turn: true}`, ""),
	}
	var all []question
	for _, name := range []string{"core", "web", "im", "mobile", "av"} {
		id := "suite." + name
		all = append(all, question{id, "compliance suite 2023, " + name + ": which level the server meets", Info, "XEP-0479 §2", lines[id], func(j *judge) { askSuite(j, id) }})
	}
	return all
}

// askSuite names the level of one suite. Web and IM stand on Core (XEP-0479 §2.2,
// §2.3).
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
	if id == "suite.web" || id == "suite.im" {
		rows = append(rows, all["suite.core"]...)
	}
	var base, advanced []string
	for _, r := range rows {
		switch ok := r.has(j.Observation); {
		case ok:
		case r.advanced:
			advanced = append(advanced, r.name)
		default:
			base = append(base, r.name)
		}
	}
	unseen := ""
	if id == "suite.core" {
		unseen = " (XEP-0114 cannot be seen from outside)"
	}
	switch {
	case len(base) > 0:
		j.warn(j.Domain, "no level: %s missing%s", list(base, ""), unseen)
	case len(advanced) > 0:
		j.pass(j.Domain, "level Server; for Advanced Server: %s missing%s", list(advanced, ""), unseen)
	default:
		j.pass(j.Domain, "level Advanced Server%s", unseen)
	}
}
