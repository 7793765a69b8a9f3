package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"xmpp-gw/policy"
)

func described(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := Describe(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What Describe writes gives exactly the defaults, and says so of itself.
func TestDescribe(t *testing.T) {
	text := described(t)
	got := parse(t, text)
	for _, setting := range []any{
		&got.Rules.Default.Route, &got.Rules.Default.TLS, &got.Rules.Default.MinTLS, &got.Rules.Default.PQ, &got.Rules.Default.SASL,
		&got.Rules.Default.AuthMin, &got.Rules.Default.Binding, &got.Rules.Default.Pin, &got.Rules.Default.Redirect, &got.Rules.Default.Registration, &got.Rules.Default.Upgrade,
		&got.Rules.Default.SCT, &got.Rules.Default.DNSSEC, &got.Rules.Default.Witness, &got.Rules.Default.Mode,
	} {
		source := reflect.ValueOf(setting).Elem().FieldByName("Source")
		if !strings.HasPrefix(source.String(), "/etc/gw.toml:") {
			t.Errorf("%T comes from %q", setting, source)
		}
		source.SetString(BuiltIn)
	}
	got.File, got.lines = "", Default().lines
	if want := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	// Every key stands in it once and has a meaning, and no line is long for its
	// words.
	for _, key := range allKeys() {
		n := len(regexp.MustCompile(`(?m)^(# )?`+key+` = `).FindAllString(text, -1))
		twice := slices.Contains([]string{"ca", "socks", "c2s", "c2s_tls", "registration", "mode"}, key) // in two sections
		if n == 0 || n > 1 && !twice {
			t.Errorf("%s is described %d times", key, n)
		}
	}
	for i, line := range strings.Split(text, "\n") {
		if len(line) > 80 && !strings.Contains(line, " = ") {
			t.Errorf("line %d has %d characters", i+1, len(line))
		}
	}
}

// The examples load as well, once their marks are taken away: each key of a
// domain is an example of itself.
func TestExamples(t *testing.T) {
	text := regexp.MustCompile(`(?m)^# (#|\[|[a-z_]+ = )`).ReplaceAllString(described(t), "$1")
	if !strings.Contains(text, "\n[domain.\"example.org\"]\n") || !strings.Contains(text, "\n[socks.i2p]\n") {
		t.Fatal("the examples are not found")
	}
	// Two of them exclude each other.
	text = regexp.MustCompile(`(?m)^endpoints = `).ReplaceAllString(text, "# $0")
	c := parse(t, text)
	d, err := c.Rules.Decide(policy.Target{Domain: "chat.example.org"})
	if err != nil || d.Onion == nil || d.CAFile == "" || len(d.Pins) != 1 || d.ClientCert == "" || d.PasswordFile == "" || c.SOCKS["i2p"] == nil {
		t.Errorf("%+v, %v", d, err)
	}
	for _, k := range domainKeys {
		c := &policy.Rule{}
		if err := k.set(target{c, "test", true}, literal(k.def)); err != nil {
			t.Errorf("the example of %s: %v", k.name, err)
		}
	}
}

func TestInit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a", "b", "config.toml")
	if err := Init(file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(file)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", dir.Mode(), err)
	}
	if c, err := Load(file); err != nil || len(c.Warnings) != 0 {
		t.Errorf("%+v, %v", c, err)
	}

	// What is there is never touched, a dangling link neither.
	if err := os.WriteFile(file, []byte("# mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(file), "link.toml")
	if err := os.Symlink(filepath.Join(filepath.Dir(file), "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, link} {
		if err := Init(f); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", f, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "# mine" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "nowhere")); err == nil {
		t.Error("the file behind a link was made")
	}
	if err := Init(filepath.Join(file, "config.toml")); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("below a file: %v", err)
	}
}
