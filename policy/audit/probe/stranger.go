package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// What a stranger may try on a server, and what it makes of that.

const (
	// nowhere and injected are domains that nobody can have (RFC 2606 §2).
	nowhere  = "unknown-host.invalid"
	injected = "injected.invalid"

	// fillBytes is how much is sent in one element at most, and at first.
	fillBytes, fillPiece = 1 << 20, 4 << 10
)

// inject sends a stream header behind <starttls/> in the same write. A server must
// throw it away (RFC 6120 §5.4.3.3); one that reads it as if it had come inside TLS
// does the same with what somebody on the way puts there (CVE-2011-0411). It names
// another domain than the header that is sent inside TLS, so that the answer tells
// which of the two was read.
//
// Some answer to any domain, and always as the same. Who read what was put in has two
// headers to answer; patience is how long the second answer is waited for.
func (s spot) inject(ctx context.Context, seen *audit.Injection, patience time.Duration) error {
	l, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	if plain, err := l.ready(s.headerOf(injected)); err != nil {
		var refused *noTLS
		if plain != nil && plain.StartTLS != "" && (errors.As(err, &refused) || over(err)) {
			return nil // it noticed, and does not go on
		}
		return err
	}
	var clear []byte // what came in place of TLS
	l.raw.first = func(b []byte) error {
		if b[0] != 22 && b[0] != 21 { // neither handshake nor alert (RFC 8446 §5.1)
			clear = append(clear, b...)
			return errNotTLS
		}
		return nil
	}
	if _, err := l.shake(ctx, s.config()); err != nil {
		if len(clear) > 0 {
			seen.AfterClear = l.afterClear(ctx, clear)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		return nil // cut off, or confused: nothing was taken
	}
	answer := l.open(s.domain)
	switch {
	case ctx.Err() != nil:
		return errSlow
	case answer.Error == "policy-violation" || answer.Error == "" && answer.From == "":
		return nil // it noticed, or hung up
	case busy(answer.Error):
		return errors.New("the server ended the stream for another reason: " + answer.Error)
	}
	if seen.Accepted = answer.Error != "" || strings.EqualFold(answer.From, injected); seen.Accepted {
		return nil
	}
	_ = l.raw.SetReadDeadline(time.Now().Add(patience))
	more := &audit.Stream{}
	l.readFirst(more)
	switch {
	case ctx.Err() != nil:
		return errSlow
	case more.Err == reason(os.ErrDeadlineExceeded):
		return nil // there was but one header
	case more.Err != "":
		return errors.New("what came behind its answer does not tell: " + more.Err)
	case busy(more.Error):
		return errors.New("the server ended the stream for another reason: " + more.Error)
	}
	seen.Accepted = true
	return nil
}

// afterClear is what the server says in the clear behind <proceed/>, empty if that is
// only that it ends the stream: so does one that noticed.
func (l *line) afterClear(ctx context.Context, clear []byte) string {
	const tls = "\x15\x16" // how its records begin; neither may be in XML
	if until, ok := ctx.Deadline(); ok && ctx.Err() == nil && !bytes.ContainsAny(clear, tls) {
		if soon := time.Now().Add(time.Second); soon.Before(until) {
			until = soon
		}
		_ = l.raw.SetReadDeadline(until)
		more, _ := io.ReadAll(io.LimitReader(l.raw.Conn, 2<<10))
		clear = append(clear, more...)
	}
	if i := bytes.IndexAny(clear, tls); i >= 0 {
		clear = clear[:i]
	}
	if bytes.Contains(clear, []byte("<stream:error")) {
		return ""
	}
	return clip(string(clear))
}

// busy are errors, of streams or stanzas, of a server that would, but cannot now (RFC 6120
// §4.9.3, §8.3.3): they say nothing of what it was asked.
func busy(condition string) bool {
	return slices.Contains([]string{"connection-timeout", "internal-server-error", "reset", "resource-constraint", "system-shutdown", "remote-server-timeout"}, condition)
}

// headerOf is the text of a stream header for a domain, without an XML declaration:
// in the middle of a stream that alone would make it an error.
func (s spot) headerOf(domain string) string {
	text := (&line{spot: s}).headerText(domain)
	return text[strings.Index(text, "<stream:"):]
}

// unknownHost opens a stream to a domain that the server cannot serve (RFC 6120
// §4.9.3.6), before TLS where there is a stream before it. Who says no inside TLS alone
// does not tell those on the way which domains it has, and that is well.
func (s spot) unknownHost(ctx context.Context, seen *audit.Stream) error {
	if s.at.Transport != policy.STARTTLS {
		l, err := s.begun(ctx)
		if err != nil {
			return err
		}
		defer l.close()
		*seen = *l.open(nowhere)
		return broke(seen)
	}
	asks := s
	asks.domain = nowhere
	l, err := asks.dial(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	plain, err := l.ready("")
	if *seen = *plain; err != nil {
		if plain.Error != "" || errors.Is(err, errNoSTARTTLS) {
			return nil
		}
		return err
	}
	if _, err := l.shake(ctx, s.config()); err != nil {
		return err
	}
	*seen = *l.open(nowhere)
	return broke(seen)
}

// broke is why a stream did not come about, nil if it did.
func broke(s *audit.Stream) error {
	if s.Err != "" {
		return errors.New(s.Err)
	}
	return nil
}

// begun opens a connection up to where a stranger's first header goes.
func (s spot) begun(ctx context.Context) (*line, error) {
	l, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if s.at.Transport != policy.STARTTLS {
		if err := l.inside(ctx); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// fill sends one element without an end, to see whether the server stops it.
func (s spot) fill(ctx context.Context, seen *audit.Preauth) error {
	l, err := s.begun(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	begin := time.Now()
	switch opened := l.open(s.domain); {
	case opened.Error == "not-authorized":
		seen.Limited = true // a stranger is not let in (s2s_secure_auth)
		return nil
	case opened.Err != "" || opened.Error != "":
		return errors.New("it opened no stream: " + opened.Err + opened.Error)
	}
	patience := min(2*time.Since(begin)+50*time.Millisecond, 2*time.Second)
	var ended atomic.Bool
	var sent atomic.Int64
	over := make(chan struct{})
	go func() {
		defer close(over)
		if l.ended() != nil && ctx.Err() == nil {
			ended.Store(true)
			_ = l.raw.SetWriteDeadline(time.Unix(1, 0))
		}
	}()
	err = pour(l.conn, &sent, func() bool {
		// What was sent is on its way, and so may be a word against it.
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-over:
		case <-ctx.Done():
		case <-timer.C:
			return true
		}
		return false
	})
	if err == nil && !ended.Load() {
		// A server that reads slowly, to slow us down, comes to its limit later.
		select {
		case <-over:
		case <-ctx.Done():
		case <-time.After(untilHalf(ctx, max(fillPatience, 2*patience))):
		}
	}
	met := ended.Load() || err != nil && ctx.Err() == nil
	seen.Bytes = int(sent.Load())
	seen.Limited = seen.Limited || met
	_ = l.raw.Conn.Close()
	<-over
	if !met && ctx.Err() != nil {
		return errSlow
	}
	return nil
}

// fillPatience is how long a word against too large an element is waited for when all
// of it was sent.
const fillPatience = 2 * time.Second

// untilHalf is a wait that leaves half of the time for a probe.
func untilHalf(ctx context.Context, wait time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(wait, time.Until(end)/2)
	}
	return wait
}

// pour writes the element: a piece, and then each time as much as there is already,
// so that the size at which it is stopped is known to a factor of two. Before each it
// asks whether to go on.
func pour(w io.Writer, sent *atomic.Int64, more func() bool) error {
	if _, err := io.WriteString(w, "<message type='chat'><body>"); err != nil {
		return err
	}
	for size := int64(fillPiece); sent.Load() < fillBytes; size = sent.Load() {
		sent.Add(size) // in part, if it is stopped in the middle
		if _, err := w.Write(bytes.Repeat([]byte{'x'}, int(size))); err != nil {
			return err
		}
		if !more() {
			break
		}
	}
	return nil
}

// http sends what a web browser would, to see whether the server can be made to
// answer one (XEP-0206 apart, nothing on this port speaks it): where its first stream
// header would go, so inside TLS with direct TLS.
func (s spot) http(ctx context.Context, patience time.Duration, e *audit.Endpoint) error {
	l, err := s.begun(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := io.WriteString(l.conn, httpRequest(s.domain)); err != nil {
		return err
	}
	// A server that is silent waits for more, which is no answer.
	timer := time.AfterFunc(patience, func() { _ = l.raw.SetReadDeadline(time.Unix(1, 0)) })
	defer timer.Stop()
	in := bufio.NewReaderSize(l.conn, maxText)
	text, err := in.ReadSlice('\n')
	if len(text) == 0 && ctx.Err() != nil {
		return err
	}
	e.HTTP, e.HTTPTried = strings.TrimSpace(string(text)), true
	timer.Reset(patience)
	_, err = io.Copy(io.Discard, in) // which has an end: see bounded
	e.HTTPClosed = err == nil || over(err)
	return nil
}

// idle holds a connection without a login as long as the other probes go on, and
// for Options.Idle at least.
func (r *run) idle(ctx context.Context, s spot, e *audit.Endpoint, others func()) {
	if e.Preauth == nil {
		others()
		return
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var held time.Duration
	done := make(chan struct{})
	go func() {
		defer close(done)
		held = s.hold(inner)
	}()
	others()
	if r.Idle > 0 {
		timer := time.NewTimer(r.Idle)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	cancel()
	<-done
	if held > 0 {
		e.Preauth.Time = held
	}
}

// hold opens a stream and waits. It gives how long it took until the server ended
// it, 0 if ctx did.
func (s spot) hold(ctx context.Context) time.Duration {
	begin := time.Now()
	l, err := s.begun(ctx)
	if err != nil {
		return 0
	}
	defer l.close()
	if opened := l.open(s.domain); opened.Err != "" || opened.Error != "" {
		return 0
	}
	if l.ended(); ctx.Err() != nil {
		return 0
	}
	return max(time.Since(begin), 1)
}

// ended waits until the far end ends the stream, and says how.
func (l *line) ended() error {
	for {
		e, err := l.next()
		switch {
		case err != nil:
			return err
		case e.Is(xmppstream.NSStream, "error"):
			return errors.New("it ended the stream with an error")
		}
	}
}
