package inspect

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/config"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/localca"
	"xmpp-gw/policy/audit"
)

func put(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*") // no pattern, but a name
	key := put(t, filepath.Join(dir, "key"), 0o640)
	a, b := put(t, filepath.Join(dir, "onions", "a", "k"), 0o600), put(t, filepath.Join(dir, "onions", "b", "k"), 0o604)
	self := os.Geteuid()
	got := Files([]Place{
		{Path: key, Is: "a key", Max: 0o600, Secret: true},
		{Path: filepath.Join(dir, "none"), Is: "nothing", Max: 0o600},
		{Path: filepath.Join(dir, "onions"), Each: "*/k", Is: "an onion key", Max: 0o600, Secret: true},
		{Path: filepath.Join(dir, "none"), Each: "*", Is: "nothing", Max: 0o600},
	}, self)
	var said []string
	for _, f := range got {
		if !f.OwnOK || !f.Secret || f.Owner == "" {
			t.Errorf("%+v", f)
		}
		said = append(said, fmt.Sprintf("%s %s %04o", f.Path, f.Is, f.Mode))
	}
	want := []string{key + " a key 0640", a + " an onion key 0600", b + " an onion key 0604"}
	if !reflect.DeepEqual(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
	if f := Files([]Place{{Path: key}}, self+1)[0]; self != 0 && f.OwnOK {
		t.Error("a file of another user is well")
	}
	if self == 0 {
		if err := os.Chown(key, 4711, 4711); err != nil {
			t.Fatal(err)
		}
		if f := Files([]Place{{Path: key}}, self)[0]; f.OwnOK || f.Owner != "user 4711" {
			t.Errorf("another's file: %+v", f)
		}
		if f := Files([]Place{{Path: key}}, 4711)[0]; !f.OwnOK {
			t.Errorf("the set-up's own: %+v", f)
		}
		if got := Owner(key); got != 4711 {
			t.Errorf("root looks at the set-up of %d", got)
		}
	}
}

// TestAbove: who may write to a folder above a file, by whatever name it is reached,
// can put another in its place.
func TestAbove(t *testing.T) {
	self := os.Geteuid()
	top := t.TempDir()
	key := put(t, filepath.Join(top, "shared", "mine", "key"), 0o600)
	link := filepath.Join(top, "link")
	if err := os.Symlink(key, link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode fs.FileMode
		path string
		want int
	}{
		{0o755, key, 0}, {0o775, key, 0}, {0o777 | fs.ModeSticky, key, 0}, {0o777, key, 1}, {0o757, link, 1},
	} {
		if err := os.Chmod(filepath.Join(top, "shared"), tt.mode); err != nil {
			t.Fatal(err)
		}
		got := Files([]Place{{Path: tt.path, Is: "the key", Max: 0o600, Secret: true}}, self)
		if len(got) != 1+tt.want {
			t.Errorf("%v: %+v", tt.mode, got)
		}
		for _, f := range got[1:] {
			if f.Path != filepath.Join(top, "shared") || f.Secret || !strings.Contains(f.Is, "above the key") || f.Mode&^f.Max == 0 {
				t.Errorf("%v: %+v", tt.mode, f)
			}
		}
	}
	// A folder that is looked at itself is not told of twice.
	if got := Files([]Place{{Path: key, Max: 0o600}, {Path: filepath.Join(top, "shared"), Max: 0o755}}, self); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestOwnGroup: a group of the user's own may write what is no secret.
func TestOwnGroup(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "config"), 0o664)
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(u.Gid)
	own := err == nil && g.Name == u.Username // as it is for root
	f := Files([]Place{{Path: path, Max: 0o644, OwnGroup: true}}, os.Geteuid())[0]
	if (f.Mode&^f.Max == 0) != own {
		t.Errorf("%+v; the group is the user's own: %v", f, own)
	}
	if f := Files([]Place{{Path: path, Max: 0o644}}, os.Geteuid())[0]; f.Mode&^f.Max == 0 {
		t.Errorf("not asked for: %+v", f)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 0, 4711); err != nil {
			t.Fatal(err)
		}
		if f := Files([]Place{{Path: path, Max: 0o644, OwnGroup: true}}, 0)[0]; f.Mode&^f.Max == 0 {
			t.Errorf("another's group: %+v", f)
		}
	}
}

// store is a trust store with these certificates.
type store struct {
	list []*x509.Certificate
	err  error
}

func (s store) SameKey(*x509.Certificate) ([]*x509.Certificate, error) { return s.list, s.err }
func (s store) Add(*x509.Certificate) error                            { return errors.New("nobody may change it") }
func (s store) Remove(*x509.Certificate) error                         { return errors.New("nobody may change it") }

func TestAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	self := os.Geteuid()
	if ca, trust := Authority(dir, self, map[string]localca.Store{"system": store{}}); !ca.Missing || trust != nil {
		t.Errorf("none: %+v, %v", ca, trust)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a look made an authority")
	}
	open := func(domains ...string) *localca.CA {
		t.Helper()
		ca, err := localca.Open(dir, domains)
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	first := open()
	ca, _ := Authority(dir, self, nil)
	if ca.Err != "" || ca.Constrained || ca.Key.Mode != 0o600 || !ca.Key.Secret || !ca.NotAfter.After(time.Now().AddDate(9, 0, 0)) {
		t.Errorf("%+v", ca)
	}
	bound := open("example.org")
	ca, trust := Authority(dir, self, map[string]localca.Store{
		"empty": store{}, "old": store{list: []*x509.Certificate{first.Certificate()}}, "shut": store{err: errors.New("closed")},
		"system": store{list: []*x509.Certificate{bound.Certificate()}},
	})
	want := []audit.TrustStore{{Store: "empty"}, {Store: "old", Trusted: true}, {Store: "shut", Err: "closed"}, {Store: "system", Trusted: true, Current: true}}
	if !ca.Constrained || !reflect.DeepEqual(trust, want) {
		t.Errorf("%+v\n%+v, want\n%+v", ca, trust, want)
	}
	if err := os.Chmod(localca.KeyFile(dir), 0o644); err != nil {
		t.Fatal(err)
	}
	if ca, _ := Authority(dir, self, nil); ca.Key.Mode != 0o644 {
		t.Errorf("%+v", ca)
	}
	// A bad key does not hide behind its certificate.
	cert := bound.File()
	for _, spoiled := range []struct {
		name  string
		spoil func() error
	}{
		{"nonsense", func() error { return os.WriteFile(cert, []byte("x"), 0o600) }},
		{"gone", func() error { return os.Remove(cert) }}, // the last: it is made anew below
	} {
		name := spoiled.name
		if err := spoiled.spoil(); err != nil {
			t.Fatal(err)
		}
		ca, _ := Authority(dir, self, nil)
		if ca.Missing || ca.Err == "" || ca.Key.Mode != 0o644 {
			t.Errorf("a certificate that is %s: %+v", name, ca)
		}
		found := audit.Judge(&audit.Observation{Self: &audit.SelfObservation{CA: ca}}, selfCA(t))
		if len(found) != 1 || found[0].Verdict != audit.Fail || found[0].Severity != audit.Critical {
			t.Errorf("a certificate that is %s: %+v", name, found)
		}
	}
	if err := os.Chmod(localca.KeyFile(dir), 0o600); err != nil {
		t.Fatal(err)
	}
	open("example.org")
	if self == 0 { // root looks at another's
		for _, name := range []string{cert, localca.KeyFile(dir)} {
			if err := os.Chown(name, 4711, 4711); err != nil {
				t.Fatal(err)
			}
		}
		if ca, _ := Authority(dir, 4711, nil); ca.Err != "" || !ca.Constrained || !ca.Key.OwnOK {
			t.Errorf("another's authority: %+v", ca)
		}
	}
	if err := os.Remove(localca.KeyFile(dir)); err != nil {
		t.Fatal(err)
	}
	if ca, _ := Authority(dir, self, nil); ca.Err == "" {
		t.Error("a certificate without its key is no authority")
	}
}

