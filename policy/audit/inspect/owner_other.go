//go:build !unix

package inspect

import "io/fs"

// modesMean: permission bits say nothing here; access lists do.
const modesMean = false

func ownerOf(fs.FileInfo) (uid, gid int, ok bool) { return 0, 0, false }
