package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/xmppstream"
)

// clip bounds a text that came from the far end. It stays as it was otherwise: who
// shows it makes it safe.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// clipAll bounds a list and each of its texts.
func clipAll(list []string) []string {
	list = list[:min(len(list), maxKept)]
	for i, s := range list {
		list[i] = clip(s)
	}
	return list
}

// reason is err in words, without the addresses that package net puts into it.
func reason(err error) string {
	var protocol *xmppstream.Error
	var op *net.OpError
	var way *egress.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &protocol):
		return "it sent what is no XMPP: " + protocol.Text
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "it was called off"
	case over(err):
		return "the connection was closed"
	case errors.As(err, &way):
		// Without the route, which is the report's, and the hint, which is for clients
		// of the gateway.
		return strings.TrimSuffix(way.What+": "+strings.TrimPrefix(way.Why, way.What+": "), ": ")
	case errors.As(err, &certificate):
		return "its certificate is not good: " + strings.TrimPrefix(certificate.Err.Error(), "x509: ")
	case errors.As(err, &op) && op.Err != nil:
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return err.Error()
}

// over reports whether err says that the connection was ended.
func over(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
