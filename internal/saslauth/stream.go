package saslauth

import "xmpp-gw/internal/xmppstream"

// Stream is what a login needs of the stream it runs on. Deadlines are the
// caller's: ending the context does not interrupt a Next that waits, closing the
// connection or its deadline does.
type Stream interface {
	// Send writes one complete element and flushes it. It does not keep raw,
	// which may hold a secret and is overwritten afterwards.
	Send(raw []byte) error
	// Next reads the next top-level element.
	Next() (*xmppstream.Element, error)
}

// Over makes a Stream of the two halves of one leg.
func Over(r *xmppstream.Reader, w *xmppstream.Writer) Stream { return leg{r, w} }

type leg struct {
	*xmppstream.Reader
	w *xmppstream.Writer
}

func (l leg) Send(raw []byte) error {
	if err := l.w.Raw(raw); err != nil {
		return err
	}
	return l.w.Flush()
}
