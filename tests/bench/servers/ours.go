package main

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
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/server"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
	"xmpp-gw/tests/load"
)

// startOurs runs the bundled server, with all of its modules, in a process of its
// own: this program again.
func (b *bench) startOurs(mam bool, accounts int) (*node, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "ours-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-serve", dir, "-cert", b.cert, "-key", b.key, "-mam="+strconv.FormatBool(mam), "-accounts", strconv.Itoa(accounts), "-profile", b.profile)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe() // it ends with this process, or when this is closed
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(in.Close(), cmd.Wait()) }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server does not start: %w", err), stop())
	}
	return &node{addr: strings.TrimSpace(line), pid: load.Process(cmd.Process.Pid), roots: b.tls, close: stop}, nil
}

// child is the process that is measured.
type child struct {
	dir, cert, key string
	mam            bool
	accounts       int
	profile        string // "" for none
}

// run prints the address and serves until its input ends.
func (c *child) run(ctx context.Context) (err error) {
	debug.SetGCPercent(50) // as `xmpp-gw run` does
	st, err := store.Open(ctx, "sqlite:"+filepath.Join(c.dir, "node.db"), store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := c.makeAccounts(ctx, st); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	choice := archive.Never
	if c.mam {
		choice = archive.Always
	}
	// The peers are not told to slow anybody down either.
	unlimited := server.Limits{Bytes: -1, Stanzas: -1, Unauthenticated: -1}
	srv, err := server.New(ctx, server.Config{
		Domains: []string{domain},
		TLS:     func(string) (*tls.Config, error) { return conf, nil },
		Store:   st,
		Modules: standard.Modules(st, standard.Options{ArchiveDefault: choice}),
		Limits:  unlimited,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	stopProfile, err := profile(c.profile)
	if err != nil {
		return err
	}
	defer stopProfile()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// Private: TLS is offered and not demanded, as by the peers.
			go func() { _ = srv.ServeConn(ctx, conn, server.ConnOptions{Kind: server.STARTTLS, Private: true}) }()
		}
	}()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = l.Close()
	end, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return srv.Shutdown(end)
}

// makeAccounts makes them with one set of keys, as they have one password: to
// make keys is not what is measured.
func (c *child) makeAccounts(ctx context.Context, st store.Store) error {
	var keys []store.Keys
	for _, h := range saslserver.Hashes() {
		k, err := saslserver.NewKeys(password, h, 0)
		if err != nil {
			return err
		}
		keys = append(keys, store.Keys{
			Hash: h.String(), Salt: k.Salt, Iterations: k.Iterations, StoredKey: k.StoredKey, ServerKey: k.ServerKey,
		})
	}
	for i := range c.accounts {
		a := store.Account{Address: address.Address{Local: load.Account(i), Domain: domain}, Created: time.Now()}
		if err := st.CreateAccount(ctx, a, keys); err != nil {
			return err
		}
	}
	return nil
}
