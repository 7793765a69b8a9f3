package control

import (
	"context"
	"net/http"
	"time"
)

// Audits is what the daemon knows of the servers that it logged in at, and of what
// it runs in.
type Audits interface {
	// Verdicts are those of the last login at each domain, by domain.
	Verdicts() []Verdict
	// TorHealth asks the Tor in use; an error means that it does not say.
	TorHealth(ctx context.Context) (TorHealth, error)
	// Egress tries the ways out that should be closed, from within the daemon.
	Egress(ctx context.Context) ([]Attempt, error)
}

// Verdict is what a login showed of its server, judged as `xmpp-gw check` does. It
// is kept in memory alone.
type Verdict struct {
	Domain   string    `json:"domain"`
	At       time.Time `json:"at"`
	Route    string    `json:"route"`
	Endpoint string    `json:"endpoint"`
	// Mode is "enforce" or "report".
	Mode string `json:"mode"`
	// Grade is "A+" to "F", and Rule what set it.
	Grade string `json:"grade"`
	Rule  string `json:"rule"`
	// Worst is the worst of what counts against the server, absent if nothing does.
	Worst *Finding `json:"worst,omitempty"`
	// Warnings and Failures are how many there are.
	Warnings int `json:"warnings"`
	Failures int `json:"failures"`
	// Objections are what mode = "report" let through.
	Objections []string `json:"objections,omitempty"`
}

// Finding is one judgement of a check.
type Finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	Verdict  string `json:"verdict"`
	Evidence string `json:"evidence"`
}

// TorHealth is the answer to GET /v1/tor.
type TorHealth struct {
	SOCKS   string `json:"socks"`
	Version string `json:"version"`
	// Status is what the directory authorities say of the version, and Bootstrap a
	// percentage.
	Status    string `json:"status"`
	Bootstrap int    `json:"bootstrap"`
	// Isolated: streams with other SOCKS credentials get other circuits.
	Isolated bool `json:"isolated"`
	// Open are its listeners that other machines can connect to.
	Open []string `json:"open"`
	// ValidAfter and ValidUntil are those of the consensus; absent without one.
	ValidAfter time.Time `json:"consensus_valid_after,omitzero"`
	ValidUntil time.Time `json:"consensus_valid_until,omitzero"`
}

// Attempt is one try to get out beside the route.
type Attempt struct {
	Way     string `json:"way"` // "dns", "tcp", "udp" or "socks"
	To      string `json:"to"`
	Outcome string `json:"outcome"` // "stopped", "got-out", "no-such-way" or "not-tried"
	How     string `json:"how"`
}

type verdictList struct {
	Verdicts []Verdict `json:"verdicts"`
}

type attemptList struct {
	Attempts []Attempt `json:"attempts"`
}

func (s *Server) auditRoutes(mux *http.ServeMux) {
	d := s.daemon
	mux.HandleFunc("GET /v1/verdicts", handle(func(*http.Request, nothing) (any, error) {
		return verdictList{append([]Verdict{}, d.Verdicts()...)}, nil
	}))
	mux.HandleFunc("GET /v1/tor", handle(func(r *http.Request, _ nothing) (any, error) {
		h, err := d.TorHealth(r.Context())
		h.Open = append([]string{}, h.Open...)
		return h, err
	}))
	mux.HandleFunc("POST /v1/egress", handle(func(r *http.Request, _ nothing) (any, error) {
		list, err := d.Egress(r.Context())
		return attemptList{append([]Attempt{}, list...)}, err
	}))
}

// Verdicts asks for what the last login at each domain showed.
func (c *Client) Verdicts(ctx context.Context) ([]Verdict, error) {
	var list verdictList
	err := c.ask(ctx, http.MethodGet, "/v1/verdicts", nil, &list)
	return list.Verdicts, err
}

// TorHealth asks how the daemon's Tor is.
func (c *Client) TorHealth(ctx context.Context) (TorHealth, error) {
	var h TorHealth
	err := c.ask(ctx, http.MethodGet, "/v1/tor", nil, &h)
	return h, err
}

// Egress makes the daemon try the ways out that should be closed.
func (c *Client) Egress(ctx context.Context) ([]Attempt, error) {
	var list attemptList
	err := c.ask(ctx, http.MethodPost, "/v1/egress", nothing{}, &list)
	return list.Attempts, err
}
