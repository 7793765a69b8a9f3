package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Onion is one published onion service, and what has become of it.
type Onion struct {
	Name    string `json:"name"`
	Address string `json:"address"` // with ".onion"
	// State is "published", "publishing", "failed", "waiting" (for Tor, or for a
	// daemon that runs) or "unpublished" (by its owner; its key is kept).
	State string `json:"state"`
	// Uploaded descriptors of Uploads that were begun; both are 0 until Tor tells.
	Uploaded int `json:"uploaded"`
	Uploads  int `json:"uploads"`
	// Error and Hint say why the state is "failed" or what is in the way.
	Error string      `json:"error,omitempty"`
	Hint  string      `json:"hint,omitempty"`
	Ports []OnionPort `json:"ports"`
	// Restricted: only clients with a key get in, whose names these are.
	Restricted  bool            `json:"restricted"`
	Clients     []string        `json:"clients"`
	Proxy       string          `json:"proxy,omitempty"` // "v1" or "v2": the target gets a PROXY header
	CircuitID   bool            `json:"circuit_id"`
	PoW         bool            `json:"pow"`
	PoWRate     int             `json:"pow_rate,omitempty"`
	PoWBurst    int             `json:"pow_burst,omitempty"`
	IntroPoints int             `json:"intro_points,omitempty"` // 0: Tor's default
	MaxStreams  int             `json:"max_streams,omitempty"`  // 0: no bound
	SingleHop   bool            `json:"single_hop"`
	Backend     string          `json:"backend_of,omitempty"` // the OnionBalance frontend's address
	Created     time.Time       `json:"created"`
	Previous    []PreviousOnion `json:"previous"`
}

// The states of a service.
const (
	OnionPublished   = "published"
	OnionPublishing  = "publishing"
	OnionFailed      = "failed"
	OnionWaiting     = "waiting"
	OnionUnpublished = "unpublished"
)

// OnionPort is one port of a service.
type OnionPort struct {
	Port   int    `json:"port"`   // what clients connect to
	Target string `json:"target"` // IP:PORT or unix:PATH
	// Error says why the target does not answer; empty where it does, or where
	// nobody has tried.
	Error string `json:"error,omitempty"`
	// Refused is how many connections the limits turned away.
	Refused uint64 `json:"refused,omitempty"`
}

// PreviousOnion is an address that a rotation replaced and that still answers.
type PreviousOnion struct {
	Address string    `json:"address"`
	Until   time.Time `json:"until"`
}

// Publication asks for a service to be published. What is nil stays as it is at
// a service that exists, and is the default at a new one.
type Publication struct {
	Name        string      `json:"name"`
	Ports       []OnionPort `json:"ports,omitempty"`
	Proxy       *string     `json:"proxy,omitempty"`
	CircuitID   *bool       `json:"circuit_id,omitempty"`
	PoW         *bool       `json:"pow,omitempty"`
	PoWRate     *int        `json:"pow_rate,omitempty"`
	PoWBurst    *int        `json:"pow_burst,omitempty"`
	IntroPoints *int        `json:"intro_points,omitempty"`
	MaxStreams  *int        `json:"max_streams,omitempty"`
	SingleHop   *bool       `json:"single_hop,omitempty"`
	Backend     *string     `json:"backend_of,omitempty"`
	// Key is the content of Tor's hs_ed25519_secret_key, for a new service alone;
	// empty: a new key.
	Key []byte `json:"key,omitempty"`
	// KeyOnly puts a new service's key aside without publishing it.
	KeyOnly bool `json:"key_only,omitempty"`
}

// OnionClient is a client that was let in, with the one string to hand over.
type OnionClient struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Private string `json:"private"` // a secret: tor's line of an .auth_private file
}

// Onions is what can be asked about onion services: by [Client] of a daemon, and
// by a [Server] of its daemon. Errors are best an [*Error].
type Onions interface {
	Onions(ctx context.Context) ([]Onion, error)
	Onion(ctx context.Context, name string) (Onion, error)
	Publish(ctx context.Context, p Publication) (Onion, error)
	// Unpublish takes a service out of the network; with forgetKey for good.
	Unpublish(ctx context.Context, name string, forgetKey bool) error
	// Rotate gives a service a new key; the old address answers for overlap more.
	Rotate(ctx context.Context, name string, overlap time.Duration) (Onion, error)
	// Key is the content of the service's hs_ed25519_secret_key.
	Key(ctx context.Context, name string) ([]byte, error)
	AddClient(ctx context.Context, name, client string) (OnionClient, error)
	RemoveClient(ctx context.Context, name, client string) error
	// Open lets everybody in again, once no client is left.
	Open(ctx context.Context, name string) error

	// Auths are the addresses of other people's services that we have a client's
	// key for.
	Auths(ctx context.Context) ([]string, error)
	AddAuth(ctx context.Context, line string) (address string, err error)
	RemoveAuth(ctx context.Context, address string) error
}

