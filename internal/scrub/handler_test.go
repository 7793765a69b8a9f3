package scrub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

type stringer struct{ s string }

func (s stringer) String() string { return s.s }

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

type panicker struct{}

func (*panicker) Error() string { panic("no") }

type named string

type nested struct {
	Host   string `json:"host"`
	Pass   Secret
	Inner  map[string]string
	hidden string
}

// The needles that no line of the log may hold.
var needles = []string{
	"192.0.2.7", "2001:db8", "example", onion, "alice", "hunter2", "phone", "s3cr3t", "two words", "hello",
}

func TestHandler(t *testing.T) {
	jid := "alice@example.org/phone"
	err := fmt.Errorf("login of %s: %w", jid, errors.New("dial 192.0.2.7:5222: refused"))
	tests := []struct {
		name string
		log  func(*slog.Logger)
		want string // what must be left
	}{
		{"message", func(l *slog.Logger) { l.Info("gone: " + jid) }, "gone: [jid]"},
		{"string", func(l *slog.Logger) { l.Info("m", "what", "to 192.0.2.7:5222") }, "to [address]"},
		{"error", func(l *slog.Logger) { l.Info("m", "err", err) }, "login of [jid]: dial [address]: refused"},
		{"joined errors", func(l *slog.Logger) { l.Info("m", "err", errors.Join(err, err)) }, "refused"},
		{"stringer", func(l *slog.Logger) { l.Info("m", "x", stringer{jid}) }, "[jid]"},
		{"IP", func(l *slog.Logger) { l.Info("m", "x", net.ParseIP("192.0.2.7")) }, "[address]"},
		{"netip", func(l *slog.Logger) { l.Info("m", "x", netip.MustParseAddrPort("[2001:db8::1]:1")) }, "[address]"},
		{"bytes", func(l *slog.Logger) { l.Info("m", "x", []byte(jid)) }, "[jid]"},
		{"named string", func(l *slog.Logger) { l.Info("m", "x", named(jid)) }, "[jid]"},
		{"slice", func(l *slog.Logger) { l.Info("m", "x", []string{jid, "192.0.2.7"}) }, "[jid]"},
		{"stanza in a struct", func(l *slog.Logger) {
			l.Info("m", "x", struct{ S string }{"<message><body>hello</body></message>"})
		}, "[xml]"},
		{"struct", func(l *slog.Logger) {
			l.Info("m", "x", nested{"example.org", "hunter2", map[string]string{"password": "s3cr3t"}, "hunter2"})
		}, "[address]"},
		{"pointer to struct", func(l *slog.Logger) { l.Info("m", "x", &nested{hidden: jid, Host: "192.0.2.7"}) }, "[address]"},
		{"unprintable", func(l *slog.Logger) { l.Info("m", "x", func() {}) }, "[unprintable func()]"},
		{"nil pointer error", func(l *slog.Logger) { l.Info("m", "x", (*panicker)(nil)) }, "[unprintable"},
		{"LogValuer", func(l *slog.Logger) { l.Info("m", "x", valuer{slog.StringValue(jid)}) }, "[jid]"},
		{"LogValuer of a group", func(l *slog.Logger) {
			l.Info("m", "x", valuer{slog.GroupValue(slog.String("password", "hunter2"))})
		}, "[secret]"},
		{"group", func(l *slog.Logger) {
			l.Info("m", slog.Group("g", slog.Group("h", "who", jid, "n", 7)))
		}, "7"},
		{"secret group", func(l *slog.Logger) { l.Info("m", slog.Group("auth", "mech", "hunter2")) }, "[secret]"},
		{"With", func(l *slog.Logger) { l.With("who", jid, "token", "s3cr3t").Info("m") }, "[secret]"},
		{"WithGroup", func(l *slog.Logger) { l.WithGroup("g").With("who", jid).Info("m", "at", "192.0.2.7") }, "[address]"},
		{"WithGroup that is secret", func(l *slog.Logger) {
			l.WithGroup("credentials").WithGroup("x").Info("m", "a", "hunter2")
		}, "[secret]"},
		{"secret by key", func(l *slog.Logger) {
			l.Info("m", "password", "hunter2", "api_key", "hunter2", "authToken", "hunter2", "Response", "two words",
				"PRIVATE-KEY", []byte("hunter2"), "keys", []string{"hunter2"})
		}, "[secret]"},
		{"Secret", func(l *slog.Logger) { l.Info("m", "x", Secret("hunter2")) }, "[secret]"},
		{"Secret in a struct", func(l *slog.Logger) { l.Info("m", "x", struct{ P Secret }{"hunter2"}) }, "[secret]"},
		{"JID without a domain", func(l *slog.Logger) { l.Info("m", "user", "alice") }, "[jid]"},
		{"host of one label", func(l *slog.Logger) { l.Info("m", "host", "example") }, "[address]"},
		{"key", func(l *slog.Logger) { l.Info("m", jid, 1) }, "[jid]"},
		{"format", func(l *slog.Logger) {
			l.Info(fmt.Sprintf("%s %v %q %x %#v", Secret("hunter2"), Secret("hunter2"), Secret("hunter2"), Secret("hunter2"), Secret("hunter2")))
		}, "[secret]"},
		{"numbers", func(l *slog.Logger) {
			l.Info("m", "n", 5222, "ok", true, "d", 3*time.Second, "f", 0.5)
		}, "5222"},
	}
	for _, tt := range tests {
		for _, format := range []string{"text", "json"} {
			t.Run(tt.name+"/"+format, func(t *testing.T) {
				var out bytes.Buffer
				tt.log(slog.New(NewHandler(sink(&out, format), Show{})))
				for _, needle := range needles {
					if strings.Contains(out.String(), needle) {
						t.Errorf("%q survived in %s", needle, &out)
					}
				}
				if got := strings.ReplaceAll(out.String(), `\"`, `"`); !strings.Contains(got, tt.want) {
					t.Errorf("no %q in %s", tt.want, &out)
				}
				if format == "json" && !json.Valid(out.Bytes()) {
					t.Errorf("not JSON: %s", &out)
				}
			})
		}
	}
}

