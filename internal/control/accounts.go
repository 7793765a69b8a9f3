package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Account is one account of the node.
type Account struct {
	JID      string `json:"jid"`
	Admin    bool   `json:"admin"`
	Disabled bool   `json:"disabled"`
	Created  string `json:"created,omitempty"`   // RFC 3339; absent where it is not known
	LastSeen string `json:"last_seen,omitempty"` // the end of the last session; absent for never
	Sessions int    `json:"sessions"`            // now
}

// NewAccount asks for an account to be made. A JID without a domain is at the
// node's own.
type NewAccount struct {
	JID      string `json:"jid"`
	Password string `json:"password"`
	Admin    bool   `json:"admin,omitempty"`
}

// Invitation asks for an invitation to be made.
type Invitation struct {
	// Name is kept for the guest; empty: any.
	Name string `json:"name,omitempty"`
	// Contact is the account that becomes the guest's contact; empty: none.
	Contact string `json:"contact,omitempty"`
	// Lifetime is how long it can be used, in seconds; 0: a week.
	Lifetime int64 `json:"lifetime_seconds,omitempty"`
	// Uses is how often; 0: once.
	Uses int `json:"uses,omitempty"`
}

// Invited is an invitation that was made. The link is a secret between those who
// invite and their guest.
type Invited struct {
	URI     string    `json:"uri"` // xmpp:...?register;preauth=...
	Domain  string    `json:"domain"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"`
}

// Imported is what an import did.
type Imported struct {
	Accounts []ImportedAccount `json:"accounts"`
	// Notes are about what was in the file and is not kept here.
	Notes []string `json:"notes"`
}

// ImportedAccount is one account of an import.
type ImportedAccount struct {
	JID string `json:"jid"`
	// Error says why it was not imported; empty where it was.
	Error    string `json:"error,omitempty"`
	Contacts int    `json:"contacts"`
	Offline  int    `json:"offline_messages"`
	Archived int    `json:"archived_messages"`
	Items    int    `json:"items"` // documents, and items of personal eventing
	// Weak: the file has no keys for the newer hashes of SCRAM, until the password
	// is set again.
	Weak bool `json:"weak,omitempty"`
}

// Accounts is what can be asked about the node's accounts: by [Client] of a daemon,
// and by a [Server] of its daemon. Errors are best an [*Error].
type Accounts interface {
	Accounts(ctx context.Context) ([]Account, error)
	AddAccount(ctx context.Context, a NewAccount) (Account, error)
	SetPassword(ctx context.Context, jid, password string) (Account, error)
	// SetDisabled makes that nobody can log in, or lets them again.
	SetDisabled(ctx context.Context, jid string, disabled bool) (Account, error)
	// SetAdmin lets an account administer the node from within a client, or no more.
	SetAdmin(ctx context.Context, jid string, admin bool) (Account, error)
	// RemoveAccount removes an account with all that it owns.
	RemoveAccount(ctx context.Context, jid string) (Account, error)
	Invite(ctx context.Context, i Invitation) (Invited, error)
	// Export writes accounts as XEP-0227 does, all of them for no JIDs.
	Export(ctx context.Context, jids []string, w io.Writer) error
	// Import reads accounts in that format. Those that exist are left as they are.
	Import(ctx context.Context, r io.Reader) (Imported, error)
}

type (
	accountList struct {
		Accounts []Account `json:"accounts"`
	}
	passwordRequest struct {
		Password string `json:"password"`
	}
)

// transferTime bounds one piece of an export or an import, not all of it.
const transferTime = time.Minute

// accountRoutes adds the requests about accounts.
func (s *Server) accountRoutes(mux *http.ServeMux) {
	d := s.daemon
	mux.HandleFunc("GET /v1/accounts", handle(func(r *http.Request, _ nothing) (any, error) {
		list, err := d.Accounts(r.Context())
		return accountList{append([]Account{}, list...)}, err
	}))
	mux.HandleFunc("POST /v1/accounts", handle(func(r *http.Request, q NewAccount) (any, error) {
		return d.AddAccount(r.Context(), q)
	}))
	mux.HandleFunc("POST /v1/accounts/{jid}/password", handle(func(r *http.Request, q passwordRequest) (any, error) {
		return d.SetPassword(r.Context(), r.PathValue("jid"), q.Password)
	}))
	for verb, disabled := range map[string]bool{"disable": true, "enable": false} {
		mux.HandleFunc("POST /v1/accounts/{jid}/"+verb, handle(func(r *http.Request, _ nothing) (any, error) {
			return d.SetDisabled(r.Context(), r.PathValue("jid"), disabled)
		}))
	}
	for verb, admin := range map[string]bool{"appoint": true, "dismiss": false} {
		mux.HandleFunc("POST /v1/accounts/{jid}/"+verb, handle(func(r *http.Request, _ nothing) (any, error) {
			return d.SetAdmin(r.Context(), r.PathValue("jid"), admin)
		}))
	}
	mux.HandleFunc("DELETE /v1/accounts/{jid}", handle(func(r *http.Request, _ nothing) (any, error) {
		return d.RemoveAccount(r.Context(), r.PathValue("jid"))
	}))
	mux.HandleFunc("POST /v1/invitations", handle(func(r *http.Request, q Invitation) (any, error) {
		return d.Invite(r.Context(), q)
	}))
	mux.HandleFunc("GET /v1/export", s.export)
	mux.HandleFunc("POST /v1/import", s.importAccounts)
}

