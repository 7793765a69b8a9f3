//go:build e2e

package tests

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"xmpp-gw/internal/control"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/probe"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

// What an account is shown: servers that have all they can have.

var fullProsody = template.Must(template.New("prosody").Parse(`
run_as_root = true
data_path = "{{.Dir}}/data"
admin_socket = "{{.Dir}}/prosody.sock"
pidfile = "{{.Dir}}/prosody.pid"
log = { { levels = { min = "debug" }, to = "file", filename = "{{.Dir}}/prosody.log" } }
interfaces = { "127.0.0.1" }
c2s_ports = { {{.StartTLS}} }
c2s_direct_tls_ports = { {{.DirectTLS}} }
s2s_ports = { {{index .More 0}} }
s2s_direct_tls_ports = { {{index .More 1}} }
http_ports = { }
https_ports = { {{index .More 2}} }
https_interfaces = { "127.0.0.1" }
http_external_url = "https://files.example.net/"
c2s_require_encryption = true
authentication = "internal_hashed"
password_hash = "SHA-256"
turn_external_host = "turn.example.net"
turn_external_secret = "secret"
contact_info = { abuse = { "mailto:abuse@example.test" } }
modules_enabled = {
	"roster", "saslauth", "tls", "disco", "ping", "pep", "blocklist", "carbons", "smacks", "limits", "websocket", "bosh",
	"vcard_legacy", "bookmarks", "private", "mam", "csi_simple", "turn_external", "server_contact_info", "version", "dialback",
}
ssl = { certificate = "{{.Cert}}", key = "{{.Key}}" }
c2s_direct_tls_ssl = { certificate = "{{.Cert}}", key = "{{.Key}}" }
https_ssl = { certificate = "{{.Cert}}", key = "{{.Key}}" }
s2s_direct_tls_ssl = { certificate = "{{.Cert}}", key = "{{.Key}}" }
VirtualHost "example.test"
Component "rooms.example.test" "muc"
	modules_enabled = { "muc_mam" }
Component "upload.example.test" "http_file_share"
`))

var fullEjabberd = template.Must(template.New("ejabberd").Parse(`
hosts: ["example.test"]
loglevel: info
certfiles: ["{{.Dir}}/cert.pem"]
s2s_use_starttls: required
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha256
acl: {local: {user_regexp: ""}}
access_rules: {local: {allow: local}}
listen:
  - port: {{.StartTLS}}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: true
    starttls_required: true
    protocol_options: ["no_sslv3", "no_tlsv1", "no_tlsv1_1"{{.No13}}]
  - port: {{.DirectTLS}}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    tls: true
    protocol_options: ["no_sslv3", "no_tlsv1", "no_tlsv1_1"{{.No13}}]
  - port: {{index .More 0}}
    ip: "127.0.0.1"
    module: ejabberd_s2s_in
modules:
  mod_avatar: {}
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco:
    server_info:
      - modules: all
        name: abuse-addresses
        urls: ["mailto:abuse@example.test"]
  mod_http_upload:
    put_url: "https://files.example.net/upload"
    docroot: "{{.Dir}}/upload"
  mod_mam: {}
  mod_muc:
    default_room_options: {mam: true}
  mod_ping: {}
  mod_private: {}
  mod_privacy: {}
  mod_pubsub:
    plugins: [flat, pep]
  mod_push: {}
  mod_roster: {}
  mod_stream_mgmt: {}
  mod_stun_disco:
    services:
      - {host: turn.example.net, port: 3478, type: stun}
  mod_vcard: {}
  mod_vcard_xupdate: {}
  mod_version: {}
`))

// sums up what a check with a login says.
func summary(t *testing.T, seen *audit.Observation) string {
	t.Helper()
	l := seen.Login
	var b strings.Builder
	fmt.Fprintf(&b, "login: %s\n", strings.Join([]string{l.Err, l.Mechanism, l.Binding, l.Downgrade, l.Hidden, l.Protection}, "|"))
	software, _, _ := strings.Cut(l.Software, " ")
	slices.Sort(l.Services)
	slices.Sort(l.Server.Items)
	fmt.Fprintf(&b, "told: %s|%s|%s|%s|%v|%q\n", software, strings.Join(l.Contacts, " "), strings.Join(l.Services, " "), strings.Join(l.Server.Items, " "), l.Private, l.Location)
	for _, c := range audit.Checks() {
		if audit.Group(c.ID) == "suite" || c.ID == "sasl.downgrade" {
			for _, f := range c.Run(seen) {
				fmt.Fprintf(&b, "%s: %s\n", f.ID, f.Evidence)
			}
		}
	}
	return b.String()
}

