package scrub

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
)

// NewHandler returns a handler that scrubs each record and hands it to next.
func NewHandler(next slog.Handler, show Show) slog.Handler {
	return &handler{next: next, show: show}
}

type handler struct {
	next   slog.Handler
	show   Show
	secret bool // inside a group whose name says that it is secret
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.show.Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return &handler{next: h.next.WithAttrs(clean), show: h.show, secret: h.secret}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{
		next:   h.next.WithGroup(h.show.Text(name)),
		show:   h.show,
		secret: h.secret || secretKey(name),
	}
}

func (h *handler) attr(a slog.Attr) slog.Attr {
	if h.secret {
		return slog.String(h.show.Text(a.Key), hiddenSecret)
	}
	return slog.Attr{Key: h.show.Text(a.Key), Value: h.value(a.Key, a.Value)}
}

// value scrubs v, which stands under key.
func (h *handler) value(key string, v slog.Value) slog.Value {
	v = v.Resolve() // a LogValuer that panics becomes an error here
	if secretKey(key) {
		return slog.StringValue(hiddenSecret)
	}
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(h.named(key, v.String()))
	case slog.KindGroup:
		group := slices.Clone(v.Group())
		for i, a := range group {
			group[i] = h.attr(a)
		}
		return slog.GroupValue(group...)
	case slog.KindAny:
		return slog.StringValue(h.named(key, text(v.Any())))
	}
	return v // a number, a truth value, a time or a duration
}

// named is Text for a value whose key already says what it is.
func (h *handler) named(key, s string) string {
	switch {
	case s == "":
		return s
	case jidKey(key) && !h.show.JIDs:
		return hiddenJID
	case addressKey(key) && !h.show.Addresses:
		return hiddenAddress
	}
	return h.show.Text(s)
}

// text is what a log line says of x. Anything that does not know how to print
// itself goes through JSON, which leaves unexported fields out and lets a Secret
// hide itself wherever it is.
func text(x any) (s string) {
	defer func() {
		if recover() != nil { // a nil pointer in a Stringer or an error
			s = fmt.Sprintf("[unprintable %T]", x)
		}
	}()
	switch x := x.(type) {
	case nil:
		return "<nil>"
	case error:
		return x.Error()
	case fmt.Stringer:
		return x.String()
	case []byte:
		return string(x)
	}
	if v := reflect.ValueOf(x); v.Kind() == reflect.String {
		return v.String()
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // so that markup is still seen as such
	if enc.Encode(x) != nil {
		return fmt.Sprintf("[unprintable %T]", x)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
