//go:build e2e

package dnssec_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// zone is one that Debian's dnssec-signzone signs.
type zone struct {
	name     string
	key      string   // algorithm for dnssec-keygen; empty: ECDSAP256SHA256; "none": not signed
	sign     []string // more arguments for dnssec-signzone
	rounds   int      // NSEC3 iterations beyond what dnssec-signzone makes: Knot signs it
	noDS     bool     // the zone above says nothing of the key
	children []string
	spoil    func(signed string) string // what is done to the signed file
	spoilDS  func(set string) string    // and to its DS records
}

// zones are in the order in which they can be signed: children first.
var zones = []zone{
	{name: "cut.deep.lab.", sign: []string{"-3", "-"}},
	{name: "good.lab."},
	{name: "plain.hashed.lab.", key: "none"},
	{name: "hashed.lab.", sign: []string{"-3", "abcd", "-H", "10"}, children: []string{"plain.hashed.lab."}},
	{name: "free.optout.lab.", key: "none"},
	{name: "kept.optout.lab."},
	{name: "optout.lab.", sign: []string{"-3", "-", "-A"}, children: []string{"free.optout.lab.", "kept.optout.lab."}},
	{name: "costly.lab.", rounds: 500},
	{name: "plain.lab.", key: "none"},
	{name: "island.lab.", noDS: true},
	{name: "expired.lab.", sign: []string{"-s", "20200101000000", "-e", "20200201000000"}},
	{name: "future.lab.", sign: []string{"-s", "20400101000000", "-e", "20400201000000"}},
	{name: "wrongds.lab.", spoilDS: func(set string) string {
		return regexp.MustCompile(`[0-9A-F]{16}`).ReplaceAllString(set, "0123456789ABCDEF")
	}},
	{name: "forged.lab.", spoil: func(s string) string { return strings.ReplaceAll(s, "192.0.2.", "203.0.113.") }},
	{name: "stripped.lab.", spoil: func(s string) string { return without(s, `^(host|any)\S*\s.*\sRRSIG\s`) }},
	{name: "nodenial.lab.", spoil: func(s string) string { return without(s, `\sNSEC\s`) }},
	{name: "sha1.lab.", key: "RSASHA1"},
	{name: "ed25519.lab.", key: "ED25519"},
	{name: "p384.lab.", key: "ECDSAP384SHA384"},
	{name: "rsa512.lab.", key: "RSASHA512"},
	{name: "deep.lab.", children: []string{"cut.deep.lab."}},
	{name: "lab."},
	{name: ".", key: "RSASHA256", children: []string{"lab."}},
}

// start is the beginning of each zone.
const start = `
$TTL 300
@ IN SOA ns.lab. root.lab. 1 3600 600 86400 300
@ IN NS ns.lab.
`

// records are in each zone below lab.
const records = `
host IN A 192.0.2.1
host IN AAAA 2001:db8::1
_xmpp-client._tcp IN SRV 0 5 5222 host
_xmpp-client._tcp IN SRV 1 5 5223 host
*.wild IN A 192.0.2.2
deep.name.wild IN A 192.0.2.3
*.alias IN CNAME host
alias1 IN CNAME alias2
alias2 IN CNAME host
out IN CNAME host.plain.lab.
in IN CNAME host.good.lab.
nowhere IN CNAME not.there.good.lab.
broken IN CNAME host.forged.lab.
moved IN DNAME good.lab.
`

// without takes lines out.
func without(text, pattern string) string {
	re := regexp.MustCompile(pattern)
	var kept []string
	for line := range strings.Lines(text) {
		if !re.MatchString(line) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// sign writes and signs all zones; the files by name, and the root's DS record.
func sign(t *testing.T, dir string) (files map[string]string, anchor string) {
	t.Helper()
	files = map[string]string{}
	ds := map[string]string{}
	var directlyBelow []string // lab
	for _, z := range zones {
		if strings.Count(z.name, ".") == 2 {
			directlyBelow = append(directlyBelow, z.name)
		}
	}
	for _, z := range zones {
		text := "$ORIGIN " + z.name + start
		if z.name != "." && z.name != "lab." {
			text += records
		}
		if z.name == "lab." {
			z.children = directlyBelow
		}
		for _, c := range z.children {
			text += c + " IN NS ns.lab.\n" + ds[c]
		}
		file := filepath.Join(dir, "zone."+z.name)
		write(t, file, text)
		files[z.name] = file
		if z.key == "none" {
			continue
		}
		if z.rounds > 0 {
			files[z.name], ds[z.name] = signByKnot(t, dir, file, z)
			continue
		}
		algorithm := cmp.Or(z.key, "ECDSAP256SHA256")
		args := []string{"-q", "-a", algorithm, "-f", "KSK", "-K", dir}
		if strings.HasPrefix(algorithm, "RSA") {
			args = append(args, "-b", "2048")
		}
		key := strings.TrimSpace(tool(t, dir, "dnssec-keygen", "bind9-utils", append(args, z.name)...))
		args = append([]string{"-q", "-S", "-z", "-P", "-O", "full", "-K", dir, "-d", dir, "-o", z.name, "-f", file + ".signed"}, z.sign...)
		tool(t, dir, "dnssec-signzone", "bind9-utils", append(args, file)...)
		files[z.name] = file + ".signed"
		if z.spoil != nil {
			write(t, files[z.name], z.spoil(read(t, files[z.name])))
		}
		set := tool(t, dir, "dnssec-dsfromkey", "bind9-utils", "-2", "-K", dir, key)
		if z.spoilDS != nil {
			set = z.spoilDS(set)
		}
		if !z.noDS {
			ds[z.name] = set
		}
	}
	return files, ds["."]
}

// signByKnot signs a zone with kzonesign.
func signByKnot(t *testing.T, dir, file string, z zone) (signed, ds string) {
	t.Helper()
	conf, db, out := filepath.Join(dir, "knot.conf"), filepath.Join(dir, "keys"), filepath.Join(dir, "signed")
	for _, d := range []string{db, out} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, conf, fmt.Sprintf(`database:
  storage: %q
policy:
  - id: costly
    algorithm: ecdsap256sha256
    single-type-signing: on
    nsec3: on
    nsec3-iterations: %d
zone:
  - domain: %s
    file: %q
    dnssec-signing: on
    dnssec-policy: costly
`, db, z.rounds, z.name, file))
	tool(t, dir, "kzonesign", "knot-dnssecutils", "-c", conf, "-o", out, z.name)
	for line := range strings.Lines(tool(t, dir, "keymgr", "knot", "-c", conf, z.name, "ds")) {
		if strings.Contains(line, " 13 2 ") { // ECDSAP256SHA256, SHA-256
			ds += line
		}
	}
	return filepath.Join(out, filepath.Base(file)), ds
}

func tool(t *testing.T, dir, name, pkg string, args ...string) string {
	t.Helper()
	cmd := exec.Command(installed(t, name, pkg), args...)
	cmd.Dir = dir
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