// noWebSeen is what stands where there is no host-meta to be seen.
const noWebSeen = "for Server: WebSocket (RFC 7395), BOSH (XEP-0206) not seen"

const advanced = "level Advanced Server"

// suites are the lines of a summary that a server of the highest level has, but for
// others in their place.
func suites(others map[string]string) string {
	text := ""
	for _, id := range []string{"core", "web", "im", "mobile", "av"} {
		line := advanced
		if other, ok := others[id]; ok {
			line = other
		}
		if id == "core" {
			line += " (XEP-0114 cannot be seen from outside)"
		}
		text += "suite." + id + ": " + line + "\n"
	}
	return text
}

func TestProbeLogin(t *testing.T) {
	const domain = "example.test"
	ca, err := lab.NewCA()
	must(t, err)
	leaf, err := ca.Leaf(lab.CALeaf{Names: []string{domain}})
	must(t, err)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, lab.WriteCertificate(leaf, cert, key))
	for _, tt := range []struct {
		name, kind string
		conf       *template.Template
		no13       string
		want       string
	}{
		{"Prosody", "prosody", fullProsody, "", "login: |SCRAM-SHA-256||||absent\n" +
			"told: Prosody|mailto:abuse@example.test|files.example.net turn.example.net|rooms.example.test upload.example.test|true|\"\"\n" +
			"sasl.downgrade: wrong bindings are not tried; no hash of the mechanism list\n" +
			suites(map[string]string{"web": "for Server: BOSH (XEP-0206) not seen", "mobile": "level Server; for Advanced Server: Push notifications (XEP-0357) missing"})},
		// It offers -PLUS with TLS 1.3 and has nothing to bind with there.
		{"ejabberd", "ejabberd", fullEjabberd, "", "login: |SCRAM-SHA-256||||absent\n" +
			"told: ejabberd|mailto:abuse@example.test|files.example.net turn.example.net|conference.example.test pubsub.example.test upload.example.test|true|\"\"\n" +
			"sasl.downgrade: wrong bindings are not tried; no hash of the mechanism list\n" +
			suites(map[string]string{"web": noWebSeen, "im": "level Server; for Advanced Server: Bookmarks (XEP-0402) missing"})},
		{"ejabberd, TLS 1.2", "ejabberd", fullEjabberd, `, "no_tlsv1_3"`, "login: |SCRAM-SHA-256-PLUS|tls-unique|refused|accepted|absent\n" +
			"told: ejabberd|mailto:abuse@example.test|files.example.net turn.example.net|conference.example.test pubsub.example.test upload.example.test|true|\"\"\n" +
			"sasl.downgrade: a login that was not shown -PLUS was accepted, though it is offered\n" +
			suites(map[string]string{"web": noWebSeen, "im": "level Server; for Advanced Server: Bookmarks (XEP-0402) missing"})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var place peers.Place
			srv := peers.Start(t, peers.Servers()[tt.kind], peers.Options{Domain: domain, Cert: cert, Key: key, Accounts: []peers.Account{{Username: "romeo", Password: password}},
				Configure: func(p peers.Place) (string, error) {
					place = p
					var b strings.Builder
					err := tt.conf.Execute(&b, struct {
						peers.Place
						Cert, Key, No13 string
					}{p, cert, key, tt.no13})
					return b.String(), err
				}})
			at := func(transport policy.Transport, port int, path string) policy.Endpoint {
				return policy.Endpoint{Transport: transport, Host: "xmpp.test", Port: uint16(port), Path: path}
			}
			target := probe.Target{Domain: domain,
				Endpoints:       []policy.Endpoint{at(policy.STARTTLS, srv.StartTLS, ""), at(policy.DirectTLS, srv.DirectTLS, "")},
				ServerEndpoints: []policy.Endpoint{at(policy.STARTTLS, place.More[0], "")}}
			if tt.kind == "prosody" {
				target.Endpoints = append(target.Endpoints, policy.Endpoint{Transport: policy.WebSocket, Host: domain, Port: uint16(place.More[2]), Path: "/xmpp-websocket"})
				target.ServerEndpoints = append(target.ServerEndpoints, at(policy.DirectTLS, place.More[1], ""))
			}
			known := named{}
			for _, e := range append(target.Endpoints, target.ServerEndpoints...) {
				known[e.Address()] = fmt.Sprintf("127.0.0.1:%d", e.Port)
			}
			options := probe.Options{Dialer: known, Roots: ca.Pool(), S2S: true, Login: &probe.Login{JID: "romeo@" + domain, Password: []byte(password)}}
			seen, err := probe.Probe(t.Context(), target, options)
			must(t, err)
			if got := summary(t, seen); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s\n%+v", got, tt.want, seen.Login)
			}
			for _, e := range seen.Endpoints {
				how, tried := e.TLS.Versions["1.1"]
				if !tried || how == "" || len(e.TLS.Untried) > 0 || len(e.TLS.Versions) != 4 {
					t.Errorf("%v: versions %v, without an answer %v", e.At, e.TLS.Versions, e.TLS.Untried)
				}
				if e.UnknownHost.Error != "host-unknown" || e.At.Transport != policy.WebSocket && (!e.HTTPTried || strings.HasPrefix(e.HTTP, "HTTP/")) {
					t.Errorf("%v: unknown host %+v, HTTP %v %q", e.At, e.UnknownHost, e.HTTPTried, e.HTTP)
				}
				if e.Service == audit.S2S && !e.TLS.AsksCert {
					t.Errorf("%v: it asks for no certificate", e.At)
				}
			}

			if tt.kind == "prosody" {
				web := probe.Target{Domain: domain, Endpoints: target.Endpoints[2:]}
				seen, err := probe.Probe(t.Context(), web, options)
				must(t, err)
				if l := seen.Login; l.Err != "" || l.Software == "" || l.Mechanism != "SCRAM-SHA-256" {
					t.Errorf("by WebSocket: %+v", l)
				}
			}
			options.Login.Password, options.S2S, target.Endpoints = []byte("wrong"), false, target.Endpoints[1:2]
			seen, err = probe.Probe(t.Context(), target, options)
			must(t, err)
			if l := seen.Login; !strings.Contains(l.Err, "not-authorized") || l.Mechanism != "" || strings.Contains(l.Err, "wrong") {
				t.Errorf("with a wrong password: %+v", l)
			}
		})
	}
}

