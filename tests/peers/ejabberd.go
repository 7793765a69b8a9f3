package peers

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/template"
	"time"
)

var ejabberdConfig = template.Must(template.New("ejabberd.yml").Parse(`
hosts: ["{{.Domain}}"]
loglevel: info
certfiles: ["{{.Dir}}/cert.pem"]
s2s_use_starttls: false
{{with .Disabled}}disable_sasl_mechanisms: [{{range $i, $m := .}}{{if $i}}, {{end}}"{{$m}}"{{end}}]
{{end}}
listen:
  - port: {{.StartTLS}}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: true
    starttls_required: {{not .NoTLS}}
    protocol_options: [{{.Protocol}}]
  - port: {{.DirectTLS}}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    tls: true
    protocol_options: [{{.Protocol}}]
{{- if .Proxied}}
  - port: {{.ProxiedPort}}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: true
    use_proxy_protocol: true
    protocol_options: [{{.Protocol}}]
{{- end}}
auth_method: internal
auth_password_format: scram
auth_scram_hash: {{.Hash}}
registration_timeout: infinity
modules:
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_disco: {}
  mod_offline: {}
  mod_ping: {}
  mod_privacy: {}
  mod_pubsub:
    plugins: [flat, pep]
  mod_roster: {}
  mod_stream_mgmt: {}
{{- if .MAM}}
  mod_mam:
    default: always
{{- end}}
{{- if .Register}}
  mod_register:
    ip_access: all
    access: all
{{- end}}
`))

// ejabberdLoop runs inside the server: it makes the accounts that come as
// Erlang terms on standard input, and ends the server with its input. So no
// node name, cookie or epmd is needed, and no ejabberdctl, which insists on
// being root or the package's own user.
const ejabberdLoop = `
F = fun(F) -> case io:read("") of
  {ok, {register, U, H, P}} -> io:format("~nregistered ~p~n", [ejabberd_auth:try_register(U, H, P)]), F(F);
  {ok, ping} -> io:format("~nready~n"), F(F);
  eof -> init:stop()
end end,
spawn(fun() -> F(F) end).`

// Ejabberd starts ejabberd (Debian package ejabberd).
func Ejabberd(o Options) (*Server, error) { return launch(o, startEjabberd) }

func startEjabberd(o Options, starttls, direct int) (*Server, error) {
	erl, err := program("erl", "ejabberd")
	if err != nil {
		return nil, err
	}
	// ejabberd's code is not where Erlang looks by itself: /usr/lib/<arch>.
	found, _ := filepath.Glob("/usr/lib/*/ejabberd-*/ebin/ejabberd.app")
	if len(found) == 0 {
		return nil, missing("ejabberd", "ejabberd")
	}
	libs := filepath.Dir(filepath.Dir(filepath.Dir(found[0])))

	hash := map[string]string{"": "sha", "SHA-1": "sha", "SHA-256": "sha256", "SHA-512": "sha512"}[o.Hash]
	if hash == "" {
		return nil, fmt.Errorf("peers: ejabberd does not store passwords as %s", o.Hash)
	}
	protocol := []string{`"no_sslv3"`, `"no_tlsv1"`, `"no_tlsv1_1"`}
	if o.MinTLS == tls.VersionTLS13 {
		protocol = append(protocol, `"no_tlsv1_2"`)
	}
	if o.MaxTLS == tls.VersionTLS12 {
		protocol = append(protocol, `"no_tlsv1_3"`)
	}

	more, err := freePorts()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "peers-ejabberd-")
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	at, err := o.configure(dir, starttls, direct, &text, func() error {
		return ejabberdConfig.Execute(&text, struct {
			Options
			Dir, Protocol, Hash string
			Disabled            []string
			StartTLS, DirectTLS int
			ProxiedPort         int
		}{o, dir, strings.Join(protocol, ", "), hash, o.disabled(), starttls, direct, more[0]})
	})
	err = errors.Join(err,
		os.WriteFile(filepath.Join(dir, "ejabberd.yml"), []byte(text.String()), 0o600),
		os.Mkdir(filepath.Join(dir, "db"), 0o700),
		joinFiles(filepath.Join(dir, "cert.pem"), o.Cert, o.Key), // ejabberd wants both in one file
	)
	answers := make(chan string, 16)
	var p *process
	if err == nil {
		p, err = spawn(spec{
			dir: dir, path: erl,
			args: []string{"-noshell", "+sbwt", "none", "+S", "2", "-mnesia", "dir", `"` + dir + `/db"`,
				"-s", "ejabberd", "-eval", ejabberdLoop},
			env: []string{
				"ERL_LIBS=" + libs,
				"ERL_CRASH_DUMP_SECONDS=0",
				"ERL_EPMD_ADDRESS=127.0.0.1",
				"EJABBERD_CONFIG_PATH=" + dir + "/ejabberd.yml",
				"EJABBERD_LOG_PATH=" + dir + "/ejabberd.log",
			},
			lines: func(line []byte) {
				if bytes.HasPrefix(line, []byte("registered ")) || string(line) == "ready" {
					select {
					case answers <- string(line):
					default: // nobody asked for this many
					}
				}
			},
			stop: func(in io.WriteCloser, _ int) { in.Close() },
		})
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}

	s := &Server{Kind: "ejabberd", Domain: o.Domain, Host: "127.0.0.1",
		StartTLS: starttls, DirectTLS: direct, proc: p, Place: at}
	if o.Configure != nil {
		s.await = at.used(text.String())
	}
	if o.Proxied {
		s.Proxied = more[0]
	}
	var asking sync.Mutex
	ask := func(term, want string) error {
		asking.Lock()
		defer asking.Unlock()
		if _, err := io.WriteString(p.in, term+".\n"); err != nil {
			return fmt.Errorf("peers: ejabberd: %w (%w)", err, errNotReady)
		}
		select {
		case got := <-answers:
			if got != want {
				return fmt.Errorf("peers: ejabberd answered %q", got)
			}
			return nil
		case <-p.done:
			return s.notReady("ended at once")
		case <-time.After(startTimeout):
			return s.notReady("does not answer")
		}
	}
	s.register = func(a Account) error {
		return ask(fmt.Sprintf("{register, %s, %s, %s}", erlang(a.Username), erlang(o.Domain), erlang(a.Password)),
			"registered ok")
	}
	if err = ask("ping", "ready"); err == nil {
		err = s.awaitPorts()
	}
	for _, a := range o.Accounts {
		if err == nil {
			err = s.register(a)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// erlang renders a string as an Erlang binary, byte by byte: nothing needs
// quoting.
func erlang(s string) string {
	var b strings.Builder
	b.WriteString("<<")
	for i := range len(s) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, s[i])
	}
	b.WriteString(">>")
	return b.String()
}

func joinFiles(to string, from ...string) error {
	var all []byte
	for _, name := range from {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all = append(append(all, text...), '\n')
	}
	return os.WriteFile(to, all, 0o600)
}
