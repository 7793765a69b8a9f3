-- Prosody as it should be. What a case adds, and what fixes do, stands before the host;
-- the modules of fixes stand with the host, where they come to those that are there.
run_as_root = true -- obeyed only where the tests run as root, in a container say
data_path = "{{.Dir}}/data"
admin_socket = "{{.Dir}}/prosody.sock"
pidfile = "{{.Dir}}/prosody.pid"
log = { { levels = { min = "debug" }, to = "file", filename = "{{.Dir}}/prosody.log" } }
plugin_paths = { "{{.Testdata}}" }

interfaces = { "127.0.0.1" }
c2s_ports = { {{.StartTLS}} }
c2s_direct_tls_ports = { {{.DirectTLS}} }
s2s_ports = { {{index .More 0}} }
s2s_direct_tls_ports = { {{index .More 1}} }
http_ports = { }
https_ports = { {{index .More 2}} }
https_interfaces = { "127.0.0.1" }
http_external_url = "https://example.test/"
http_files_dir = "{{.Testdata}}/www"
http_paths = { files = "/" }

certificates = "{{.Certificates}}"
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = true
authentication = "internal_hashed"
password_hash = "SHA-256"
allow_registration = false

modules_enabled = {
	"roster", "saslauth", "tls", "disco", "ping", "pep", "blocklist", "carbons", "smacks", "limits", "websocket", "http_files",
	{{range .Modules}}{{.}}, {{end}}
}

{{range .Lines}}{{.}}
{{end}}
VirtualHost "example.test"
modules_enabled = { {{range .Fixes}}{{.}}, {{end}}}
{{range .Below}}{{.}}
{{end}}