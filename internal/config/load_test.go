package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a file with a mode, whatever the umask is.
func write(t *testing.T, file, text string, mode fs.FileMode) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), mode), os.Chmod(file, mode)); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	if got := Find("x.toml"); got != "x.toml" {
		t.Errorf("with a flag: %q", got)
	}
	if got := Find(""); got != "" && got != "/etc/xmpp-gw/config.toml" {
		t.Errorf("with no file: %q", got)
	}
	file := filepath.Join(dir, "xmpp-gw", "config.toml")
	if got := UserFile(); got != file {
		t.Errorf("the user's file is %q", got)
	}
	write(t, file, "", 0o600)
	if got := Find(""); got != file {
		t.Errorf("with the user's file: %q", got)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if c, err := Load(""); err != nil || c.File != "" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory was loaded")
	}
	file := write(t, filepath.Join(dir, "gw.toml"), "[dns]\nca = \"../ca.pem\"", 0o600)
	c, err := Load(file)
	if err != nil || c.File != file || c.DNS.CA != filepath.Join(filepath.Dir(dir), "ca.pem") {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = Load(write(t, file, "\nx = 1", 0o600))
	if mistakes, ok := errors.AsType[Errors](err); !ok || len(mistakes) != 1 || mistakes[0].File != file || mistakes[0].Line != 2 {
		t.Errorf("%v", err)
	}
	// A relative path is no less clear.
	t.Chdir(dir)
	write(t, file, "[dns]\nca = \"ca.pem\"", 0o600)
	if c, err := Load("gw.toml"); err != nil || c.DNS.CA != filepath.Join(dir, "ca.pem") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "open"), "x", 0o644)
	write(t, filepath.Join(dir, "group"), "x", 0o640)
	for name, c := range map[string]struct {
		mode fs.FileMode
		text string
		want []string
	}{
		"none":            {0o644, "[default]\nroute='tor'", nil},
		"a password":      {0o604, "[socks.a]\nurl='socks5://u:p@127.0.0.1:1'", []string{"password of the SOCKS hop"}},
		"only a user":     {0o604, "[socks.a]\nurl='socks5://u@127.0.0.1:1'", nil},
		"a kept password": {0o640, "[socks.a]\nurl='socks5://u:p@127.0.0.1:1'", nil},
		"no Tor":          {0o600, "[tor]\nmode='off'", []string{"Tor is switched off"}},
		"no Tor needed":   {0o600, "[tor]\nmode='off'\n[default]\nroute='direct'", nil},
		"a missing file":  {0o600, "[domain.'a.b']\nca='none'", []string{"gw.toml:2: ca cannot be read"}},
		"open secrets": {0o600, "[domain.'a.b']\nca='open'\nclient_cert='open'\npassword_file='open'",
			[]string{"gw.toml:3: others may read the file of client_cert", "gw.toml:4: others may read the file of password_file"}},
		"kept secrets":   {0o600, "[domain.'a.b']\nclient_cert='group'\npassword_file='group'", nil},
		"never let in":   {0o600, "[domain.'a.b']\nroute='onion-only'", []string{"a.b is refused: it may only be reached at an onion address"}},
		"meant to block": {0o600, "[domain.'a.b']\nroute='block'\n[domain.onion]", nil},
	} {
		loaded, err := Load(write(t, filepath.Join(dir, "gw.toml"), c.text, c.mode))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(loaded.Warnings) != len(c.want) {
			t.Errorf("%s: %q, want %q", name, loaded.Warnings, c.want)
			continue
		}
		for i, w := range loaded.Warnings {
			if !strings.Contains(w, c.want[i]) || strings.Contains(w, "u:p") {
				t.Errorf("%s: %q, want %q", name, w, c.want[i])
			}
		}
	}
}
