package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Daemon is what the control socket asks. Its methods are called concurrently.
type Daemon interface {
	Status() Status
	// Sessions are those that are open, with the relays of their circuits where
	// these are asked for.
	Sessions(ctx context.Context, relays bool) []Session
	// Reload reads the configuration and the certificates again. An error, best
	// an [*Error], means that everything is as it was.
	Reload(ctx context.Context) error
	Onions
	Accounts
	Audits
}

// requestTime bounds one request from its first byte to the last of its answer.
const requestTime = 30 * time.Second

// Server answers on a control socket.
type Server struct {
	http   *http.Server
	daemon Daemon
	allow  func(peer) bool
}

// Serve answers on l in the background until Close. Connections of other users
// than the daemon's own and root get a 403. log may be nil.
func Serve(l net.Listener, d Daemon, log *slog.Logger) *Server {
	self := os.Geteuid()
	s := newServer(d, func(p peer) bool { return trusts(self, p.uid) })
	if log != nil {
		s.http.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	}
	go s.http.Serve(l)
	return s
}

// peerKey is the key of a request's peer in its context.
type peerKey struct{}

func newServer(d Daemon, allow func(peer) bool) *Server {
	s := &Server{daemon: d, allow: allow}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/sessions", s.sessions)
	mux.HandleFunc("POST /v1/reload", s.reload)
	s.onionRoutes(mux)
	s.accountRoutes(mux)
	s.auditRoutes(mux)
	mux.HandleFunc("/", s.unknown)
	s.http = &http.Server{
		Handler:        s.checked(mux),
		ReadTimeout:    requestTime,
		WriteTimeout:   requestTime,
		IdleTimeout:    requestTime,
		MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if uc, ok := c.(*net.UnixConn); ok {
				if p, err := peerOf(uc); err == nil {
					return context.WithValue(ctx, peerKey{}, p)
				}
			}
			return ctx // without a peer: checked refuses it
		},
	}
	return s
}

// Close ends all connections and closes the listener.
func (s *Server) Close() error { return s.http.Close() }

// checked lets only peers through that may control the daemon.
func (s *Server) checked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := r.Context().Value(peerKey{}).(peer); !ok || !s.allow(p) {
			fail(w, http.StatusForbidden, &Error{
				What: "not allowed",
				Why:  "the control socket answers to the user that runs the daemon, and to root",
				Hint: "run the command as that user, for example with sudo -u",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	status := s.daemon.Status()
	if status.Listeners == nil {
		status.Listeners = []Listener{}
	}
	answer(w, http.StatusOK, status)
}

// sessionList is the answer to GET /v1/sessions.
type sessionList struct {
	Sessions []Session `json:"sessions"`
}

func (s *Server) sessions(w http.ResponseWriter, r *http.Request) {
	list := sessionList{Sessions: s.daemon.Sessions(r.Context(), r.URL.Query().Get("relays") == "true")}
	if list.Sessions == nil {
		list.Sessions = []Session{}
	}
	answer(w, http.StatusOK, list)
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	err := s.daemon.Reload(r.Context())
	if err == nil {
		answer(w, http.StatusOK, struct{}{})
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{What: "the configuration was not reloaded", Why: err.Error()}
	}
	fail(w, http.StatusUnprocessableEntity, e)
}

func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	fail(w, http.StatusNotFound, &Error{
		What: fmt.Sprintf("no such request: %s %.100s", r.Method, r.URL.Path),
		Hint: "docs/control.md lists them; a newer xmpp-gw may know more",
	})
}

func fail(w http.ResponseWriter, status int, e *Error) {
	answer(w, status, errorBody{e})
}

type errorBody struct {
	Error *Error `json:"error"`
}

// answer writes v. A write that fails is the peer's loss.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