// export answers with a document of any length. What fails after its first byte
// cuts the connection, so that nobody takes the half for the whole.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
	err := s.daemon.Export(r.Context(), r.URL.Query()["jid"], out)
	switch {
	case err == nil:
	case out.begun:
		panic(http.ErrAbortHandler)
	default:
		fail(w, http.StatusUnprocessableEntity, asError(err))
	}
}

func (s *Server) importAccounts(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Time{}) // the answer comes when all is read
	report, err := s.daemon.Import(r.Context(), patientReader{r.Body, c})
	_ = c.SetWriteDeadline(time.Now().Add(transferTime))
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, asError(err))
		return
	}
	report.Accounts = append([]ImportedAccount{}, report.Accounts...)
	report.Notes = append([]string{}, report.Notes...)
	answer(w, http.StatusOK, report)
}

func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{What: "it could not be done", Why: err.Error()}
}

// patientWriter gives each piece its own time.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", "application/xml")
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(transferTime))
	return p.w.Write(b)
}

// patientReader gives each piece its own time.
type patientReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (p patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(transferTime))
	return p.r.Read(b)
}

var _ Accounts = (*Client)(nil)

func accountPath(parts ...string) string {
	path := "/v1/accounts"
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// Accounts asks for all accounts; see [Accounts].
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	var list accountList
	err := c.ask(ctx, http.MethodGet, accountPath(), nil, &list)
	return list.Accounts, err
}

// AddAccount makes an account; see [Accounts].
func (c *Client) AddAccount(ctx context.Context, n NewAccount) (a Account, err error) {
	err = c.ask(ctx, http.MethodPost, accountPath(), n, &a)
	return a, err
}

// SetPassword replaces a password; see [Accounts].
func (c *Client) SetPassword(ctx context.Context, jid, password string) (a Account, err error) {
	err = c.ask(ctx, http.MethodPost, accountPath(jid, "password"), passwordRequest{password}, &a)
	return a, err
}

// SetDisabled locks an account, or opens it; see [Accounts].
func (c *Client) SetDisabled(ctx context.Context, jid string, disabled bool) (a Account, err error) {
	verb := "enable"
	if disabled {
		verb = "disable"
	}
	err = c.ask(ctx, http.MethodPost, accountPath(jid, verb), nothing{}, &a)
	return a, err
}

// SetAdmin gives an account an administrator's rights, or takes them; see [Accounts].
func (c *Client) SetAdmin(ctx context.Context, jid string, admin bool) (a Account, err error) {
	verb := "dismiss"
	if admin {
		verb = "appoint"
	}
	err = c.ask(ctx, http.MethodPost, accountPath(jid, verb), nothing{}, &a)
	return a, err
}

// RemoveAccount removes an account; see [Accounts].
func (c *Client) RemoveAccount(ctx context.Context, jid string) (a Account, err error) {
	err = c.ask(ctx, http.MethodDelete, accountPath(jid), nil, &a)
	return a, err
}

// Invite makes an invitation; see [Accounts].
func (c *Client) Invite(ctx context.Context, i Invitation) (v Invited, err error) {
	err = c.ask(ctx, http.MethodPost, "/v1/invitations", i, &v)
	return v, err
}

// Export writes accounts to w; see [Accounts].
func (c *Client) Export(ctx context.Context, jids []string, w io.Writer) error {
	return c.transfer(ctx, http.MethodGet, "/v1/export?"+url.Values{"jid": jids}.Encode(), nil, func(r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Import reads accounts from r; see [Accounts].
func (c *Client) Import(ctx context.Context, r io.Reader) (i Imported, err error) {
	err = c.transfer(ctx, http.MethodPost, "/v1/import", r, func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&i)
	})
	return i, err
}

// transfer does a request that takes as long as it takes.
func (c *Client) transfer(ctx context.Context, method, path string, body io.Reader, take func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://xmpp-gw"+path, body)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: c.http.Transport}).Do(req)
	if err != nil {
		if errors.Is(err, ErrNotRunning) {
			return fmt.Errorf("%w: nothing listens at %s", ErrNotRunning, c.path)
		}
		return fmt.Errorf("ask the daemon: %w", errors.Unwrap(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if err := take(resp.Body); err != nil {
			return fmt.Errorf("the daemon's answer ended early: %w", err)
		}
		return nil
	}
	var failed errorBody
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&failed); err != nil || failed.Error == nil {
		return fmt.Errorf("the daemon answered %s", resp.Status)
	}
	return failed.Error
}
