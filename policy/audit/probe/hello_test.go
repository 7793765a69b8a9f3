package probe

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"xmpp-gw/tests/lab"
)

// TestGreet holds the ClientHello that is written here against a server that was not.
func TestGreet(t *testing.T) {
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Leaf(lab.CALeaf{Names: []string{domain}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		min, max, ask uint16
		suites        []uint16
		want          uint16 // suite
		alert         uint8
	}{
		{tls.VersionTLS10, tls.VersionTLS13, tls.VersionTLS10, every(), tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, 0},
		{tls.VersionTLS10, tls.VersionTLS13, tls.VersionTLS11, every(), tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, 0},
		{tls.VersionTLS10, tls.VersionTLS13, tls.VersionTLS12, every(), tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0},
		{tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS11, every(), 0, 70},
		{tls.VersionTLS13, tls.VersionTLS13, tls.VersionTLS12, every(), 0, 70},
		{tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS12, classes[2].ids(), 0, 40},
	} {
		here, there := net.Pipe()
		var name string
		go func() {
			conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tt.min, MaxVersion: tt.max,
				GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
					name = h.ServerName
					return nil, nil
				}}
			_ = tls.Server(there, conf).Handshake()
			_ = there.Close()
		}()
		_ = here.SetDeadline(time.Now().Add(5 * time.Second))
		got, err := greet(here, tt.ask, tt.suites, domain, []string{"xmpp-client"})
		var alert alertError
		switch {
		case tt.alert != 0 && (!errors.As(err, &alert) || uint8(alert) != tt.alert):
			t.Errorf("%x: %v, want alert %d", tt.ask, err, tt.alert)
		case tt.alert == 0 && (err != nil || got != answer{tt.ask, tt.want} || name != domain):
			t.Errorf("%x: %+v, %v, for %q", tt.ask, got, err, name)
		}
		_ = here.Close()
	}
}

// TestSuites holds the table against that of crypto/tls.
func TestSuites(t *testing.T) {
	seen := map[uint16]bool{}
	for _, id := range every() {
		if seen[id] {
			t.Errorf("%04x is there twice", id)
		}
		seen[id] = true
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.SupportedVersions[0] == tls.VersionTLS13 {
			continue
		}
		if !seen[s.ID] || suiteName(s.ID) != s.Name {
			t.Errorf("%s is here %s", s.Name, suiteName(s.ID))
		}
	}
}

func FuzzReadHello(f *testing.F) {
	f.Add([]byte{21, 3, 1, 0, 2, 2, 40})
	f.Add([]byte{21, 3, 3, 0, 2, 1, 112, 22, 3, 3, 0, 4, 2, 0, 0, 0})
	f.Add(append([]byte{22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3}, make([]byte, 36)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := readHello(bytes.NewReader(b)); err == nil && a == (answer{}) && len(b) < 40 {
			t.Errorf("%x is an answer", b)
		}
	})
}
