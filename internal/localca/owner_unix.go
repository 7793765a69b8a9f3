//go:build unix

package localca

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkOwner demands that the file is the running user's.
func checkOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user. Run the gateway as that user, or give it a state directory of its own (--state-dir)", path)
	}
	return nil
}