// TestProbeNode is the node that comes with the gateway, without rooms and uploads.
func TestProbeNode(t *testing.T) {
	const domain = "example.test"
	d := newNode(t, "domain = \""+domain+"\"\nregistration = \"closed\"")
	desk := control.NewClient(filepath.Join(d.Dir, "control.sock"))
	defer desk.Close()
	_, err := desk.AddAccount(t.Context(), control.NewAccount{JID: "romeo", Password: password})
	must(t, err)
	pem, err := os.ReadFile(d.CA)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	seen, err := probe.Probe(t.Context(), probe.Target{Domain: domain, Endpoints: []policy.Endpoint{
		{Transport: policy.STARTTLS, Host: "xmpp.test", Port: 5222}, {Transport: policy.DirectTLS, Host: "xmpp.test", Port: 5223},
	}}, probe.Options{Dialer: named{"xmpp.test:5222": d.C2S, "xmpp.test:5223": d.C2STLS}, Roots: roots, Login: &probe.Login{JID: "romeo@" + domain, Password: []byte(password)}})
	must(t, err)
	want := "login: |SCRAM-SHA-512-PLUS|tls-exporter|refused|refused|verified\ntold: XMPP||||true|\"\"\n" +
		"sasl.downgrade: a wrong channel binding is refused, and the mechanism list is verified\n" + suites(map[string]string{
		"web":    noWebSeen,
		"im":     "no level; for Server: Group chat (XEP-0045), File upload (XEP-0363) missing",
		"mobile": "level Server; for Advanced Server: Push notifications (XEP-0357) missing",
		"av":     "no level; for Server: STUN and TURN discovery (XEP-0215) missing",
	})
	if got := summary(t, seen); got != want {
		t.Errorf("got\n%s\nwant\n%s\n%+v", got, want, seen.Login)
	}
	if n := d.Report(t).Status.Node; n == nil || n.Sessions != 0 {
		t.Errorf("behind the login the node has %+v", n)
	}
	if e := seen.Endpoints[0]; e.Injection.Err != "" || e.Injection.Accepted || e.Injection.AfterClear != "" {
		t.Errorf("injection: %+v", e.Injection)
	}
}

// named knows the names in it.
type named map[string]string

func (n named) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	if to := n[address]; to != "" {
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	}
	return nil, fmt.Errorf("nobody knows %s", address)
}
