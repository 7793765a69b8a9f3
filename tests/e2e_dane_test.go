//go:build e2e

package tests

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

// TestDANE: the built gateway, a real DNS server with signed zones and a real XMPP
// server, with a SOCKS server between them that alone knows the names. The XMPP server
// has a certificate of its own making; another has one of an authority.
func TestDANE(t *testing.T) {
	const domain, host, resolver = "capulet.invalid", "xmpp.capulet.invalid", "192.0.2.53:53"
	keys := t.TempDir()
	ca, err := lab.NewCA()
	must(t, err)
	must(t, ca.Write(keys))
	prosody := func(name string, l lab.CALeaf) (srv *peers.Server, digest string) {
		leaf, err := ca.Leaf(l)
		must(t, err)
		cert, key := filepath.Join(keys, name+".pem"), filepath.Join(keys, name+"-key.pem")
		must(t, lab.WriteCertificate(leaf, cert, key))
		srv = peers.Start(t, peers.Prosody, peers.Options{Domain: domain, Cert: cert, Key: key, Accounts: []peers.Account{{Username: user, Password: password}}})
		return srv, fmt.Sprintf("%x", sha256.Sum256(leaf.Leaf.RawSubjectPublicKeyInfo))
	}
	own, ownKey := prosody("own", lab.CALeaf{Names: []string{"somebody.invalid"}, SelfSigned: true})
	public, publicKey := prosody("public", lab.CALeaf{Names: []string{domain}})

	tlsa := func(digest string) string { return "_5222._tcp." + host + ". IN TLSA 3 1 1 " + digest }
	for _, tt := range []struct {
		name     string
		server   *peers.Server
		unsigned bool
		forged   bool   // an address in the place of another, behind the signature's back
		tlsa     string // a record
		rules    string
		identity string // where it is let in
		refusal  string // where it is not
		told     string // in status, where it is let in all the same
	}{
		{name: "own certificate, right record", server: own, tlsa: tlsa(ownKey), rules: `tls = "dane-only"`, identity: "DANE-EE " + host},
		{name: "own certificate, right record, dane", server: own, tlsa: tlsa(ownKey), rules: `tls = "dane"`, identity: "DANE-EE " + host},
		{name: "own certificate, wrong record", server: own, tlsa: tlsa(publicKey), rules: `tls = "dane-only"`,
			refusal: "the server of " + domain + " has another key than DNS says: it shows sha256/"},
		{name: "an authority's certificate, wrong record", server: public, tlsa: tlsa(ownKey), rules: `tls = "dane"`,
			refusal: "fits none of the TLSA records of " + host + " (DANE-EE)"},
		{name: "no record", server: public, rules: `tls = "dane-only"`,
			refusal: `tls = "dane-only" is set, and no TLSA records prove its key: there are none at _5222._tcp.` + host},
		{name: "no record, dane", server: public, rules: `tls = "dane"`, identity: "DNS-ID " + domain},

		{name: "unsigned, dane-only", server: own, unsigned: true, tlsa: tlsa(ownKey), rules: `tls = "dane-only"`,
			refusal: "what DNS says of the domain is not proven by DNSSEC: the zone " + domain + ". is not signed"},
		{name: "unsigned, dane", server: own, unsigned: true, tlsa: tlsa(ownKey), rules: `tls = "dane"`,
			refusal: "is self-signed"},
		{name: "unsigned, prefer", server: public, unsigned: true, rules: `dns = "dnssec-prefer"`, identity: "DNS-ID " + domain},
		{name: "unsigned, require", server: public, unsigned: true, rules: `dns = "dnssec-require"`,
			refusal: "not proven by DNSSEC: the zone " + domain + `. is not signed; the domain's operator can have it signed; until then a rule for the domain can say dns = "dnssec-prefer"`},
		{name: "unsigned, require, report", server: public, unsigned: true, rules: "dns = \"dnssec-require\"\nmode = \"report\"", identity: "DNS-ID " + domain,
			told: `let through, as mode = "report" says: what DNS says of the domain is not proven by DNSSEC: the zone ` + domain + ". is not signed"},
		{name: "signed, require", server: public, rules: `dns = "dnssec-require"`, identity: "DNS-ID " + domain},

		{name: "forged, prefer", server: public, forged: true, rules: `dns = "dnssec-prefer"`, refusal: "somebody may be forging it"},
		{name: "forged, require, report", server: public, forged: true, rules: "dns = \"dnssec-require\"\nmode = \"report\"", refusal: "somebody may be forging it"},
		{name: "forged, dane", server: own, forged: true, tlsa: tlsa(ownKey), rules: `tls = "dane"`, refusal: "somebody may be forging it"},
		{name: "forged, off", server: public, forged: true, rules: `dns = "off"`, identity: "DNS-ID " + domain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			zone := lab.SignedZone{Name: domain + ".", Unsigned: tt.unsigned, Records: []string{
				"_xmpp-client._tcp." + domain + ". IN SRV 7 5 5222 " + host + ".",
				"_xmpps-client._tcp." + domain + ". IN SRV 0 0 0 .",
				host + ". IN A 192.0.2.1",
			}}
			if tt.tlsa != "" {
				zone.Records = append(zone.Records, tt.tlsa)
			}
			dir := t.TempDir()
			tree := lab.SignTree(time.Now(), zone)
			files, err := tree.Files(dir)
			must(t, err)
			if tt.forged {
				file := files[zone.Name]
				text, err := os.ReadFile(file)
				must(t, err)
				must(t, os.WriteFile(file, []byte(strings.Replace(string(text), "\tSRV\t7 5 5222", "\tSRV\t8 5 5222", 1)), 0o600))
			}
			knot, err := peers.StartKnot(files)
			must(t, err)
			t.Cleanup(func() { must(t, knot.Close()) })
			socks, err := lab.SOCKSStart("tcp", "127.0.0.1:0", map[string]string{resolver: knot.Addr(), host + ":5222": tt.server.Addr(peers.StartTLS)})
			must(t, err)
			t.Cleanup(func() { socks.Close() })
			names, err := tree.Section("tcp://"+resolver, dir)
			must(t, err)
			gw := daemon.Run(t, daemon.Options{Config: fmt.Sprintf("[tor]\nmode = \"system\"\nsocks = [%q]\n%s[domain.%q]\nca = %q\n%s\n",
				socks.Addr(), names, domain, filepath.Join(keys, "ca.pem"), tt.rules)})
			c := dial(t, gw.C2S, gw.CA, domain)
			c.tryLogin()
			got, found := c.until(`<success[^>]*/>`)
			if tt.identity == "" {
				text := ""
				if m := errorText.FindStringSubmatch(got); m != nil {
					text = unescape.Replace(m[1])
				}
				if found || !strings.Contains(got, "<policy-violation") || !strings.Contains(text, tt.refusal) {
					t.Errorf("the client is told %q, want %q", text, tt.refusal)
				}
				return
			}
			if !found {
				t.Fatalf("no login: %s", got)
			}
			c.open()
			c.send("<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
			c.expect(`<iq [^>]*type='result'.*</iq>`)
			s := gw.Sessions(t, domain)
			if len(s) != 1 || s[0].TLS.Identity != tt.identity || !strings.Contains(strings.Join(s[0].Warnings, "\n"), tt.told) {
				t.Errorf("status says %+v, want %q and %q", s, tt.identity, tt.told)
			}
		})
	}
}
