package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// built keeps the binary of this run. It is a deleted file that stays open, so
// that nothing is left behind and nobody has to clean up.
var built struct {
	sync.Mutex
	file *os.File
}

// Binary is the path of the built xmpp-gw, which is built at the first call. It
// is good as long as this program runs. XMPP_GW_BINARY names another one.
func Binary(ctx context.Context) (string, error) {
	if path := os.Getenv("XMPP_GW_BINARY"); path != "" {
		return path, nil
	}
	built.Lock()
	defer built.Unlock()
	if built.file == nil {
		dir, err := os.MkdirTemp("", "gw-build-")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "xmpp-gw")
		if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "xmpp-gw/cmd/xmpp-gw").CombinedOutput(); err != nil {
			return "", fmt.Errorf("daemon: go build: %w\n%s", err, out)
		}
		if built.file, err = os.Open(path); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), built.file.Fd()), nil
}

// Command is `xmpp-gw ARGS…`, to be run by the caller. It has no HOME.
func Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := Binary(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = "xmpp-gw"
	cmd.Env = environment("/nonexistent")
	return cmd, nil
}
