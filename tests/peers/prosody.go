package peers

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// prosodyConfig is a whole configuration; nothing else is read.
//
// run_as_root is obeyed only where the tests run as root, in a container say.
var prosodyConfig = template.Must(template.New("prosody.cfg.lua").Funcs(template.FuncMap{"list": luaList}).Parse(`
run_as_root = true
data_path = "{{or .Portable (print .Dir "/data")}}"
{{if .Portable}}storage = { accounts = "xep0227", roster = "xep0227", vcard = "xep0227", private = "xep0227", archive = "xep0227" }{{end}}
certificates = "{{.Dir}}/data"
admin_socket = "{{.Dir}}/prosody.sock"
pidfile = "{{.Dir}}/prosody.pid"
log = { { levels = { min = "debug" }, to = "file", filename = "{{.Dir}}/prosody.log" } }

interfaces = { "127.0.0.1" }
c2s_ports = { {{.StartTLS}} }
c2s_direct_tls_ports = { {{.DirectTLS}} }
http_ports = { }
https_ports = { {{with .WebPort}}{{.}}{{end}} }
https_interfaces = { "127.0.0.1" }
https_ssl = { certificate = "{{.Cert}}", key = "{{.Key}}", protocol = "{{.Protocol}}" }
http_default_host = "{{.Domain}}"
c2s_require_encryption = {{not .NoTLS}}

modules_enabled = {
	"roster", {{if .Portable}}"private", "vcard",{{end}} "saslauth", "tls", "disco", "ping", "pep", "blocklist", "carbons", "smacks", "limits",
	{{if .MAM}}"mam",{{end}} {{if .Register}}"register_ibr",{{end}} {{if .WebPort}}"websocket",{{end}}
}
modules_disabled = { "s2s" }
allow_registration = {{.Register}}

authentication = "internal_hashed"
password_hash = "{{.Hash}}"
{{with .Disabled}}disable_sasl_mechanisms = {{list .}}{{end}}

ssl = { certificate = "{{.Cert}}", key = "{{.Key}}", protocol = "{{.Protocol}}"{{template "weak" .}} }
c2s_direct_tls_ssl = { certificate = "{{.Cert}}", key = "{{.Key}}", protocol = "{{.Protocol}}"{{template "weak" .}} }

VirtualHost "{{.Domain}}"
{{define "weak"}}{{if .Weak}}, ciphers = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"{{end}}{{end}}`))

// weakOpenSSL lets OpenSSL do what Debian does not let it do by itself.
const weakOpenSSL = `openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = weak
[weak]
MinProtocol = TLSv1
CipherString = ALL:COMPLEMENTOFALL:@SECLEVEL=0
`

func luaList(words []string) string {
	return `{ "` + strings.Join(words, `", "`) + `" }`
}

// Prosody starts Prosody (Debian package prosody).
func Prosody(o Options) (*Server, error) { return launch(o, startProsody) }

func startProsody(o Options, starttls, direct int) (*Server, error) {
	prosody, err := program("prosody", "prosody")
	if err != nil {
		return nil, err
	}
	ctl, err := program("prosodyctl", "prosody")
	if err != nil {
		return nil, err
	}
	if o.Hash == "" {
		o.Hash = "SHA-1"
	}
	if o.Hash != "SHA-1" && o.Hash != "SHA-256" {
		return nil, fmt.Errorf("peers: prosody stores passwords as SHA-1 or SHA-256, not %s", o.Hash)
	}
	protocol := "tlsv1_2+"
	switch {
	case o.Weak:
		protocol = "tlsv1+"
	case o.MinTLS == tls.VersionTLS13:
		protocol = "tlsv1_3"
	case o.MaxTLS == tls.VersionTLS12:
		protocol = "tlsv1_2"
	}

	web := 0
	if o.WebSocket {
		ports, err := freePorts()
		if err != nil {
			return nil, err
		}
		web = ports[0]
	}
	dir, err := os.MkdirTemp("", "peers-prosody-")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "prosody.cfg.lua")
	var text strings.Builder
	at, err := o.configure(dir, starttls, direct, &text, func() error {
		return prosodyConfig.Execute(&text, struct {
			Options
			Dir, Protocol       string
			Disabled            []string
			StartTLS, DirectTLS int
			WebPort             int
		}{o, dir, protocol, o.disabled(), starttls, direct, web})
	})
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "data"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(config, []byte(text.String()), 0o600)
	}

	register := func(a Account) error {
		cmd := exec.Command(ctl, "--config", config, "register", a.Username, o.Domain, a.Password)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("peers: prosodyctl register %s: %w\n%s", a.Username, err, out)
		}
		return nil
	}
	for _, a := range o.Accounts {
		if err == nil {
			err = register(a)
		}
	}
	var env []string
	if err == nil && o.Weak {
		file := filepath.Join(dir, "openssl.cnf")
		env = []string{"OPENSSL_CONF=" + file}
		err = os.WriteFile(file, []byte(weakOpenSSL), 0o600)
	}
	var p *process
	if err == nil {
		p, err = spawn(spec{
			dir: dir, path: prosody, args: []string{"--config", config, "-F"}, env: env,
			logs: []string{"prosody.log"},
		})
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	s := &Server{Kind: "prosody", Domain: o.Domain, Host: "127.0.0.1",
		StartTLS: starttls, DirectTLS: direct, WebSocket: web, proc: p, register: register, Place: at}
	if o.Configure != nil {
		s.await = at.used(text.String())
	}
	if err := s.awaitPorts(); err != nil {
		return nil, err
	}
	return s, nil
}
