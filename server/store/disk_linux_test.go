package store

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted mounts a small file system; only root can.
func mounted(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("store-test", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mounting a small file system: %v (in a container: --cap-add SYS_ADMIN)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A disk that is full, and then has room again.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make a small disk; TestFullDatabase shows the same with a small database")
		return
	}
	dir := mounted(t, "size=2m,mode=0700")
	ballast := filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 600<<10), 0o600))
	path := filepath.Join(dir, "node.db")
	d := opened(t, "sqlite:"+path)
	n := full(t, d)
	must(t, os.Remove(ballast))
	archived(t, d, ArchiveAppend{juliet, date(0), romeo, nil})
	intact(t, d, n+1)
	must(t, d.Close())

	// Nor can a new one be made where there is no room.
	must(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600))
	for i := range 3 { // all that is left
		_ = os.WriteFile(ballast+string(rune('0'+i)), make([]byte, 2<<20>>(4*i)), 0o600)
	}
	_, err := Open(context.Background(), "sqlite:"+filepath.Join(dir, "new.db"), Options{})
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("a new database on a full disk: %v", err)
	}
}

// readOnly makes a file or folder unwritable: for root by a mount, as modes do
// not hold root back.
func readOnly(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if os.Geteuid() != 0 {
		must(t, os.Chmod(path, mode))
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
		return
	}
	must(t, unix.Mount(path, path, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(path, unix.MNT_DETACH)) })
	must(t, unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

func TestReadOnly(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		what       func(path string) string
		mode       os.FileMode
	}{
		{"file", "cannot be written", func(p string) string { return p }, 0o400},
		{"folder", "cannot be written", filepath.Dir, 0o500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filledFile(t)
			readOnly(t, tt.what(path), tt.mode)
			d, err := Open(context.Background(), "sqlite:"+path, Options{})
			if err == nil {
				d.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v\nwant %q and the path in it", err, tt.want)
			}
		})
	}
}
