package server

import (
	"time"

	"xmpp-gw/internal/xmppstream"
)

// Limits bounds what one client may cost, and all of them together. The zero
// value stands for [DefaultLimits]; with some fields set, the others are taken
// from there. A negative number is no bound.
type Limits struct {
	PreAuth xmppstream.Limits // of one element before the login
	Session xmppstream.Limits // of one stanza after it

	// Connections on which nobody is logged in, together. Beyond it the oldest of
	// them ends.
	Unauthenticated        int
	UnauthenticatedPerPeer int // the same, of one peer ([ConnOptions.Peer])
	Connections            int // all connections together
	ConnectionsPerPeer     int // of one peer, logged in or not
	Sessions               int // of one account

	// What a client may send before the server slows down reading from it: so many
	// a second, and so many at once before that counts.
	Bytes, BytesBurst     int
	Stanzas, StanzasBurst int

	Queue   int // bytes that wait for one session to take them
	Unacked int // stanzas that one session has not acknowledged (XEP-0198)

	Negotiation time.Duration // until the login, and then until a resource is bound
	Resume      time.Duration // for which a lost session can be resumed
	IdlePing    time.Duration // silence after which a client is asked whether it is there
	PingTimeout time.Duration // silence after that, or a write that waits for so long, which ends the connection
	Drain       time.Duration // for the last words of a connection
}

// DefaultLimits are generous to a phone behind a slow circuit and strict to a stranger.
func DefaultLimits() Limits {
	return Limits{
		PreAuth:                xmppstream.PreAuthLimits(),
		Session:                xmppstream.SessionLimits(),
		Unauthenticated:        1000,
		UnauthenticatedPerPeer: 20,
		Connections:            -1,
		ConnectionsPerPeer:     200,
		Sessions:               25,
		Bytes:                  256 << 10,
		BytesBurst:             2 << 20,
		Stanzas:                500,
		StanzasBurst:           5000,
		Queue:                  4 << 20,
		Unacked:                5000,
		Negotiation:            time.Minute,
		Resume:                 10 * time.Minute,
		IdlePing:               5 * time.Minute,
		PingTimeout:            2 * time.Minute,
		Drain:                  5 * time.Second,
	}
}

// orDefault fills what is not set.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.PreAuth == (xmppstream.Limits{}) {
		l.PreAuth = d.PreAuth
	}
	if l.Session == (xmppstream.Limits{}) {
		l.Session = d.Session
	}
	for _, f := range []struct {
		at   *int
		from int
	}{
		{&l.Unauthenticated, d.Unauthenticated}, {&l.UnauthenticatedPerPeer, d.UnauthenticatedPerPeer},
		{&l.Connections, d.Connections}, {&l.ConnectionsPerPeer, d.ConnectionsPerPeer}, {&l.Sessions, d.Sessions},
		{&l.Bytes, d.Bytes}, {&l.BytesBurst, d.BytesBurst}, {&l.Stanzas, d.Stanzas}, {&l.StanzasBurst, d.StanzasBurst},
		{&l.Queue, d.Queue}, {&l.Unacked, d.Unacked},
	} {
		if *f.at == 0 {
			*f.at = f.from
		}
	}
	for _, f := range []struct {
		at   *time.Duration
		from time.Duration
	}{
		{&l.Negotiation, d.Negotiation}, {&l.Resume, d.Resume}, {&l.IdlePing, d.IdlePing},
		{&l.PingTimeout, d.PingTimeout}, {&l.Drain, d.Drain},
	} {
		if *f.at == 0 {
			*f.at = f.from
		}
	}
	return l
}

// over reports whether n is beyond a bound.
func over(n, bound int) bool { return bound >= 0 && n > bound }

// bucket is a token bucket. The clock is looked at only when it is empty.
type bucket struct {
	left int
	at   time.Time // when it was filled last
}

// take takes n tokens and says how long to wait before more may be taken. A rate
// that is negative is no limit.
func (b *bucket) take(n, rate, burst int, now func() time.Time) time.Duration {
	if rate < 0 {
		return 0
	}
	if b.left -= n; b.left >= 0 {
		return 0
	}
	t := now()
	if b.at.IsZero() {
		b.at, b.left = t, b.left+burst
	} else if gained := int64(t.Sub(b.at).Seconds() * float64(rate)); gained > 0 {
		b.left, b.at = int(min(int64(burst), int64(b.left)+gained)), t
	}
	if b.left >= 0 {
		return 0
	}
	return time.Duration(-b.left) * time.Second / time.Duration(rate)
}
