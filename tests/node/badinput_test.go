package node_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xmpp-gw/server/archive"
	"xmpp-gw/tests/daemon"
)

// The program does not start over a database that it cannot trust, says why and
// what to do, and leaves it as it is.
func TestRunRefusesDatabase(t *testing.T) {
	good := sqliteFile(t)
	damaged := bytes.Clone(good)
	for i := len(damaged) / 2; i < len(damaged)/2+6000 && i < len(damaged); i++ {
		damaged[i] ^= 0x5A
	}
	for _, c := range []struct {
		name string
		text []byte
		mode os.FileMode
		say  string
	}{
		{"damaged", damaged, 0o600, "damaged"},
		{"cut off", good[:len(good)/2], 0o600, "node.db"},
		{"something else", []byte(strings.Repeat("My only love sprung from my only hate! ", 200)), 0o600, "node.db"},
		{"for everybody to read", good, 0o644, "chmod"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file, config := filepath.Join(dir, "node.db"), filepath.Join(dir, "config.toml")
			check(t, os.Chmod(dir, 0o700))
			check(t, os.WriteFile(file, c.text, c.mode))
			check(t, os.WriteFile(config, []byte("[listen]\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = []\n[tor]\nmode = \"off\"\n[default]\nroute = \"block\"\n[node]\ndomain = \"localhost\"\n"), 0o600))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd, err := daemon.Command(ctx, "run", "--config", config, "--state-dir", dir)
			check(t, err)
			out, err := cmd.CombinedOutput()
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it runs:\n%s", out)
			}
			if !strings.Contains(string(out), c.say) || !strings.Contains(string(out), "error:") {
				t.Errorf("it does not tell about %q:\n%s", c.say, out)
			}
			if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, c.text) {
				t.Errorf("the file is another one now: %v", err)
			}
		})
	}
}

// sqliteFile is the database of a server that has run.
func sqliteFile(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	srv := startChild(t, dir, archive.Always)
	srv.dial(t, "romeo", "orchard").Send("<presence/>")
	srv.stop(t)
	text, err := os.ReadFile(filepath.Join(dir, "node.db"))
	check(t, err)
	return text
}

// A storm of subscriptions to everybody holds up nobody else, and those who exist
// are asked once.
func TestSubscriptionStorm(t *testing.T) {
	srv := startChild(t, t.TempDir(), archive.Never)
	juliet := srv.dial(t, "juliet", "balcony")
	juliet.Send("<presence/>")
	juliet.Expect("<presence/>")
	romeo := srv.dial(t, "romeo", "orchard")
	const storm = 3000
	var b strings.Builder
	for range storm {
		b.WriteString("<presence type='subscribe' to='juliet@" + domain + "'/><presence type='subscribe' to='nobody@" + domain + "'/>")
	}
	go func() { _, _ = romeo.Conn.Write([]byte(b.String())) }()
	go func() { // what it is answered
		for {
			if _, err := romeo.Next(); err != nil {
				return
			}
		}
	}()
	asked := 0
	for range 20 {
		begin := time.Now()
		juliet.Send("<iq type='get' id='still' to='" + domain + "'><ping xmlns='urn:xmpp:ping'/></iq>")
		for n := juliet.Read(); n.Attr("id") != "still"; n = juliet.Read() {
			if n.Attr("type") == "subscribe" {
				asked++
			}
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("another client waited %v", took)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if asked == 0 || asked > storm/10 {
		t.Errorf("juliet was asked %d times", asked)
	}
	t.Logf("asked %d times", asked)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
