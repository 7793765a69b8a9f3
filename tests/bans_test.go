// Package tests looks at the whole module: what must hold in every package.
package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "xmpp-gw"

// source is one Go file of the module.
type source struct {
	dir     string            // "internal/egress"; "." is the root
	test    bool              // a _test.go file, below tests/, or of servertest, which tests alone may import
	imports map[string]string // import path by the name that the file uses for it
	paths   []string          // all import paths
	dotted  []string          // those imported with a dot
	fset    *token.FileSet
	file    *ast.File
}

// in reports whether the file's directory is one of dirs or below it.
func (s *source) in(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return s.dir == d || strings.HasPrefix(s.dir, d+"/") })
}

// ban is one rule about what a file may use.
type ban struct {
	name  string
	why   string
	holds func(s *source) bool     // whether the rule is for this file
	found func(s *source) []string // what breaks it
}

// The bans. Each is a promise of the design that nothing else would notice.
var bans = []ban{
	{
		name: "dial",
		why: "only internal/egress opens connections and resolves names: any other dial could leave by another route than " +
			"the one that policy decided, or ask the machine's own resolver (onion may dial Tor's control socket, " +
			"internal/control the daemon's unix socket by net.DialUnix)",
		holds: func(s *source) bool { return !s.test && !s.in("internal/egress") },
		found: func(s *source) []string {
			return s.uses(func(pkg, name string) bool {
				switch pkg {
				case "net":
					switch {
					case strings.HasPrefix(name, "Resolve") && name != "ResolveUnixAddr",
						strings.HasPrefix(name, "Lookup"), name == "Resolver", name == "DefaultResolver":
						return true
					case name == "DialUnix" && s.in("internal/control"):
						return false
					}
					return strings.HasPrefix(name, "Dial") && !s.in("onion")
				case "crypto/tls", "github.com/miekg/dns":
					return strings.HasPrefix(name, "Dial") || pkg != "crypto/tls" && (strings.HasPrefix(name, "Exchange") || name == "Client")
				case "syscall", "golang.org/x/sys/unix":
					return name == "Connect"
				case "net/smtp", "net/rpc", "golang.org/x/net/websocket":
					return strings.HasPrefix(name, "Dial")
				case "github.com/coder/websocket": // internal/websocket gives it the connection
					return name == "Dial" && !s.in("internal/websocket")
				}
				return false
			})
		},
	},
	{
		name: "escape",
		why: "internal/egress can try to get out beside every route, for `check --egress` alone: nothing else may, least of all " +
			"what carries somebody's stanzas",
		holds: func(s *source) bool { return !s.test && !s.in("policy/audit/inspect", "internal/egress") },
		found: func(s *source) []string {
			return s.uses(func(pkg, name string) bool {
				return pkg == module+"/internal/egress" && (name == "Escape" || name == "AskResolver")
			})
		},
	},
	{
		name: "ambient proxy",
		why: "x/net's Direct and FromEnvironment turn a missing or mistyped proxy into a direct connection; " +
			"every hop is named by the configuration",
		holds: func(s *source) bool { return true },
		found: func(s *source) []string {
			return s.uses(func(pkg, name string) bool {
				switch name {
				case "Direct", "FromEnvironment", "FromEnvironmentUsing", "Dial":
					return pkg == "golang.org/x/net/proxy"
				case "ProxyFromEnvironment":
					return pkg == "net/http"
				}
				return false
			})
		},
	},
	{
		name: "ambient http",
		why: "net/http's default client and transport dial by themselves and obey HTTP_PROXY: an http.Client needs a Transport " +
			"of its own, and an http.Transport its DialContext",
		holds: func(s *source) bool { return !s.test },
		found: func(s *source) []string {
			hits := s.uses(func(pkg, name string) bool {
				return pkg == "net/http" && slices.Contains([]string{"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm"}, name)
			})
			ast.Inspect(s.file, func(n ast.Node) bool {
				lit, ok := n.(*ast.CompositeLit)
				if !ok {
					return true
				}
				pkg, name := s.selector(lit.Type)
				if need := map[string]string{"Client": "Transport", "Transport": "DialContext"}[name]; pkg == "net/http" && need != "" && !sets(lit, need) {
					hits = append(hits, s.at(lit, "http."+name+" without "+need))
				}
				return true
			})
			return hits
		},
	},
	{
		name: "policy is pure",
		why:  "policy turns rules into decisions without I/O and stands below everything: it imports nothing else of this module",
		holds: func(s *source) bool {
			return s.in("policy") && !s.in("policy/audit") && !s.test
		},
		found: func(s *source) []string { return s.importsOf(module) },
	},
	{
		name:  "server is its own",
		why:   "the server is embeddable without the gateway: it never imports proxy",
		holds: func(s *source) bool { return s.in("server") },
		found: func(s *source) []string { return s.importsOf(module + "/proxy") },
	},
	{
		name:  "test help",
		why:   "server/servertest dials and trusts as only a test may: no program is built with it",
		holds: func(s *source) bool { return !s.test },
		found: func(s *source) []string { return s.importsOf(module + "/server/servertest") },
	},
	{
		name:  "command line",
		why:   "only cmd knows the command line: everything else is a library that others wire in their own way",
		holds: func(s *source) bool { return !s.in("cmd") },
		found: func(s *source) []string { return s.importsOf("github.com/urfave/cli") },
	},
	{
		name: "no second parser",
		why: "stanzas are read by internal/xmppstream alone: encoding/xml cannot pass a stanza on as its own bytes, " +
			"and two parsers that differ are a hole",
		holds: func(s *source) bool { return s.in("proxy", "internal/xmppstream") && !s.test },
		found: func(s *source) []string { return s.importsOf("encoding/xml") },
	},
	{
		name:  "imports run downward",
		why:   "internal packages are below proxy, onion, server and cmd and never import them",
		holds: func(s *source) bool { return s.in("internal") && !s.test },
		found: func(s *source) []string {
			return s.importsOf(module+"/proxy", module+"/onion", module+"/server", module+"/cmd")
		},
	},
	{
		name:  "no init",
		why:   "init registers things behind the reader's back: wire explicitly in cmd",
		holds: func(s *source) bool { return true },
		found: func(s *source) []string {
			var hits []string
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					hits = append(hits, s.at(f, "func init"))
				}
			}
			return hits
		},
	},
	{
		name: "one log",
		why: "everything that is printed goes through the slog handler that redacts it; packages log to the logger they are given " +
			"and only cmd writes to the terminal",
		holds: func(s *source) bool { return !s.test && !s.in("cmd") },
		found: func(s *source) []string {
			hits := s.uses(func(pkg, name string) bool {
				return pkg == "fmt" && strings.HasPrefix(name, "Print") || pkg == "os" && (name == "Stdout" || name == "Stderr")
			})
			for _, p := range s.paths {
				if p == "log" {
					hits = append(hits, "import of log")
				}
			}
			ast.Inspect(s.file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if id, ok := call.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
						hits = append(hits, s.at(call, id.Name))
					}
				}
				return true
			})
			return hits
		},
	},
	{
		name:  "old random",
		why:   "math/rand may be seeded by hand and then repeats itself: crypto/rand for anything secret, math/rand/v2 for spreading load",
		holds: func(s *source) bool { return true },
		found: func(s *source) []string {
			if slices.Contains(s.paths, "math/rand") {
				return []string{"import of math/rand"}
			}
			return nil
		},
	},
	{
		name: "secrets are random",
		why: "what a peer must not guess (nonces, stream ids, keys, isolation pairs) comes from crypto/rand; " +
			"math/rand/v2 is for internal/resolve, which spreads load by SRV weight",
		holds: func(s *source) bool { return !s.test && !s.in("internal/resolve") },
		found: func(s *source) []string { return s.importsOf("math/rand/v2") },
	},
}