// maxOverlap bounds a rotation's overlap, far below where a time.Duration ends.
const maxOverlap = 10 * 365 * 24 * time.Hour

// overlap is how long the old address goes on.
func (q rotateRequest) overlap() (time.Duration, error) {
	if q.Overlap == nil || *q.Overlap < 0 || *q.Overlap > int64(maxOverlap/time.Second) {
		return 0, &Error{
			What: "the onion service keeps its address", Why: "overlap_seconds is missing, negative or more than ten years",
			Hint: "give the seconds for which the old address goes on; 0 ends it at once and for ever",
		}
	}
	return time.Duration(*q.Overlap) * time.Second, nil
}

// maxQuestion bounds the body of a request.
const maxQuestion = 64 << 10

type (
	onionList struct {
		Onions []Onion `json:"onions"`
	}
	clientRequest struct {
		Name string `json:"name"`
	}
	rotateRequest struct {
		// A pointer, since a request without it must not be one that ends the old
		// address at once.
		Overlap *int64 `json:"overlap_seconds"`
	}
	keyAnswer struct {
		Key []byte `json:"key"`
	}
	authRequest struct {
		Line string `json:"line"`
	}
	authAnswer struct {
		Address string `json:"address"`
	}
	authList struct {
		Addresses []string `json:"addresses"`
	}
	nothing struct{}
)

