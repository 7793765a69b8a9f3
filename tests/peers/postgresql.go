package peers

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// PostgreSQL is a database server of Debian's package, on a unix socket in a
// directory of its own. Nothing listens on the network.
type PostgreSQL struct {
	proc *process
	bin  string
	user *syscall.Credential
	n    atomic.Int64
}

// StartPostgreSQL makes a database cluster and starts its server. As root it runs
// as the user postgres, as it refuses root.
func StartPostgreSQL() (*PostgreSQL, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, missing("postgres", "postgresql")
	}
	sort.Strings(found)
	p := &PostgreSQL{bin: filepath.Dir(found[len(found)-1])}
	dir, err := os.MkdirTemp("", "xmpp-gw-postgres")
	if err != nil {
		return nil, err
	}
	if err := p.start(dir); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("peers: starting PostgreSQL: %w", err)
	}
	return p, nil
}

func (p *PostgreSQL) start(dir string) (err error) {
	if os.Geteuid() == 0 {
		if p.user, err = credential("postgres"); err != nil {
			return err
		}
		if err := os.Chown(dir, int(p.user.Uid), int(p.user.Gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(dir, "data")
	// The directory is its user's alone, so whoever reaches the socket is trusted.
	if err := p.run(dir, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"); err != nil {
		return err
	}
	p.proc, err = spawn(spec{
		dir: dir, path: filepath.Join(p.bin, "postgres"), user: p.user,
		args: []string{"-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "shared_buffers=32MB"},
		// A fast shutdown: clients are cut off.
		stop: func(_ io.WriteCloser, pid int) { _ = syscall.Kill(pid, syscall.SIGINT) },
	})
	if err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := p.run(dir, "psql", "-h", dir, "-U", "postgres", "-c", "SELECT 1")
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			text := p.proc.log()
			return fmt.Errorf("%w; its log ends: %s", err, tail(text, 1000)+closing(p.proc.close()))
		}
	}
}

func closing(err error) string {
	if err != nil {
		return " (" + err.Error() + ")"
	}
	return ""
}

func (p *PostgreSQL) run(dir, name string, args ...string) error {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// Database makes a new, empty database and gives its address.
func (p *PostgreSQL) Database() (dsn string, err error) {
	name := "db" + strconv.FormatInt(p.n.Add(1), 10)
	if err := p.run(p.proc.dir, "createdb", "-h", p.proc.dir, "-U", "postgres", name); err != nil {
		return "", err
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + name, RawQuery: url.Values{"host": {p.proc.dir}}.Encode()}
	return u.String(), nil
}

// Kill ends the server as a crash would.
func (p *PostgreSQL) Kill() { p.proc.kill() }

// Close ends the server and removes its data.
func (p *PostgreSQL) Close() error { return p.proc.close() }

// credential is who a user of this system is.
func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, missing("the user "+name, "postgresql")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
