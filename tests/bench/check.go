package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/probe"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

// healthy is a Prosody with all that a check looks at: clients and servers, with
// STARTTLS and with direct TLS, a WebSocket, and host-meta.
const healthy = `
run_as_root = true -- obeyed only where the bench runs as root, in a container say
data_path = "%[1]s/data"
admin_socket = "%[1]s/prosody.sock"
pidfile = "%[1]s/prosody.pid"
log = { warn = "%[1]s/prosody.log" }
interfaces = { "127.0.0.1" }
c2s_ports = { %[2]d }
c2s_direct_tls_ports = { %[3]d }
s2s_ports = { %[4]d }
s2s_direct_tls_ports = { %[5]d }
http_ports = { }
https_ports = { %[6]d }
https_interfaces = { "127.0.0.1" }
http_external_url = "https://` + domain + `/"
http_default_host = "` + domain + `"
http_files_dir = "%[7]s/www"
http_paths = { files = "/" }
certificates = "%[7]s"
ssl = { certificate = "%[7]s/cert.pem", key = "%[7]s/key.pem" }
https_ssl = ssl
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = true
authentication = "internal_hashed"
password_hash = "SHA-256"
modules_enabled = { "roster", "saslauth", "tls", "disco", "pep", "smacks", "carbons", "mam", "limits", "dialback", "websocket", "http_files" }
VirtualHost "` + domain + `"
`

// hostMeta names the WebSocket (XEP-0156 §2).
var hostMeta = map[string]string{
	"host-meta": `<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'><Link rel='urn:xmpp:alt-connections:websocket' href='wss://` + domain + `/xmpp-websocket'/></XRD>`,

	"host-meta.json": `{"links":[{"rel":"urn:xmpp:alt-connections:websocket","href":"wss://` + domain + `/xmpp-websocket"}]}`,
}

// measureCheck is how long a full check of one healthy server takes: its names in a
// signed tree, five endpoints, a second circuit, the other servers' side, all checks and
// the report.
func measureCheck(rounds int, verbose bool) error {
	dir, err := os.MkdirTemp("", "gwbench-check")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ca, err := lab.NewCA()
	if err != nil {
		return err
	}
	leaf, err := ca.Leaf(lab.CALeaf{Names: []string{domain}})
	if err != nil {
		return err
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(lab.WriteCertificate(leaf, cert, key), os.MkdirAll(filepath.Join(dir, "www", ".well-known"), 0o755))
	for name, text := range hostMeta {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "www", ".well-known", name), []byte(text), 0o644))
	}
	if err != nil {
		return err
	}
	srv, err := peers.Prosody(peers.Options{Domain: domain, Cert: cert, Key: key, Configure: func(p peers.Place) (string, error) {
		return fmt.Sprintf(healthy, p.Dir, p.StartTLS, p.DirectTLS, p.More[0], p.More[1], p.More[2], dir), nil
	}})
	if err != nil {
		return err
	}
	defer srv.Close()

	p, host := srv.Place, "xmpp."+domain
	way := ways{host + ":5222": p.StartTLS, host + ":5223": p.DirectTLS, host + ":5269": p.More[0], host + ":5270": p.More[1], domain + ":443": p.More[2]}
	sum := sha256.Sum256(leaf.Leaf.RawSubjectPublicKeyInfo)
	records := []string{host + ". 300 IN A 192.0.2.1", domain + ". 300 IN A 192.0.2.1", domain + `. 300 IN CAA 0 issue "ca.example"`}
	for label, port := range map[string]int{"_xmpp-client": 5222, "_xmpps-client": 5223, "_xmpp-server": 5269, "_xmpps-server": 5270} {
		records = append(records, fmt.Sprintf("%s._tcp.%s. 300 IN SRV 0 5 %d %s.", label, domain, port, host),
			fmt.Sprintf("_%d._tcp.%s. 300 IN TLSA 3 1 1 %s", port, host, hex.EncodeToString(sum[:])))
	}
	tree := lab.SignTree(time.Now(), lab.SignedZone{Name: "example."}, lab.SignedZone{Name: domain + ".", Records: records})
	var took []float64
	for range rounds {
		var lines []string
		begin := time.Now()
		seen, err := probe.Probe(context.Background(), probe.Target{Domain: domain}, probe.Options{
			Via: "direct", Dialer: way, Second: way, Roots: ca.Pool(), S2S: true,
			Lookup: dnssec.New(dnssec.Config{Exchange: tree.Exchange, Anchors: tree.Anchors()}).Lookup,
			Progress: func(line string) {
				lines = append(lines, fmt.Sprintf("%6.3f %s", time.Since(begin).Seconds(), line))
			},
		})
		if err != nil {
			return err
		}
		found := audit.NewReport(seen, audit.Judge(seen, audit.Checks()))
		if err := (audit.Output{}).Text(io.Discard, []*audit.Report{found}); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
		if verbose {
			fmt.Fprintln(os.Stderr, strings.Join(lines, "\n"))
			_ = (audit.Output{All: true}).Text(os.Stderr, []*audit.Report{found})
		}
		// Nothing is measured unless the server is what it should be. That Debian's Prosody
		// takes 10 MiB in one element from a server that nobody knows cannot be mended by
		// its configuration; seeing it costs the most of all.
		if len(seen.Endpoints) != len(way) {
			return fmt.Errorf("check: %d endpoints in place of %d", len(seen.Endpoints), len(way))
		}
		for _, f := range found.Findings {
			if f.Verdict == audit.Unknown || f.Verdict == audit.Fail && f.ID != "limit.pretls" {
				return fmt.Errorf("check: %s at %s: %s: %s", f.ID, f.Target, f.Verdict, f.Evidence)
			}
		}
	}
	report("check_healthy_seconds", median(took), "s(want<=3)")
	return nil
}

// ways leads names to ports of this machine.
type ways map[string]int

func (w ways) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	port, ok := w[address]
	if !ok {
		return nil, fmt.Errorf("nobody knows %s", address)
	}
	return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
}