// onionRoutes adds the requests about onion services.
func (s *Server) onionRoutes(mux *http.ServeMux) {
	d := s.daemon
	mux.HandleFunc("GET /v1/onions", handle(func(r *http.Request, _ nothing) (any, error) {
		list, err := d.Onions(r.Context())
		return onionList{append([]Onion{}, list...)}, err
	}))
	mux.HandleFunc("POST /v1/onions", handle(func(r *http.Request, p Publication) (any, error) { return d.Publish(r.Context(), p) }))
	mux.HandleFunc("GET /v1/onions/{name}", handle(func(r *http.Request, _ nothing) (any, error) {
		return d.Onion(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("DELETE /v1/onions/{name}", handle(func(r *http.Request, _ nothing) (any, error) {
		return nothing{}, d.Unpublish(r.Context(), r.PathValue("name"), r.URL.Query().Get("forget_key") == "true")
	}))
	mux.HandleFunc("POST /v1/onions/{name}/rotate", handle(func(r *http.Request, q rotateRequest) (any, error) {
		overlap, err := q.overlap()
		if err != nil {
			return nil, err
		}
		return d.Rotate(r.Context(), r.PathValue("name"), overlap)
	}))
	mux.HandleFunc("GET /v1/onions/{name}/key", handle(func(r *http.Request, _ nothing) (any, error) {
		key, err := d.Key(r.Context(), r.PathValue("name"))
		return keyAnswer{key}, err
	}))
	mux.HandleFunc("POST /v1/onions/{name}/clients", handle(func(r *http.Request, q clientRequest) (any, error) {
		return d.AddClient(r.Context(), r.PathValue("name"), q.Name)
	}))
	mux.HandleFunc("DELETE /v1/onions/{name}/clients/{client}", handle(func(r *http.Request, _ nothing) (any, error) {
		return nothing{}, d.RemoveClient(r.Context(), r.PathValue("name"), r.PathValue("client"))
	}))
	mux.HandleFunc("POST /v1/onions/{name}/open", handle(func(r *http.Request, _ nothing) (any, error) {
		return nothing{}, d.Open(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("GET /v1/onion-auth", handle(func(r *http.Request, _ nothing) (any, error) {
		list, err := d.Auths(r.Context())
		return authList{append([]string{}, list...)}, err
	}))
	mux.HandleFunc("POST /v1/onion-auth", handle(func(r *http.Request, q authRequest) (any, error) {
		address, err := d.AddAuth(r.Context(), q.Line)
		return authAnswer{address}, err
	}))
	mux.HandleFunc("DELETE /v1/onion-auth/{address}", handle(func(r *http.Request, _ nothing) (any, error) {
		return nothing{}, d.RemoveAuth(r.Context(), r.PathValue("address"))
	}))
}

// handle answers one kind of request, whose body is read into a Q. A field that
// is not known is refused: a setting that a newer command asks for must not be
// left out in silence.
func handle[Q any](act func(*http.Request, Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if r.Method == http.MethodPost {
			body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion))
			body.DisallowUnknownFields()
			if err := body.Decode(&q); err != nil {
				fail(w, http.StatusBadRequest, &Error{What: "the request cannot be read", Why: err.Error(), Hint: "docs/control.md describes it"})
				return
			}
		}
		a, err := act(r, q)
		if err == nil {
			answer(w, http.StatusOK, a)
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = &Error{What: "it could not be done", Why: err.Error()}
		}
		fail(w, http.StatusUnprocessableEntity, e)
	}
}

var _ Onions = (*Client)(nil)

// Onions asks for all services; see [Onions].
func (c *Client) Onions(ctx context.Context) ([]Onion, error) {
	var list onionList
	err := c.ask(ctx, http.MethodGet, "/v1/onions", nil, &list)
	return list.Onions, err
}

func onionPath(parts ...string) string {
	path := "/v1/onions"
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// Onion asks for one service; see [Onions].
func (c *Client) Onion(ctx context.Context, name string) (o Onion, err error) {
	err = c.ask(ctx, http.MethodGet, onionPath(name), nil, &o)
	return o, err
}

// Publish asks for a service to be published, or changed; see [Onions].
func (c *Client) Publish(ctx context.Context, p Publication) (o Onion, err error) {
	err = c.ask(ctx, http.MethodPost, onionPath(), p, &o)
	return o, err
}

// Unpublish asks for a service to be taken out of the network; see [Onions].
func (c *Client) Unpublish(ctx context.Context, name string, forgetKey bool) error {
	return c.ask(ctx, http.MethodDelete, onionPath(name)+fmt.Sprintf("?forget_key=%v", forgetKey), nil, &nothing{})
}

// Rotate asks for a new address for a service; see [Onions].
func (c *Client) Rotate(ctx context.Context, name string, overlap time.Duration) (o Onion, err error) {
	seconds := int64(overlap / time.Second)
	err = c.ask(ctx, http.MethodPost, onionPath(name, "rotate"), rotateRequest{&seconds}, &o)
	return o, err
}

// Key asks for a service's key; see [Onions].
func (c *Client) Key(ctx context.Context, name string) ([]byte, error) {
	var a keyAnswer
	err := c.ask(ctx, http.MethodGet, onionPath(name, "key"), nil, &a)
	return a.Key, err
}

// AddClient lets a client in; see [Onions].
func (c *Client) AddClient(ctx context.Context, name, client string) (o OnionClient, err error) {
	err = c.ask(ctx, http.MethodPost, onionPath(name, "clients"), clientRequest{client}, &o)
	return o, err
}

// RemoveClient lets a client in no more; see [Onions].
func (c *Client) RemoveClient(ctx context.Context, name, client string) error {
	return c.ask(ctx, http.MethodDelete, onionPath(name, "clients", client), nil, &nothing{})
}

// Open lets everybody in; see [Onions].
func (c *Client) Open(ctx context.Context, name string) error {
	return c.ask(ctx, http.MethodPost, onionPath(name, "open"), nothing{}, &nothing{})
}

// Auths asks whose services keys are kept for; see [Onions].
func (c *Client) Auths(ctx context.Context) ([]string, error) {
	var list authList
	err := c.ask(ctx, http.MethodGet, "/v1/onion-auth", nil, &list)
	return list.Addresses, err
}

// AddAuth keeps a key for another's service; see [Onions].
func (c *Client) AddAuth(ctx context.Context, line string) (string, error) {
	var a authAnswer
	err := c.ask(ctx, http.MethodPost, "/v1/onion-auth", authRequest{line}, &a)
	return a.Address, err
}

// RemoveAuth forgets a key for another's service; see [Onions].
func (c *Client) RemoveAuth(ctx context.Context, address string) error {
	return c.ask(ctx, http.MethodDelete, "/v1/onion-auth/"+url.PathEscape(address), nil, &nothing{})
}
