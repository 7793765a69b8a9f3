package portable

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server/store"
)

// Bounds of what one account brings.
const (
	maxContacts  = 20_000
	maxBlocks    = 20_000
	maxWaiting   = 100_000
	maxWaitBytes = 256 << 20
	maxDocuments = 1000
	maxNodes     = 1000
	maxItems     = 10_000 // of a node
)

// ImportOptions say where accounts go.
type ImportOptions struct {
	// Hosts reports which domains' accounts are taken.
	Hosts func(domain string) bool
	// Done is called after each account that was imported, so that modules forget
	// what they knew of it; it may be nil.
	Done func(owner address.Address)
	Now  func() time.Time // nil: time.Now
}

// Report is what an import did.
type Report struct {
	Accounts []Account
	// Notes are about what was in the document and is not kept here.
	Notes []string
}

// Account is one account of an import.
type Account struct {
	Address address.Address
	// Err says why it was not imported.
	Err                                error
	Contacts, Offline, Archived, Items int
	// Weak: it has not the keys of every hash, until its password is set again.
	Weak bool
}

// Errors of single accounts.
var (
	// ErrExists is for an account that is here already. It is left as it is.
	ErrExists = errors.New("it exists already, and is left as it is")
	// ErrDomain is for one of a domain that is not served here.
	ErrDomain = errors.New("its domain is not served here")
	// ErrKeys is for one with neither keys nor a password that could be used.
	ErrKeys = errors.New("the file has nothing with which it could log in")
)

// Import reads accounts. Those that are here already are left as they are, those
// that cannot be imported are reported, and the others go on. An account that was
// begun and could not be finished is removed again. The error is for a document
// that cannot be read to its end.
func Import(ctx context.Context, st store.Store, r io.Reader, o ImportOptions) (Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &importer{scanner: newScanner(r), ctx: ctx, st: st, ImportOptions: o, noted: map[string]bool{}, claims: map[address.Address][]address.Address{}}
	root, err := i.next()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return i.report, fmt.Errorf("the file is no XML: %w", err)
	case root == nil || !is(root, NS, "server-data"):
		return i.report, errors.New("the file is no export of accounts (XEP-0227)")
	}
	err = i.each(func(e *xml.StartElement) error {
		if is(e, NS, "host") {
			return i.host(e)
		}
		return i.unknown(e)
	})
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return i.report, errors.Join(err, i.agree(context.WithoutCancel(ctx)))
}

type importer struct {
	*scanner
	ImportOptions
	ctx    context.Context
	st     store.Store
	report Report
	noted  map[string]bool
	// claims are the accounts of domains here that imported lists say are seen, with
	// whose lists these are.
	claims map[address.Address][]address.Address
}

// each calls f for every child of the element that is open. f reads it to its end.
func (i *importer) each(f func(*xml.StartElement) error) error {
	for {
		if err := i.ctx.Err(); err != nil {
			return err
		}
		e, err := i.next()
		if err != nil || e == nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// note adds a note, once.
func (i *importer) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !i.noted[text] && len(i.noted) < 100 {
		i.noted[text] = true
		i.report.Notes = append(i.report.Notes, text)
	}
}

// unknown passes over an element (XEP-0227 §3: the operator is told).
func (i *importer) unknown(e *xml.StartElement) error {
	if is(e, nsXInclude, "include") {
		i.note("the file includes others, which were not read: import it from where these are")
	} else {
		i.note("<%.60s xmlns='%.100s'> is not known here and was left out", e.Name.Local, e.Name.Space)
	}
	return i.skip()
}

func (i *importer) host(e *xml.StartElement) error {
	host, err := address.Parse(attr(e, "jid"))
	if err != nil || !host.IsServer() {
		i.note("a host without a valid domain was left out")
		return i.skip()
	}
	return i.each(func(e *xml.StartElement) error {
		if !is(e, NS, "user") {
			return i.unknown(e)
		}
		return i.user(host.Domain, e)
	})
}

// free reports whether there is no such account. What an import left that was killed
// is none: a locked account into which nothing leads. It is removed.
func (i *importer) free(owner address.Address) (bool, error) {
	a, err := i.st.Account(i.ctx, owner)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil || !a.Disabled {
		return false, err
	}
	keys, err := i.st.AccountKeys(i.ctx, owner)
	if err != nil && !errors.Is(err, store.ErrNotFound) || len(keys) > 0 {
		return false, err
	}
	if list, err := i.st.Certificates(i.ctx, owner); err != nil || len(list) > 0 {
		return false, err
	}
	return true, i.st.DeleteAccount(i.ctx, owner)
}

// user imports one account. What is wrong with it is its own; an error is the
// document's.
func (i *importer) user(domain string, e *xml.StartElement) error {
	owner, err := address.Account(attr(e, "name"), domain)
	if err != nil {
		i.report.Accounts = append(i.report.Accounts, Account{Address: address.Address{Local: attr(e, "name"), Domain: domain}, Err: err})
		return i.skip()
	}
	u := &user{importer: i, owner: owner, password: attr(e, "password"), account: store.Account{Address: owner, Created: i.Now()}}
	u.result.Address = owner
	switch free, err := i.free(owner); {
	case !i.Hosts(domain):
		u.result.Err = ErrDomain
	case err != nil:
		return err
	case !free:
		u.result.Err = ErrExists
	}
	err = i.each(func(e *xml.StartElement) error {
		if u.result.Err != nil {
			return i.skip()
		}
		return u.part(e)
	})
	if u.result.Err == nil && err == nil {
		if u.result.Err = u.begin(); u.result.Err == nil {
			u.result.Err = u.finish()
		}
	}
	if u.made {
		if u.result.Err != nil || err != nil { // half an account would look like a whole one
			_ = i.st.DeleteAccount(context.WithoutCancel(i.ctx), owner)
		}
		if i.Done != nil {
			i.Done(owner)
		}
	}
	if err == nil || u.result.Err != nil {
		i.report.Accounts = append(i.report.Accounts, u.result)
	}
	return err
}
