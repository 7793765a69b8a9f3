package forward

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// How old the news of a target may be, before it is tried again for whoever asks.
const (
	goodNews = time.Minute
	badNews  = 5 * time.Second
)

// Probe knows whether a target answers.
type Probe struct {
	target func(context.Context) (net.Conn, error)
	log    *slog.Logger

	probing sync.Mutex
	mu      sync.Mutex
	err     error // the last dial's
	asked   time.Time
}

// NewProbe makes a probe of what dial connects to; the text of its errors must
// hold no address. log may be nil.
func NewProbe(dial func(context.Context) (net.Conn, error), log *slog.Logger) *Probe {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Probe{target: dial, log: log}
}

// Check says whether the target answers: nil, or why it does not. It goes by the
// last connection where that is news, and tries the target where it is not.
func (p *Probe) Check(ctx context.Context) error {
	p.probing.Lock()
	defer p.probing.Unlock()
	p.mu.Lock()
	err, age := p.err, time.Since(p.asked)
	p.mu.Unlock()
	if err == nil && age < goodNews || err != nil && age < badNews {
		return err
	}
	conn, err := p.dial(ctx)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// dial connects to the target and notes whether that works. Each change is
// logged once.
func (p *Probe) dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.target(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, err // the caller's end says nothing about the target
	}
	p.mu.Lock()
	before := p.err
	p.err, p.asked = err, time.Now()
	p.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		p.log.Warn("clients of a published service are turned away; start the server that it leads to, or publish it with another --target", "err", err)
	case err == nil && before != nil:
		p.log.Info("the target of a published service answers again")
	}
	return conn, err
}
