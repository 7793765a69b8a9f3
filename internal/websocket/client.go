package websocket

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	ws "github.com/coder/websocket"
)

// Options say what to ask for.
type Options struct {
	Host  string // HOST or HOST:PORT, for the Host header
	Path  string // begins with "/"; may have a query
	Limit int    // most bytes of one message; SetLimit changes it
}

// maxAnswer bounds the server's answer to the handshake.
const maxAnswer = 16 << 10

// Client shakes hands with the server at the other end of conn, which is ready for
// HTTP/1.1: inside TLS, or at an onion address that proves the server. An error is
// an [*Error], or conn's own, or ctx's; closing conn is the caller's then. No
// redirect is followed and no cookie sent.
func Client(ctx context.Context, conn net.Conn, o Options) (*Conn, error) {
	t := &tap{Conn: conn}
	given := false
	transport := &http.Transport{
		// The one connection there is, for one request.
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if given {
				return nil, errors.New("websocket: a second connection was asked for")
			}
			given = true
			return t, nil
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	socket, answer, err := ws.Dial(context.WithoutCancel(ctx), "ws://"+o.Host+o.Path, &ws.DialOptions{
		HTTPClient:   client,
		HTTPHeader:   http.Header{"User-Agent": nil}, // nobody's business
		Subprotocols: []string{subprotocol},
	})
	if !stop() && err == nil {
		_ = socket.CloseNow()
		err = ctx.Err()
	}
	if err != nil {
		return nil, handshakeError(ctx, t, answer, err)
	}
	if !strings.EqualFold(socket.Subprotocol(), subprotocol) {
		_ = socket.CloseNow()
		return nil, refused("it is a WebSocket for something else (it did not choose the subprotocol xmpp)", hintPath, nil)
	}
	socket.SetReadLimit(int64(o.Limit))
	c := &Conn{Conn: conn, tap: t, ws: socket}
	c.pinger = time.AfterFunc(pingEvery, c.tick)
	return c, nil
}

// handshakeError says why there is no WebSocket.
func handshakeError(ctx context.Context, t *tap, answer *http.Response, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case answer != nil && answer.StatusCode != http.StatusSwitchingProtocols:
		return status(answer.StatusCode)
	case t.noHTTP():
		return refused("its answer is no HTTP", hintPath, err)
	case answer == nil && t.failure() != nil:
		return t.failure()
	}
	return refused("its answer to the handshake is wrong", hintPath, err)
}
