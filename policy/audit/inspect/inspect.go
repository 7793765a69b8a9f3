// Package inspect looks at this machine for `xmpp-gw check --self` and `--egress`,
// and writes down what it saw for package audit to judge.
//
//	seen := &audit.SelfObservation{Files: inspect.Files(places, owner)}
//	seen.CA, seen.Trust = inspect.Authority(dir, owner, stores)
//	seen.Weaker, seen.Logins = inspect.Settings(rules)
//	tried := inspect.Egress(ctx, inspect.Ways{…})
//
// What only the program knows (where its files are, which listeners it has, which
// Tor it uses) is handed in. Nothing is made and nothing is changed; only [Egress]
// sends anything, and says what.
package inspect

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"xmpp-gw/policy/audit"
)

// Place is a file or directory that matters, or a pattern of [filepath.Glob] for
// several.
type Place struct {
	Path   string
	Is     string      // "configuration", "onion key", …
	Max    fs.FileMode // the permission bits that are well
	Secret bool        // whoever reads it, or writes to it, can do harm
}

// Files looks at all places. One where nothing is is left out. The files must belong
// to the user with the number owner, or to root.
func Files(places []Place, owner int) []audit.File {
	var list []audit.File
	for _, p := range places {
		paths, err := filepath.Glob(p.Path)
		if err != nil || len(paths) == 0 {
			paths = []string{p.Path}
		}
		slices.Sort(paths)
		for _, path := range paths {
			if f, ok := look(path, p, owner); ok {
				list = append(list, f)
			}
		}
	}
	return list
}

// look looks at one file; ok is false where there is none.
func look(path string, p Place, owner int) (f audit.File, ok bool) {
	f = audit.File{Path: path, Is: p.Is, Max: p.Max, Secret: p.Secret}
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return f, false
	case err != nil:
		f.Err = "it cannot be looked at: " + withoutPath(err)
		return f, true
	}
	f.Mode = info.Mode().Perm()
	uid, known := ownerOf(info)
	f.Owner, f.OwnOK = userName(uid), !known || uid == owner || uid == 0
	if !modesMean {
		f.Mode &= f.Max
	}
	return f, true
}

// Owner is the number of the user that a set-up belongs to: who runs this, or, where
// that is root, whose dir is.
func Owner(dir string) int {
	self := os.Geteuid()
	if self != 0 {
		return self
	}
	if info, err := os.Stat(dir); err == nil {
		if uid, ok := ownerOf(info); ok {
			return uid
		}
	}
	return self
}

// userName is a user's name, else the number.
func userName(uid int) string {
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return "user " + number
}

// withoutPath is err without the path, which stands beside it.
func withoutPath(err error) string {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err.Error()
	}
	return err.Error()
}
