// Package ownfile reads and writes files that must be this user's alone: keys,
// pins, the local CA.
//
// A file that somebody else may write is an instruction from somebody else, and
// a key that somebody else may read is no secret. Both are refused with the
// command that puts it right. Writing is atomic: a reader, or a crash, sees the
// old file or the new one.
package ownfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Access says what others may do with a file.
type Access fs.FileMode

// The two demands.
const (
	NoWriters Access = 0o022 // others may read
	NoAccess  Access = 0o077 // others may neither read nor write
)

// Read is the content of a regular file of at most limit bytes that belongs to
// this user (or root) and gives others no more than allowed.
func Read(path string, deny Access, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened, so that it cannot be exchanged in between
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := judge(path, info, deny); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes, which is not what it should be", path, limit)
	}
	return b, nil
}

// Check refuses what Read refuses, for a file that something else reads, such as
// a database. A file that is exchanged afterwards is not noticed: its directory
// has to be this user's alone to write.
func Check(path string, deny Access) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	return judge(path, info, deny)
}

// Dir makes the directory path (0700) where it is missing, and refuses one that
// is not this user's alone to write.
func Dir(path string, deny Access) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", path)
	}
	return judge(path, info, deny)
}

// judge refuses a file of another owner or with too generous a mode.
func judge(path string, info fs.FileInfo, deny Access) error {
	if uid, ok := owner(info); ok && uid != os.Geteuid() && uid != 0 {
		if os.Geteuid() == 0 {
			// Root in somebody else's folder: to make the file root's would lock its
			// owner's daemon out.
			return fmt.Errorf("%s belongs to another user (uid %d); run this as that user (sudo -u '#%[2]d' …), or, if the file is to be root's, correct that with: chown 0 %[1]s", path, uid)
		}
		return fmt.Errorf("%s belongs to another user (uid %d), who could change it; correct that with: sudo chown %d %s", path, uid, os.Geteuid(), path)
	}
	mode := info.Mode().Perm()
	if !modesMean || mode&fs.FileMode(deny) == 0 {
		return nil
	}
	want := "600"
	if info.IsDir() {
		want = "700"
	}
	verb := "write to"
	if deny == NoAccess {
		verb = "read or write"
	}
	return fmt.Errorf("others may %s %s (its mode is %04o); correct that with: chmod %s %s", verb, path, mode, want, path)
}

// Replace writes data to path with mode 0600, in place of what is there.
func Replace(path string, data []byte) error {
	tmp, err := temporary(path, data)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return syncDir(path)
}

// Create writes data to path with mode 0600; fs.ErrExist when there is a file
// already, which is never overwritten.
func Create(path string, data []byte) error {
	tmp, err := temporary(path, data)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	// A link fails where the name is taken, and a half-written file never has it.
	if err := os.Link(tmp, path); err != nil {
		return err
	}
	return syncDir(path)
}

// temporary writes data to a new file beside path.
func temporary(path string, data []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // O_EXCL, 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return f.Name(), err
}

// syncDir makes a new name of path last through a crash, where the file system
// can do that.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}
