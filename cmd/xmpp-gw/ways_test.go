package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrustAnchors: what DNSSEC begins at is the root's own keys or a file of keys
// that nobody else may write, and nothing in between.
func TestTrustAnchors(t *testing.T) {
	const key = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		want string // part of the error
	}{
		"good":             {key, 0o644, ""},
		"two":              {key + strings.Replace(key, "20326", "38696", 1), 0o644, ""},
		"not there":        {"", 0, "no such file"},
		"empty":            {"; nothing\n", 0o644, "there is none"},
		"no zone file":     {"{}", 0o644, "trust anchors"},
		"another record":   {". IN TXT x\n", 0o644, "neither DS nor DNSKEY"},
		"others may write": {key, 0o666, "chmod"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if tt.mode != 0 {
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, tt.mode); err != nil {
				t.Fatal(err)
			}
		}
		anchors, err := trustAnchors(file)
		if tt.want == "" {
			if err != nil || len(anchors) == 0 {
				t.Errorf("%s: %v, %v", name, anchors, err)
			}
			continue
		}
		if err == nil || len(anchors) > 0 || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "dns.trust_anchors") {
			t.Errorf("%s: %v, %v, want %q", name, anchors, err, tt.want)
		}
	}
	if anchors, err := trustAnchors(""); anchors != nil || err != nil {
		t.Errorf("without a file: %v, %v", anchors, err)
	}
}
