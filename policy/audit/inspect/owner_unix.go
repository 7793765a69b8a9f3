//go:build unix

package inspect

import (
	"io/fs"
	"syscall"
)

// modesMean: permission bits say who may do what.
const modesMean = true

func ownerOf(info fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}
