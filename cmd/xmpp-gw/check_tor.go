package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
)

// checkTor is the Tor that a check goes by: that of the daemon which runs with the
// same configuration, else the one that the configuration says, started for this
// check where it is to be our own. The zero value has none.
type checkTor struct {
	once  sync.Once
	socks string
	err   error
	own   *onion.Tor // nil: it is somebody else's
}

// SOCKS is where it takes connections, once start has returned.
func (t *checkTor) SOCKS(context.Context) (string, error) {
	if t.socks == "" && t.err == nil {
		return "", errors.New("no Tor was started (this is a fault of the program; report it)")
	}
	return t.socks, t.err
}

// start finds or starts it, once, and shows how far it is.
func (t *checkTor) start(ctx context.Context, j *checkJob) {
	t.once.Do(func() {
		if t.socks = daemonTor(ctx, j); t.socks == "" {
			t.own, t.err = ownTor(ctx, j)
		}
		if t.own != nil {
			t.socks = t.own.SOCKS()
		}
		j.progress.done()
	})
}

// close stops a Tor that was started.
func (t *checkTor) close() {
	if t.own != nil {
		_ = t.own.Close()
	}
}

// daemonTor is where the daemon's Tor takes connections, if a daemon runs with the
// same configuration, and as soon as its Tor is ready. Another configuration may
// mean another Tor, with bridges or without.
func daemonTor(ctx context.Context, j *checkJob) string {
	path, err := findControl(j.String("state-dir"), os.Getenv)
	if err != nil {
		return ""
	}
	client := control.NewClient(path)
	defer client.Close()
	at, since := -1, time.Now()
	for ctx.Err() == nil {
		s, err := client.Status(ctx)
		if err != nil || !sameFile(s.Config, j.settings.File) {
			return ""
		}
		switch s.Tor.State {
		case control.StateReady:
			return s.Tor.SOCKS
		case control.StateStarting:
			if s.Tor.Bootstrap != at {
				at, since = s.Tor.Bootstrap, time.Now()
			}
			if time.Since(since) > j.torPatience() {
				return ""
			}
			j.progress.step("tor", fmt.Sprintf("the daemon's starts … %d %% %s", s.Tor.Bootstrap, s.Tor.Doing))
		default:
			return ""
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return ""
}

// torPatience is how long a Tor may be without progress while it starts.
func (j *checkJob) torPatience() time.Duration { return 2 * j.Duration("timeout") }

// sameFile reports whether both are the same configuration file, or none.
func sameFile(a, b string) bool {
	return a == b || a != "" && b != "" && samePath(a, b)
}

// ownTor starts a Tor as the configuration says. One of our own has a directory of
// its own: a daemon that starts meanwhile does not find its directory taken.
func ownTor(ctx context.Context, j *checkJob) (*onion.Tor, error) {
	p, err := j.paths()
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, err
	}
	o, err := j.settings.torOptions(p)
	if err != nil {
		return nil, err
	}
	o.DataDir = filepath.Join(p.state, "check-tor")
	o.RuntimeDir = o.DataDir
	o.Budget = j.torPatience()
	o.Progress = func(p onion.Progress) {
		j.progress.step("tor", fmt.Sprintf("starting … %d %% %s", p.Percent, p.Summary))
	}
	if o.Mode != onion.ModeSystem && o.Mode != onion.ModeOff {
		if err := os.MkdirAll(p.state, 0o700); err != nil {
			return nil, &problem{what: "the state directory cannot be made", why: err.Error(), hint: "name another with --state-dir DIR"}
		}
	}
	t, err := onion.Start(ctx, o)
	if err != nil {
		return nil, torProblem(err)
	}
	keys, err := clientKeys(j.settings, p)
	if err == nil && len(keys) > 0 {
		err = t.Authorize(ctx, keys)
	}
	if err != nil {
		j.ui.warn("tor does not have the keys for other people's onion services: %v", err)
	}
	return t, nil
}

// torProblem is why there is no Tor, and what to do.
func torProblem(err error) error {
	p := &problem{what: "there is no Tor to go by", why: err.Error(), err: err}
	if e, ok := errors.AsType[*onion.BootstrapError](err); ok {
		p.hint = e.Hint()
	}
	if errors.Is(err, onion.ErrInUse) {
		p.why, p.hint = "another check runs with it now", "wait for its end, or let `xmpp-gw run` run: checks go by its Tor"
	}
	return p
}

// clientKeys are the keys for other people's onion services that the daemon would
// give its Tor. Nothing is made where there is nothing.
func clientKeys(s *settings, p paths) (keys []onion.ClientKey, err error) {
	if dir := s.Onion.ClientKeys; dir != "" {
		if keys, err = onion.ReadClientKeys(dir); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(p.state, "onion-auth")
	if _, err := os.Stat(dir); err != nil {
		return keys, nil
	}
	own, err := onion.OpenClientKeys(dir)
	if err != nil {
		return keys, err
	}
	list, err := own.List()
	return append(keys, list...), err
}
