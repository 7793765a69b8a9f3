package saslauth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
)

// firstFlight keeps the first bytes that are written, which begin with the
// server's hello.
type firstFlight struct {
	net.Conn
	sent []byte
}

func (f *firstFlight) Write(p []byte) (int, error) {
	if f.sent == nil {
		f.sent = bytes.Clone(p)
	}
	return f.Conn.Write(p)
}

// TestExporterTLS12: tls-exporter is RFC 9266's, with an empty context, computed
// here from the secrets of the connection by RFC 5246 §5 and RFC 5705 §4 alone.
// (Under TLS 1.3 an empty context and none are the same, RFC 8446 §7.5.)
func TestExporterTLS12(t *testing.T) {
	ca := newCertificate(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	wire := &firstFlight{Conn: b}
	var keys strings.Builder
	srv := tls.Server(wire, &tls.Config{
		Certificates: []tls.Certificate{ca}, MaxVersion: tls.VersionTLS12, KeyLogWriter: &keys,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, // its PRF is SHA-256's
	})
	go func() {
		_ = srv.Handshake()
		_, _ = io.Copy(io.Discard, b)
	}()
	cli := tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	if err := cli.Handshake(); err != nil {
		t.Fatal(err)
	}
	// CLIENT_RANDOM, the client's random and the master secret.
	fields := strings.Fields(keys.String())
	if len(fields) != 3 || fields[0] != "CLIENT_RANDOM" {
		t.Fatalf("key log %d fields", len(fields))
	}
	clientRandom, _ := hex.DecodeString(fields[1])
	master, _ := hex.DecodeString(fields[2])
	// Record header, handshake header, version: RFC 5246 §6.2.1, §7.4, §7.4.1.3.
	serverRandom := wire.sent[5+4+2:][:32]

	mac := func(parts ...[]byte) []byte {
		m := hmac.New(sha256.New, master)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	seed := bytes.Join([][]byte{[]byte("EXPORTER-Channel-Binding"), clientRandom, serverRandom, {0, 0}}, nil) // length of the context
	want := mac(mac(seed), seed)

	state := cli.ConnectionState()
	cb, ok := binding(&state, TLSExporter)
	if !ok || !bytes.Equal(cb.Data, want) || string(cb.Type) != TLSExporter {
		t.Errorf("%t, %s %x, want %x", ok, cb.Type, cb.Data, want)
	}
}

// TestExporterTLS13: both sides have the same value, and another connection has
// another.
func TestExporterTLS13(t *testing.T) {
	client, server := handshake(t, tls.VersionTLS13)
	other, _ := handshake(t, tls.VersionTLS13)
	want, err := server.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	cb, ok := binding(client, TLSExporter)
	if !ok || !bytes.Equal(cb.Data, want) {
		t.Errorf("%t, %x, want %x", ok, cb.Data, want)
	}
	if cb, ok := binding(other, TLSExporter); !ok || bytes.Equal(cb.Data, want) {
		t.Errorf("another connection: %t, %x", ok, cb.Data)
	}
}