// parse reads one file.
func parse(name string, src any) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := &source{dir: path.Dir(name), imports: map[string]string{}, fset: fset, file: file}
	s.test = strings.HasSuffix(name, "_test.go") || s.in("tests", "server/servertest")
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		s.paths = append(s.paths, p)
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "." {
			s.dotted = append(s.dotted, p)
		}
		s.imports[local] = p
	}
	return s, nil
}

// selector reads PKG.NAME and gives the import path and the name.
func (s *source) selector(n ast.Node) (pkg, name string) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return s.imports[id.Name], sel.Sel.Name
}

// uses finds the PKG.NAME that are bad. A dot import of a package that has any
// hides the rest, so it counts as well.
func (s *source) uses(bad func(pkg, name string) bool) []string {
	var hits []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if pkg, name := s.selector(n); pkg != "" && bad(pkg, name) {
			hits = append(hits, s.at(n, pkg+"."+name))
		}
		return true
	})
	for _, p := range s.dotted {
		if slices.ContainsFunc([]string{"Dial", "Connect", "Direct", "DefaultClient", "Print", "Stdout"}, func(name string) bool { return bad(p, name) }) {
			hits = append(hits, "dot import of "+p)
		}
	}
	return hits
}

// importsOf finds imports of these packages or of what is below them.
func (s *source) importsOf(roots ...string) []string {
	var hits []string
	for _, p := range s.paths {
		if slices.ContainsFunc(roots, func(r string) bool { return p == r || strings.HasPrefix(p, r+"/") }) {
			hits = append(hits, "import of "+p)
		}
	}
	return hits
}

