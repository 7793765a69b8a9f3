//go:build e2e

// Package dnssec_test puts our validator beside those of BIND (delv) and Unbound
// (unbound-host), on zones that BIND signed and Knot serves.
package dnssec_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/tests/peers"
)

// direct dials without a route: everything is on loopback.
type direct struct{ net.Dialer }

// names are what is asked in each zone, the first few in all and the others in some.
var names = []struct{ name, qtype string }{
	{"", "SOA"}, {"", "DS"}, {"host.", "A"}, {"host.", "MX"}, {"no.such.", "A"}, {"any.wild.", "A"}, {"host.moved.", "A"},

	{"", "DNSKEY"}, {"", "MX"}, {"host.", "AAAA"}, {"_xmpp-client._tcp.", "SRV"}, {"_tcp.", "A"}, {"wild.", "A"},
	{"a.b.wild.", "A"}, {"any.wild.", "MX"}, {"other.name.wild.", "A"}, {"alias1.", "A"}, {"alias1.", "CNAME"}, {"any.alias.", "A"},
	{"in.", "A"}, {"out.", "A"}, {"nowhere.", "A"}, {"broken.", "A"}, {"no.moved.", "A"},
}

const few = 7

type row struct {
	name, qtype         string
	ours, delv, unbound string
	why                 string
}

// agreed reports whether all say the same, or differ in one of two known ways.
func (r row) agreed() bool {
	switch {
	case strings.HasSuffix(r.name, "sha1.lab.") && r.qtype != "DS":
		// RFC 9905 §2 is younger than Debian's: what RSA/SHA-1 proves is nothing to us.
		return r.ours == "insecure"
	case strings.HasSuffix(r.name, "optout.lab.") && r.ours == "insecure" && r.delv == "secure":
		// RFC 5155 §9.2: what lies in an opt-out gap is not proven to be missing. BIND
		// keeps that from the AD bit, and delv does not show it.
		return r.ours == r.unbound
	}
	return r.ours == r.delv && r.ours == r.unbound
}

func TestSameVerdictAsBINDAndUnbound(t *testing.T) {
	dir := t.TempDir()
	files, anchor := sign(t, dir)
	knot, err := peers.StartKnot(files)
	if err != nil {
		t.Fatal(err)
	}
	defer knot.Close()

	anchors, err := dnssec.ParseAnchors(strings.NewReader(anchor))
	if err != nil {
		t.Fatal(err)
	}
	servers, err := resolve.ParseServers([]string{"tcp://" + knot.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	ours := dnssec.New(dnssec.Config{Exchange: resolve.New(servers, &direct{}, nil).Exchange, Anchors: anchors})

	var rows []row
	for _, z := range zones {
		ask := names[:few]
		if z.name == "good.lab." || z.name == "hashed.lab." || z.name == "optout.lab." {
			ask = names
		}
		for _, n := range ask {
			rows = append(rows, row{name: n.name + strings.TrimPrefix(z.name, "."), qtype: n.qtype})
		}
	}
	rows = append(rows, row{name: ".", qtype: "NS"}, row{name: ".", qtype: "DS"}, row{name: "nothing.", qtype: "A"})
	for i := range rows {
		if rows[i].name == "" {
			rows[i].name = "."
		}
	}

	d, u := newDelv(t, dir, knot, anchor), newUnbound(t, dir, knot, anchor)
	var wg sync.WaitGroup
	work := make(chan *row)
	for range 3 {
		wg.Go(func() {
			for r := range work {
				r.ours, r.why = verdict(ours, r.name, r.qtype)
				r.delv = d.verdict(r.name, r.qtype)
				r.unbound = u.verdict(r.name, r.qtype)
			}
		})
	}
	for i := range rows {
		work <- &rows[i]
	}
	close(work)
	wg.Wait()

	count := map[string]int{}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "name\ttype\tours\tdelv\tunbound\twhy")
	for _, r := range rows {
		count[r.ours]++
		if !r.agreed() {
			t.Fail()
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.name, r.qtype, r.ours, r.delv, r.unbound, r.why)
		}
	}
	w.Flush()
	if t.Failed() {
		t.Log("\n" + table.String())
	}
	for _, v := range []string{"secure", "insecure", "bogus"} {
		if count[v] < 20 {
			t.Errorf("only %d of %d names are %s", count[v], len(rows), v)
		}
	}
	t.Log(len(rows), "names:", count)
}

func verdict(v *dnssec.Validator, name, qtype string) (security, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	res, err := v.Lookup(ctx, name, dns.StringToType[qtype])
	if err != nil {
		return "error", err.Error()
	}
	return res.Security.String(), res.Why
}

// delv is BIND's validator.
type delv struct{ path, anchors, port string }

func newDelv(t *testing.T, dir string, k *peers.Knot, anchor string) delv {
	t.Helper()
	f := strings.Fields(anchor) // . IN DS tag algorithm type digest
	d := delv{installed(t, "delv", "bind9-dnsutils"), filepath.Join(dir, "anchors.conf"), fmt.Sprint(k.Port)}
	write(t, d.anchors, fmt.Sprintf("trust-anchors { . static-ds %s %s %s %q; };\n", f[3], f[4], f[5], strings.Join(f[6:], "")))
	return d
}

func (d delv) verdict(name, qtype string) string {
	// The end of a chain of aliases may be bogus where its beginning is not.
	// What it calls ncache is a denial, and no failure.
	out := output(d.path, "-a", d.anchors, "+root=.", "+comments", "@127.0.0.1", "-p", d.port, name, qtype)
	switch {
	case strings.Contains(strings.ReplaceAll(out, "resolution failed: ncache", ""), "resolution failed"):
		return "bogus"
	case strings.Contains(out, "unsigned answer"):
		return "insecure"
	case strings.Contains(out, "fully validated"):
		return "secure"
	}
	return "? " + out
}

// unbound is unbound-host.
type unbound struct{ path, conf string }

func newUnbound(t *testing.T, dir string, k *peers.Knot, anchor string) unbound {
	t.Helper()
	u := unbound{installed(t, "unbound-host", "unbound-host"), filepath.Join(dir, "unbound.conf")}
	keys := filepath.Join(dir, "root.ds")
	write(t, keys, anchor)
	write(t, u.conf, fmt.Sprintf(`server:
  do-not-query-localhost: no
  do-ip6: no
  trust-anchor-file: %q
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@%d
`, keys, k.Port))
	return u
}

func (u unbound) verdict(name, qtype string) string {
	out := output(u.path, "-C", u.conf, "-v", "-t", qtype, name)
	for _, v := range []struct{ mark, verdict string }{{"(BOGUS", "bogus"}, {"(insecure)", "insecure"}, {"(secure)", "secure"}} {
		if strings.Contains(out, v.mark) {
			return v.verdict
		}
	}
	return "? " + out
}

func installed(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed. Install it: apt-get install %s (or run scripts/test-deps)", name, pkg)
	return ""
}

// output runs a program, whose exit code says nothing here.
func output(path string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return string(out)
}
