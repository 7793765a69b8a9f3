// Package node_test looks at the bundled server with all its modules from outside:
// with real clients (build tag e2e), and in a process that is killed.
package node_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
)

// domain is that of the child process.
const domain = "example.org"

// accounts are those in it.
var accounts = []string{"romeo", "juliet"}

// childDir makes this program the child: the directory of its database.
const childDir, childArchive = "NODE_TEST_DIR", "NODE_TEST_ARCHIVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serve(dir, archive.Choice(os.Getenv(childArchive))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve runs a server over dir's database until its input ends.
func serve(dir string, choice archive.Choice) error {
	ctx := context.Background()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "node.db"), store.Options{})
	if err != nil {
		return err
	}
	s, err := server.New(ctx, server.Config{
		Domains: []string{domain}, Store: db, Iterations: 4096,
		TLS:     func(string) (*tls.Config, error) { return servertest.TLS(domain), nil },
		Modules: standard.Modules(db, standard.Options{ArchiveDefault: choice}),
	})
	if err != nil {
		return err
	}
	for _, name := range accounts {
		owner := address.Address{Local: name, Domain: domain}
		if err := s.CreateAccount(ctx, owner, servertest.Password, false); err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// Private, as TLS is not what is tested.
			go s.ServeConn(ctx, conn, server.ConnOptions{Kind: server.STARTTLS, Private: true})
		}
	}()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = l.Close()
	end, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return errors.Join(s.Shutdown(end), db.Close())
}

// child is a running one.
type child struct {
	addr string
	cmd  *exec.Cmd
	in   io.Closer
}

// startChild runs a server in a process of its own.
func startChild(t *testing.T, dir string, choice archive.Choice) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childArchive+"="+string(choice))
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe() // it ends with this process
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, in: in}
	t.Cleanup(func() {
		_ = in.Close()
		c.kill()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	c.addr = strings.TrimSpace(line)
	return c
}

// kill ends it as kill -9 does, and may be called again.
func (c *child) kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		c.cmd = nil
	}
}

// stop ends it in good order.
func (c *child) stop(t *testing.T) {
	t.Helper()
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("the server did not stop: %v", err)
	}
	c.cmd = nil
}

// dial logs in and binds a resource.
func (c *child) dial(t *testing.T, name, resource string) *servertest.Client {
	t.Helper()
	x := servertest.Raw(t, c.addr)
	x.Domain = domain
	x.Open()
	x.Login(name)
	x.Bind(resource)
	return x
}

// tuned makes the socket's buffers small, so that what is not read soon stays in
// the server.
func tuned(x *servertest.Client) {
	if conn, ok := x.Conn.(*net.TCPConn); ok {
		_ = conn.SetReadBuffer(4 << 10)
		_ = conn.SetReadDeadline(time.Time{})
	}
}