func selfCA(t *testing.T) []audit.Check {
	t.Helper()
	checks, err := audit.Select([]string{"self.ca"})
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// TestSettings: every line that makes a rule weaker is found, with where it stands;
// what is stronger, or only spelled out, is not.
func TestSettings(t *testing.T) {
	const text = `[default]
route = "direct"
tls = "verify"
pq = "off"
# nothing
sasl = "relay"
mode = "report"
dns = "off"
sct = "require"

[domain."example.org"]
min_tls = "1.2"
auth_min = "plain"
pin = "off"
witness = "off"
onion_upgrade = "off"
ca = "/ca.pem"
sasl = "passthrough"

[domain."here.test"]
route = "direct"
endpoints = ["starttls://127.0.0.1:5222", "tls://[::1]:5223"]

[domain."strict.test"]
route = "onion-only"
pq = "require"
pin = "tofu-strict"
mode = "enforce"
`
	c, err := config.Parse("c.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	weak, logins := Settings(c.Rules, config.Default().Rules.Default, config.BuiltIn)
	var said []string
	for _, w := range weak {
		said = append(said, fmt.Sprintf("%s %s=%s not %s (%s)", w.Source, w.Key, w.Value, w.Default, w.Severity))
	}
	want := `c.toml:2 default.route=direct not tor (high)
c.toml:4 default.pq=off not prefer (low)
c.toml:8 default.dns=off not dnssec-prefer (medium)
c.toml:7 default.mode=report not enforce (medium)
c.toml:6 default.sasl=relay not originate (medium)
c.toml:12 domain."example.org".min_tls=1.2 not 1.3 (medium)
c.toml:17 domain."example.org".ca=/ca.pem not none (low)
c.toml:14 domain."example.org".pin=off not tofu-warn (medium)
c.toml:15 domain."example.org".witness=off not on-change (low)
c.toml:18 domain."example.org".sasl=passthrough not originate (medium)
c.toml:13 domain."example.org".auth_min=plain not scram (high)
c.toml:16 domain."example.org".onion_upgrade=off not sticky (low)`
	if got := strings.Join(said, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	wantLogins := []audit.LoginMode{{For: "all other domains", Mode: "relay", Source: "c.toml:6"}, {For: "example.org", Mode: "passthrough", Source: "c.toml:18"}}
	if !reflect.DeepEqual(logins, wantLogins) {
		t.Errorf("logins %+v, want %+v", logins, wantLogins)
	}
	weak, logins = Settings(config.Default().Rules, config.Default().Rules.Default, config.BuiltIn)
	if len(weak) > 0 || !reflect.DeepEqual(logins, []audit.LoginMode{{For: "all domains", Mode: "originate", Source: config.BuiltIn}}) {
		t.Errorf("the defaults are weaker than the defaults: %+v; %+v", weak, logins)
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)
	after, until := now.Add(-time.Hour), now.Add(2*time.Hour)
	synced := Kept{Known: true, Synced: true, Error: 20 * time.Millisecond}
	for _, tt := range []struct {
		name         string
		after, until time.Time
		kept         Kept
		offset       time.Duration
		err          string
	}{
		{"all is well", after, until, synced, 20 * time.Millisecond, ""},
		{"nobody sets it", after, until, Kept{Known: true}, 0, "no time server"},
		{"the system does not say", after, until, Kept{}, 0, "cannot be seen"},
		{"behind", now.Add(30 * time.Minute), until, synced, -30 * time.Minute, ""},
		{"ahead, or offline", after.Add(-9 * time.Hour), now.Add(-6 * time.Hour), synced, 0, "6h0m0s ago"},
		{"no consensus", time.Time{}, time.Time{}, synced, 20 * time.Millisecond, ""},
		{"nothing at all", time.Time{}, time.Time{}, Kept{}, 0, "no tor"},
	} {
		got := Clock(now, tt.after, tt.until, "no tor", tt.kept)
		if got.Offset != tt.offset || (tt.err == "") != (got.Err == "") || !strings.Contains(got.Err, tt.err) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	if kept := ClockKept(); kept.Known && kept.Error < 0 {
		t.Errorf("the kernel says %+v", kept)
	}
}

// TestWays: proxies that do not answer are waited for together, each is asked once, and
// only a server elsewhere needs connections that go straight.
func TestWays(t *testing.T) {
	t.Parallel()
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	hops, text := map[string]*url.URL{}, ""
	for i := range 6 {
		name := fmt.Sprintf("hop%d", i)
		hops[name] = &url.URL{Scheme: "socks5", Host: hole.Addr().String()}
		text += fmt.Sprintf("[socks.%s]\nurl = \"socks5://%s\"\n[domain.\"a%d.test\"]\nroute = \"socks:%[1]s\"\n[domain.\"b%[3]d.test\"]\nroute = \"socks:%[1]s\"\n", name, hole.Addr(), i)
	}
	ways := func(text string) Ways {
		c, err := config.Parse("c.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		set, err := egress.New(egress.Config{SOCKS: hops, Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("none") }})
		if err != nil {
			t.Fatal(err)
		}
		return Ways{Set: set, Rules: c.Rules}
	}
	start := time.Now()
	found := ways("[default]\nroute = \"block\"\n" + text).proxies(t.Context())
	if took := time.Since(start); took > 8*time.Second || len(found) != 12 {
		t.Errorf("%d tries in %v", len(found), took)
	}
	for _, a := range found {
		if a.Outcome != audit.NotTried || a.How == "" {
			t.Errorf("%+v", a)
		}
	}
	for text, want := range map[string]bool{
		"":                                false,
		"[default]\nroute = \"direct\"\n": true,
		"[domain.\"a.test\"]\nroute = \"direct\"\n":                                                                true,
		"[domain.\"a.test\"]\nroute = \"direct\"\nendpoints = [\"tls://127.0.0.1:5223\"]\n":                        false,
		"[domain.\"a.test\"]\nroute = \"direct\"\nendpoints = [\"tls://127.0.0.1:5223\", \"tls://x.test:5223\"]\n": true,
	} {
		if got := ways(text).direct(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, a := range NotTried("no").Attempts {
		if a.Outcome != audit.NotTried || a.How != "no" {
			t.Errorf("%+v", a)
		}
	}
}
