package onion

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// offlineTor runs the real program without a network, until the test ends.
func offlineTor(t *testing.T, torrc string) (*Control, *child) {
	t.Helper()
	binary, err := findBinary("", usualBinaries())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tor-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	extra := filepath.Join(dir, "extra")
	if err := os.WriteFile(extra, []byte("DisableNetwork 1\n"+torrc), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := newLayout(Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := files.write(Options{ExtraTorrc: extra}, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	child, err := run(binary, files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.stop)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := waitControl(ctx, "unix:"+files.control())
	if err != nil {
		last, _ := child.log.last()
		t.Fatal(err, last)
	}
	t.Cleanup(func() { c.Close() })
	return c, child
}

// Our files are Tor's and Tor's are ours.
func TestRealFiles(t *testing.T) {
	root := t.TempDir()
	shelf := openShelf(t)
	ours := mustCreate(t, shelf, "ours", nil)
	if _, err := shelf.AddClient("ours", "alice"); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(root, "theirs")
	keys, err := OpenClientKeys(filepath.Join(root, "auth"))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := newClientKey(ours.Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Add(stranger.Line()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(ours.Dir, secretFile))
	if err != nil {
		t.Fatal(err)
	}
	c, child := offlineTor(t, fmt.Sprintf("HiddenServiceDir %s\nHiddenServicePort 80\nClientOnionAuthDir %s\n", torQuote(theirs), torQuote(keys.dir)))

	t.Run("a key that tor made", func(t *testing.T) {
		k, err := ReadKeyFile(filepath.Join(theirs, secretFile))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][]byte{hostnameFile: []byte(k.Address() + "\n"), publicFile: k.public(), secretFile: k.Marshal()} {
			if got, err := os.ReadFile(filepath.Join(theirs, name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("tor's %s is %q, ours would be %q (%v)", name, got, want, err)
			}
		}
	})
	t.Run("a service that we made", func(t *testing.T) {
		entry, err := shelf.Get("ours")
		if err != nil {
			t.Fatal(err)
		}
		pubs, err := inspect(entry.Publications(nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Request(t.Context(), setconf(pubs)); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(filepath.Join(ours.Dir, secretFile)); err != nil || !bytes.Equal(before, after) {
			t.Errorf("tor changed the key (%v)", err)
		}
		if host, err := os.ReadFile(filepath.Join(ours.Dir, hostnameFile)); err != nil || string(host) != ours.Address+"\n" {
			t.Errorf("tor calls it %q, %v", host, err)
		}
		if last, _ := child.log.last(); last != "" && !strings.Contains(last, "as root") {
			t.Errorf("tor complains: %s", last)
		}
	})
	t.Run("all settings are taken and replaced", func(t *testing.T) {
		full := func(s *Service) {
			s.Ports = []Port{{5222, "unix:/tmp/a b\"c"}, {5269, "[::1]:5269"}}
			s.CircuitID, s.PoW, s.IntroPoints, s.MaxStreams = true, PoW{true, 10, 20}, 5, 100
			s.Backend = ours.Address
		}
		e := mustCreate(t, shelf, "full", full)
		if _, err := c.Request(t.Context(), setconf(e.Publications(nil))); err != nil {
			last, _ := child.log.last()
			t.Fatal(err, last)
		}
		lines, err := c.Request(t.Context(), "GETCONF HiddenServiceOptions")
		if err != nil || len(lines) != 12 || lines[2] != `HiddenServicePort=5222 unix:"/tmp/a b\"c"` {
			t.Errorf("tor has %q, %v", lines, err)
		}
		if _, err := c.Request(t.Context(), setconf(nil)); err != nil {
			t.Fatal(err)
		}
		if lines, err := c.Request(t.Context(), "GETCONF HiddenServiceOptions"); err != nil || len(lines) != 1 {
			t.Errorf("tor still has %q, %v", lines, err)
		}
	})
	t.Run("a client's key that we keep", func(t *testing.T) {
		lines, err := c.Request(t.Context(), "ONION_CLIENT_AUTH_VIEW")
		if err != nil || !strings.Contains(strings.Join(lines, " "), stranger.blob()) {
			t.Errorf("tor has %q, %v", lines, err)
		}
	})
	t.Run("keys come and go", func(t *testing.T) {
		k1, k2 := clientKey(t), clientKey(t)
		tor := newTor(Options{})
		defer tor.end()
		tor.control = c
		for _, keys := range [][]ClientKey{{k1, k2}, {k2}, {k2}, nil} {
			if err := tor.Authorize(t.Context(), keys); err != nil {
				t.Fatal(err)
			}
			lines, err := c.Request(t.Context(), "ONION_CLIENT_AUTH_VIEW")
			text := strings.Join(lines, " ")
			for _, k := range []ClientKey{k1, k2} {
				want := false
				for _, have := range keys {
					want = want || have == k
				}
				if strings.Contains(text, k.blob()) != want {
					t.Errorf("with %d keys: tor has %q, %v", len(keys), lines, err)
				}
			}
		}
	})
	t.Run("bridges", func(t *testing.T) {
		for _, line := range bridgesThatTorTakes() {
			b, err := ParseBridge(line)
			if err != nil {
				t.Error(err)
				continue
			}
			if _, err := c.Request(t.Context(), "SETCONF Bridge="+torQuote(b.line)); err != nil {
				t.Errorf("tor does not take %s: %v", line, err)
			}
		}
	})
}

func clientKey(t *testing.T) ClientKey {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClientKey(k.Address())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A wrong cookie is told apart from one that cannot be read.
func TestRealCookie(t *testing.T) {
	c, child := offlineTor(t, "")
	cookie := filepath.Join(child.files.data, "control_auth_cookie")
	right, err := os.ReadFile(cookie)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"another tor's": {bytes.Repeat([]byte{7}, 32), "do not belong together"},
		"cut off":       {right[:20], "20 bytes instead of 32"},
		"right":         {right, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(cookie, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			again, err := DialControl(t.Context(), c.Addr())
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				again.Close()
				return
			}
			if !is[*CookieError](err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := os.Remove(cookie); err != nil {
		t.Fatal(err)
	}
	if _, err := DialControl(t.Context(), c.Addr()); !is[*CookieError](err) || !strings.Contains(err.Error(), "debian-tor") {
		t.Errorf("without a cookie: %v", err)
	}
	if _, err := DialControl(t.Context(), "unix:/nonexistent/control"); err == nil || !strings.Contains(err.Error(), "is tor running") {
		t.Errorf("nobody there: %v", err)
	}
}
