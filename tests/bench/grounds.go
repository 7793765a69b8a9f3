package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"xmpp-gw/tests/lab"
)

// grounds is what the measurements run on.
type grounds struct {
	dir       string
	server    *server
	roots     *x509.CertPool // the far end's
	relayAddr string
	gateway   *gateway
	stop      []func()
}

// gateway is a running gateway.
type gateway struct {
	addr  string // for direct TLS
	pid   int
	roots *x509.CertPool // its CA
}

func (b *grounds) Close() {
	for i := len(b.stop) - 1; i >= 0; i-- {
		b.stop[i]()
	}
}

func newGrounds(binary string) (b *grounds, err error) {
	b = &grounds{}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if b.dir, err = os.MkdirTemp("", "gwbench"); err != nil {
		return nil, err
	}
	b.stop = append(b.stop, func() { _ = os.RemoveAll(b.dir) })
	ca, err := lab.NewCA()
	if err != nil {
		return nil, err
	}
	cert, err := ca.Leaf(lab.CALeaf{Names: []string{domain}})
	if err != nil {
		return nil, err
	}
	if err := ca.Write(b.dir); err != nil {
		return nil, err
	}
	if err := lab.WriteCertificate(cert, filepath.Join(b.dir, "server.pem"), filepath.Join(b.dir, "server-key.pem")); err != nil {
		return nil, err
	}
	b.roots = ca.Pool()
	if b.server, err = startServer(cert); err != nil {
		return nil, err
	}
	b.stop = append(b.stop, b.server.xmpp.Close, b.server.bare.Close)
	if err := b.startRelay(); err != nil {
		return nil, err
	}
	b.gateway, err = b.startGateway(binary, "direct", fmt.Sprintf(`
[tor]
mode = "off"
[domain.%q]
route = "direct"
endpoints = ["tls://%s"]
ca = %q
`, domain, b.server.xmpp.Addr(), b.ca()))
	return b, err
}

// start runs a program until the grounds close, and returns its process.
func (b *grounds) start(cmd *exec.Cmd) error {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	b.stop = append(b.stop, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return nil
}

func (b *grounds) startRelay() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-copy-relay", b.server.bare.Addr(), "-dir", b.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.start(cmd); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	b.relayAddr = strings.TrimSpace(line)
	return err
}

// ca is the file with the far end's authority.
func (b *grounds) ca() string { return filepath.Join(b.dir, "ca.pem") }

// startGateway runs a gateway that has name's directory and this configuration.
func (b *grounds) startGateway(binary, name, rules string) (*gateway, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	g := &gateway{addr: fmt.Sprintf("127.0.0.1:%d", port)}
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	file, state := filepath.Join(dir, "config.toml"), filepath.Join(dir, "state")
	conf := fmt.Sprintf("[listen]\nc2s = []\nc2s_tls = [%q]\nmax_connections = 10000\n%s", g.addr, rules)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "run", "--config", file, "--state-dir", state, "--log-level", "error")
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "RUNTIME_DIRECTORY=")
	if err := b.start(cmd); err != nil {
		return nil, err
	}
	g.pid = cmd.Process.Pid
	for range 100 {
		time.Sleep(50 * time.Millisecond)
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			continue
		}
		_ = c.Close()
		g.roots, err = loadRoots(filepath.Join(state, "ca", "ca.pem"))
		return g, err
	}
	return nil, errors.New("the gateway does not listen")
}

// dialBare connects to the far end or to the io.Copy relay, without a login.
func (b *grounds) dialBare(addr string) (*tls.Conn, error) {
	return tls.Dial("tcp", addr, &tls.Config{RootCAs: b.roots, ServerName: domain, MinVersion: tls.VersionTLS13})
}

// dial logs in through the gateway.
func (g *gateway) dial() (*tls.Conn, error) {
	c, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: g.roots, ServerName: domain, MinVersion: tls.VersionTLS13})
	if err != nil {
		return nil, err
	}
	header := "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='" + domain + "' version='1.0'>"
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	for _, step := range [][2]string{
		{header, "</stream:features>"},
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plain + "</auth>", "<success"},
		{header, "</stream:features>"},
		{"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>"},
	} {
		if _, err := c.Write([]byte(step[0])); err != nil {
			return nil, err
		}
		if err := expect(c, step[1]); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}

// expect reads until want has come.
func expect(c net.Conn, want string) error {
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	defer c.SetReadDeadline(time.Time{})
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(want)) {
		n, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w (got %q)", want, err, seen)
		}
		seen = append(seen, buf[:n]...)
	}
	return nil
}

// loadRoots reads a PEM file of certificates.
func loadRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}

// freePort is a port that nobody listens on at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
