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

// Place is a file or directory that matters.
type Place struct {
	Path   string
	Each   string      // a pattern of [fs.Glob]: the files below Path that it matches, in place of Path
	Is     string      // "configuration", "onion key", …
	Max    fs.FileMode // the permission bits that are well
	Secret bool        // whoever reads it, or writes to it, can do harm
	// OwnGroup: the group may write too, if it is the owner's alone (user private
	// groups, with their umask of 002).
	OwnGroup bool
	// Kept: another program may keep it, such as one that renews certificates.
	Kept bool
}

// Files looks at all places, and at the folders above what it finds. A place where
// nothing is is left out, and so is a folder above that is well. The files must belong
// to the user with the number owner, or to root.
func Files(places []Place, owner int) []audit.File {
	var list []audit.File
	for _, p := range places {
		paths := []string{p.Path}
		if p.Each != "" {
			// Not filepath.Glob, for which a folder's own name may be a pattern.
			paths, _ = fs.Glob(os.DirFS(p.Path), p.Each)
			for i, name := range paths {
				paths[i] = filepath.Join(p.Path, filepath.FromSlash(name))
			}
		}
		slices.Sort(paths)
		for _, path := range paths {
			if f, ok := look(path, p, owner); ok {
				list = append(list, f)
			}
		}
	}
	return append(list, above(list, owner)...)
}

// look looks at one file; ok is false where there is none.
func look(path string, p Place, owner int) (f audit.File, ok bool) {
	f = audit.File{Path: path, Is: p.Is, Max: p.Max, Secret: p.Secret, Kept: p.Kept}
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return f, false
	case err != nil:
		f.Err = "it cannot be looked at: " + withoutPath(err)
		return f, true
	}
	f.Mode = info.Mode().Perm()
	uid, gid, known := ownerOf(info)
	f.Owner, f.OwnOK = userName(uid), !known || uid == owner || uid == 0
	const groupWrites = 0o020
	if p.OwnGroup && known && f.Mode&^f.Max == groupWrites && ownGroup(uid, gid) {
		f.Max |= groupWrites
	}
	if !modesMean {
		f.Mode &= f.Max
	}
	return f, true
}

// above are the folders above files in which somebody else can put others in their
// place: those that belong to others, or that everybody may write to and that are not
// sticky. That a group may write to one is its administrators' usual way.
func above(files []audit.File, owner int) []audit.File {
	var list []audit.File
	seen := make(map[string]bool)
	climb := func(path, below string) {
		for dir := filepath.Dir(path); !seen[dir]; dir = filepath.Dir(dir) {
			seen[dir] = true
			info, err := os.Stat(dir)
			if err != nil {
				continue // what is in it could not be looked at either
			}
			f, _ := look(dir, Place{Is: "a folder above " + below, Max: 0o775}, owner)
			if info.Mode()&fs.ModeSticky != 0 {
				f.Max = 0o777
			}
			if !f.OwnOK || f.Mode&^f.Max != 0 {
				list = append(list, f)
			}
		}
	}
	for _, f := range files {
		seen[f.Path] = true
	}
	for _, f := range files {
		path, err := filepath.Abs(f.Path)
		if err != nil || f.Err != "" {
			continue
		}
		climb(path, f.Is)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			climb(real, f.Is)
		}
	}
	return list
}

// Owner is the number of the user that a set-up belongs to: who runs this, or, where
// that is root, whose dir is.
func Owner(dir string) int {
	self := os.Geteuid()
	if self != 0 {
		return self
	}
	if info, err := os.Stat(dir); err == nil {
		if uid, _, ok := ownerOf(info); ok {
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

// ownGroup reports whether a group is a user's alone, as far as its name and number
// tell: the user's first one, named after the user.
func ownGroup(uid, gid int) bool {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || u.Gid != strconv.Itoa(gid) {
		return false
	}
	g, err := user.LookupGroupId(u.Gid)
	return err == nil && g.Name == u.Username
}

// withoutPath is err without the path, which stands beside it.
func withoutPath(err error) string {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err.Error()
	}
	return err.Error()
}
