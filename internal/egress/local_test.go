package egress

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLocal(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	dir := t.TempDir()
	sock, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	for _, s := range []string{tcp.Addr().String(), "localhost:" + port, "unix:" + filepath.Join(dir, "s")} {
		l, err := ParseLocal(s)
		if err != nil || !l.Loopback() {
			t.Fatalf("ParseLocal(%q) = %+v, %v", s, l, err)
		}
		conn, err := l.DialContext(context.Background())
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		conn.Close()
	}
}

func TestLocalRefuses(t *testing.T) {
	for _, s := range []string{"", "prosody:5222", "example.org:5222", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "unix:", "unix:relative", "5222"} {
		if l, err := ParseLocal(s); err == nil {
			t.Errorf("ParseLocal(%q) = %+v", s, l)
		}
	}
	if l, err := ParseLocal("192.0.2.1:5222"); err != nil || l.Loopback() {
		t.Errorf("192.0.2.1 is loopback, or refused: %v", err)
	}
	if _, err := (Local{}).DialContext(context.Background()); err == nil {
		t.Error("the zero value dials")
	}
	l, err := ParseLocal("unix:" + filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.DialContext(context.Background())
	if e, ok := errors.AsType[*LocalError](err); !ok || !errors.Is(err, os.ErrNotExist) || strings.Contains(e.Error(), "none") {
		t.Errorf("a socket that is not there: %v", err)
	}
}
