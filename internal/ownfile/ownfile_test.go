package ownfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	tests := []struct {
		name string
		mode fs.FileMode
		deny Access
		want string // part of the error; empty: none
	}{
		{"own", 0o600, NoAccess, ""},
		{"readable, may be", 0o644, NoWriters, ""},
		{"readable, may not be", 0o640, NoAccess, "chmod 600"},
		{"group may write", 0o620, NoWriters, "others may write to"},
		{"all may write", 0o602, NoAccess, "its mode is 0602"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			b, err := Read(path, tt.deny, 10)
			switch {
			case tt.want == "" && (err != nil || string(b) != "x"):
				t.Fatalf("%q, %v", b, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestReadLimitAndKind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, NoAccess, 10); err == nil {
		t.Error("a file over the limit was read")
	}
	if _, err := Read(dir, NoAccess, 10); err == nil {
		t.Error("a directory was read")
	}
	if _, err := Read(filepath.Join(dir, "none"), NoAccess, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make a file of somebody else; the rest is tested")
		return
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, NoAccess, 10); err == nil || !strings.Contains(err.Error(), "sudo -u '#12345'") || !strings.Contains(err.Error(), "chown 0") {
		t.Fatalf("another user's file: %v", err)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := Create(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second Create: %v, want fs.ErrExist", err)
	}
	check(t, path, "first")
	if err := Replace(path, []byte("third")); err != nil {
		t.Fatal(err)
	}
	check(t, path, "third")
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files left, want 1: temporary files stay behind", len(left))
	}
}

func check(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		t.Fatalf("content %q, %v; want %q", b, err, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	if err := Dir(path, NoAccess); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o770); err != nil {
		t.Fatal(err)
	}
	if err := Dir(path, NoAccess); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Fatalf("a directory that others may write: %v", err)
	}
}