func sink(out *bytes.Buffer, format string) slog.Handler {
	o := &slog.HandlerOptions{Level: slog.LevelDebug}
	if format == "json" {
		return slog.NewJSONHandler(out, o)
	}
	return slog.NewTextHandler(out, o)
}

// Secrets stay hidden whatever is shown.
func TestHandlerShows(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(NewHandler(slog.NewTextHandler(&out, nil), Show{Addresses: true, JIDs: true}))
	l.Info("alice@example.org from 192.0.2.7", "user", "alice", "host", "nas", "password", "hunter2", "s", Secret("hunter2"))
	for _, want := range []string{"alice@example.org from 192.0.2.7", "user=alice", "host=nas", "password=[secret]", "s=[secret]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
}

func TestHandlerEnabled(t *testing.T) {
	h := NewHandler(slog.NewTextHandler(&bytes.Buffer{}, nil), Show{})
	if h.Enabled(context.Background(), slog.LevelDebug) || !h.Enabled(context.Background(), slog.LevelInfo) {
		t.Error("the level of the handler behind it does not hold")
	}
}

// The group of a caller is shared between records: it must not be written to.
func TestHandlerLeavesGroupsAlone(t *testing.T) {
	attrs := []slog.Attr{slog.String("who", "alice@example.org")}
	g := slog.Attr{Key: "g", Value: slog.GroupValue(attrs...)}
	slog.New(NewHandler(slog.NewTextHandler(&bytes.Buffer{}, nil), Show{})).Info("m", g)
	if got := attrs[0].Value.String(); got != "alice@example.org" {
		t.Errorf("the caller's group now says %q", got)
	}
}

func BenchmarkHandler(b *testing.B) {
	l := slog.New(NewHandler(slog.DiscardHandler, Show{}))
	if l.Enabled(context.Background(), slog.LevelInfo) {
		b.Fatal("the discarding handler is enabled")
	}
	l = slog.New(NewHandler(slog.NewTextHandler(discard{}, nil), Show{}))
	b.ReportAllocs()
	for b.Loop() {
		l.Info("session closed", "id", "7f3a", "reason", "the client closed its stream", "up", 1234)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
