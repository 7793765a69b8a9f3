package localca

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// checkPrivate demands that a path is ours and nobody else's to read or write.
func checkPrivate(path string, dir bool) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	mode := "600"
	if dir {
		mode = "700"
	}
	switch {
	case dir != info.IsDir() || !dir && !info.Mode().IsRegular():
		return fmt.Errorf("%s is not what it should be: a link or another kind of file stands there", path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("others may use %s, which holds the key of the machine's authority. Run: chmod %s %s", path, mode, path)
	}
	return checkOwner(path, info)
}

// createFile writes a file that must not exist yet: whole, or not at all, and
// never over another.
func createFile(path string, text []byte) error {
	tmp, err := writeTemp(path, text, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Link(tmp, path) // unlike a rename, fails if path exists
}

// replaceFile puts a file in the place of another, whole or not at all.
func replaceFile(path string, text []byte, mode os.FileMode) error {
	tmp, err := writeTemp(path, text, mode)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Rename(tmp, path)
}

func writeTemp(path string, text []byte, mode os.FileMode) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
