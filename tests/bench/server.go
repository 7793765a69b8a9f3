package main

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"xmpp-gw/tests/lab"
)

// The account that the bench logs in with.
const (
	domain   = "bench.example"
	user     = "romeo"
	password = "wherefore"
)

// server is the far end: a place where bytes are counted or sent back. It takes
// logins at one address and none at the other.
type server struct {
	xmpp, bare *lab.Script
	echo       atomic.Bool
	got        atomic.Int64 // bytes after the login
	more       chan struct{}
}

func startServer(cert tls.Certificate) (*server, error) {
	s := &server{more: make(chan struct{}, 1)}
	var err error
	s.xmpp, err = lab.NewScript(func(c *lab.ScriptConn) {
		c.TLS(cert)
		c.Login(domain, user, password)
		s.serve(c.Conn)
	})
	if err != nil {
		return nil, err
	}
	s.bare, err = lab.NewScript(func(c *lab.ScriptConn) {
		c.TLS(cert)
		s.serve(c.Conn)
	})
	return s, err
}

func (s *server) serve(c net.Conn) {
	_ = c.SetDeadline(time.Time{}) // the script had its patience
	var small [1]byte
	var buf []byte
	for {
		// Idle connections hold no buffer here either, so that this process does
		// not crowd out the one that is measured.
		p := small[:]
		if buf != nil {
			p = buf
		}
		n, err := c.Read(p)
		if err != nil {
			return
		}
		if buf == nil {
			buf = make([]byte, 32<<10)
		}
		s.got.Add(int64(n))
		if s.echo.Load() {
			if _, err := c.Write(p[:n]); err != nil {
				return
			}
			continue
		}
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
}

// wait returns when n bytes have come since the count was at from.
func (s *server) wait(from, n int64) {
	for s.got.Load()-from < n {
		<-s.more
	}
}