// at is a finding with its line.
func (s *source) at(n ast.Node, what string) string {
	return fmt.Sprintf("line %d: %s", s.fset.Position(n.Pos()).Line, what)
}

// sets reports whether a composite literal has the field.
func sets(lit *ast.CompositeLit, field string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		id, ok := kv.Key.(*ast.Ident)
		return ok && id.Name == field
	})
}

// TestBans holds every Go file of the module against every ban.
func TestBans(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "vendor") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(name), text)
		if err != nil {
			return err
		}
		seen[s.dir]++
		for _, b := range bans {
			if !b.holds(s) {
				continue
			}
			for _, hit := range b.found(s) {
				t.Errorf("%s: %s\n\tban %q: %s", name, hit, b.name, b.why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"cmd/xmpp-gw", "internal/egress", "internal/resolve", "internal/xmppstream", "policy", "proxy", "tests"} {
		if seen[dir] == 0 {
			t.Errorf("no file of %s was looked at", dir)
		}
	}
}

// TestBansBite shows that each ban can fail, and where it must not.
func TestBansBite(t *testing.T) {
	bitten := map[string]bool{}
	for _, tt := range []struct {
		file string
		src  string // without the package clause
		ban  string // empty: none
	}{
		{"proxy/x.go", `import "net"; var _, _ = net.Dial("tcp", "a:1")`, "dial"},
		{"proxy/x.go", `import n "net"; var d n.Dialer`, "dial"},
		{"proxy/x.go", `import . "net"; var d Dialer`, "dial"},
		{"internal/resolve/x.go", `import "net"; var r net.Resolver`, "dial"},
		{"internal/resolve/x.go", `import "net"; var f = net.LookupHost`, "dial"},
		{"internal/resolve/x.go", `import "net"; var f = net.ResolveTCPAddr`, "dial"},
		{"internal/resolve/x.go", `import "github.com/miekg/dns"; var c dns.Client`, "dial"},
		{"internal/resolve/x.go", `import "github.com/miekg/dns"; var m dns.Msg`, ""},
		{"internal/tlsauth/x.go", `import "crypto/tls"; var f = tls.Dial`, "dial"},
		{"internal/tlsauth/x.go", `import "crypto/tls"; var f = tls.Client`, ""},
		{"cmd/xmpp-gw/x.go", `import "net"; var f = net.DialTimeout`, "dial"},
		{"proxy/x.go", `import . "net"; import . "strings"; var d Dialer`, "dial"},
		{"proxy/x.go", `import "golang.org/x/sys/unix"; var f = unix.Connect`, "dial"},
		{"onion/x.go", `import "net"; var d net.Dialer`, ""},
		{"onion/x.go", `import "net"; var f = net.LookupIP`, "dial"},
		{"onions/x.go", `import "net"; var d net.Dialer`, "dial"},
		{"internal/control/x.go", `import "net"; var f = net.DialUnix`, ""},
		{"internal/control/x.go", `import "net"; var f = net.Dial`, "dial"},
		{"internal/metrics/x.go", `import "net"; var f = net.DialUnix`, "dial"},
		{"internal/egress/x.go", `import "net"; var d net.Dialer`, ""},
		{"proxy/x_test.go", `import "net"; var d net.Dialer`, ""},
		{"tests/lab/x.go", `import "net"; var f = net.Dial`, ""},
		{"proxy/x.go", `import "net"; var f = net.Listen`, ""},
		{"proxy/x.go", `import "github.com/coder/websocket"; var f = websocket.Dial`, "dial"},
		{"internal/websocket/x.go", `import ws "github.com/coder/websocket"; var f = ws.Dial`, ""},

		{"proxy/x.go", `import "xmpp-gw/internal/egress"; var f = egress.Escape`, "escape"},
		{"cmd/xmpp-gw/x.go", `import e "xmpp-gw/internal/egress"; var f = e.AskResolver`, "escape"},
		{"proxy/x.go", `import "xmpp-gw/internal/egress"; var f = egress.New`, ""},
		{"policy/audit/inspect/x.go", `import "xmpp-gw/internal/egress"; var f = egress.Escape`, ""},

		{"internal/egress/x.go", `import "golang.org/x/net/proxy"; var d = proxy.Direct`, "ambient proxy"},
		{"internal/egress/x_test.go", `import xp "golang.org/x/net/proxy"; var d = xp.FromEnvironment()`, "ambient proxy"},
		{"internal/egress/x.go", `import "golang.org/x/net/proxy"; var f = proxy.SOCKS5`, ""},
		{"internal/egress/x.go", `import "net/http"; var f = http.ProxyFromEnvironment`, "ambient proxy"},

		{"internal/control/x.go", `import "net/http"; var c = http.DefaultClient`, "ambient http"},
		{"internal/egress/x.go", `import "net/http"; var f = http.Get`, "ambient http"},
		{"internal/control/x.go", `import "net/http"; var c = &http.Client{}`, "ambient http"},
		{"internal/control/x.go", `import "net/http"; var c = &http.Client{Transport: &http.Transport{}}`, "ambient http"},
		{"internal/control/x.go", `import "net/http"; var c = &http.Client{Transport: &http.Transport{DialContext: nil}}`, ""},
		{"internal/control/x.go", `import "net/http"; var s http.Server`, ""},

		{"policy/x.go", `import _ "xmpp-gw/internal/scrub"`, "policy is pure"},
		{"policy/x.go", `import _ "strings"`, ""},
		{"policy/audit/x.go", `import _ "xmpp-gw/internal/egress"`, ""},
		{"server/roster/x.go", `import _ "xmpp-gw/proxy"`, "server is its own"},
		{"server/x.go", `import _ "xmpp-gw/proxy/guard"`, "server is its own"},
		{"server/x.go", `import _ "xmpp-gw/server/servertest"`, "test help"},
		{"server/x_test.go", `import _ "xmpp-gw/server/servertest"`, ""},
		{"server/servertest/x.go", `import "net"; var f = net.Dial`, ""},
		{"proxy/x.go", `import _ "github.com/urfave/cli/v2"`, "command line"},
		{"cmd/xmpp-gw/x.go", `import _ "github.com/urfave/cli/v2"`, ""},
		{"proxy/guard/x.go", `import _ "encoding/xml"`, "no second parser"},
		{"internal/xmppstream/x.go", `import _ "encoding/xml"`, "no second parser"},
		{"internal/xmppstream/x_test.go", `import _ "encoding/xml"`, ""},
		{"internal/egress/x.go", `import _ "xmpp-gw/onion"`, "imports run downward"},
		{"internal/egress/x.go", `import _ "xmpp-gw/policy"`, ""},
		{"internal/config/x.go", `import _ "xmpp-gw/server/store"`, "imports run downward"},

		{"policy/x.go", `func init() {}`, "no init"},
		{"policy/x.go", `type t int; func (t) init() {}`, ""},
		{"proxy/x.go", `import "log"; var f = log.Printf`, "one log"},
		{"proxy/x.go", `import "log/slog"; var l *slog.Logger`, ""},
		{"proxy/x.go", `import "fmt"; var f = fmt.Println`, "one log"},
		{"proxy/x.go", `import "fmt"; var f = fmt.Sprintf`, ""},
		{"proxy/x.go", `import "os"; var f = os.Stderr`, "one log"},
		{"proxy/x.go", `func f() { println("x") }`, "one log"},
		{"cmd/xmpp-gw/x.go", `import "fmt"; var f = fmt.Println`, ""},
		{"proxy/x_test.go", `import _ "math/rand"`, "old random"},
		{"internal/saslauth/x.go", `import _ "math/rand/v2"`, "secrets are random"},
		{"internal/resolve/x.go", `import _ "math/rand/v2"`, ""},
		{"internal/saslauth/x.go", `import _ "crypto/rand"`, ""},
	} {
		s, err := parse(tt.file, "package x; "+tt.src)
		if err != nil {
			t.Fatalf("%s: %v", tt.src, err)
		}
		got := ""
		for _, b := range bans {
			if b.holds(s) && len(b.found(s)) > 0 {
				got = strings.TrimSpace(got + " " + b.name)
				bitten[b.name] = true
			}
		}
		if got != tt.ban {
			t.Errorf("%s: %s\n\tbreaks %q, want %q", tt.file, tt.src, got, tt.ban)
		}
	}
	for _, b := range bans {
		if !bitten[b.name] {
			t.Errorf("nothing shows that the ban %q can fail", b.name)
		}
		if b.why == "" {
			t.Errorf("the ban %q has no reason", b.name)
		}
	}
}
