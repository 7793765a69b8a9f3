package resolve

import (
	"context"
	"errors"
	"sync"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/policy"
)

// The kinds of failure of [Secure].
var (
	ErrBogus    = errors.New("dns answer not proven") // it may be forged
	ErrInsecure = errors.New("dns answer not signed") // proven to be in a part of the tree that nobody signs
)

// Prover judges answers; a dnssec.Validator is one.
type Prover interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Result, error)
}

// Secure looks names up like a Client and takes only what DNSSEC does not speak
// against: what is proven, and what is proven to be in a part of the tree that nobody
// signs. The zero value answers with an error.
type Secure struct {
	// Prover asks and judges: dnssec.New with Client.Exchange.
	Prover Prover
}

// Discover is the function Discover over DNSSEC. Insecure says why what it found is
// not proven, an [*Error] of the kind ErrInsecure; nil when all of it is, and where no
// DNS was asked. What may be forged is an error.
func (s Secure) Discover(ctx context.Context, domain string, o Options) (found []policy.Endpoint, insecure, err error) {
	n := &noting{secure: s}
	found, err = Discover(ctx, n, domain, o)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.insecure {
		insecure = &Error{Kind: ErrInsecure, What: "what DNS says of the domain is not proven by DNSSEC", Why: n.why,
			Hint: `the domain's operator can have it signed; until then a rule for the domain can say dns = "dnssec-prefer"`}
	}
	return found, insecure, err
}

// noting is an SRVLookup that keeps why an answer is not proven. That there are no
// records is taken like records are: only when it is proven, or nobody signs.
type noting struct {
	secure   Secure
	mu       sync.Mutex
	insecure bool
	why      string
}

func (n *noting) SRV(ctx context.Context, name string) ([]SRV, error) {
	name, err := queryName(name)
	if err != nil {
		return nil, err
	}
	res, err := n.secure.judged(ctx, name, typeSRV)
	if err == nil && res.Security != dnssec.Secure {
		n.mu.Lock()
		n.insecure, n.why = true, res.Why
		n.mu.Unlock()
	}
	return toSRV(res.Records), err
}

// judged asks, and refuses what may be forged.
func (s Secure) judged(ctx context.Context, name string, qtype uint16) (dnssec.Result, error) {
	var none dnssec.Result
	if s.Prover == nil {
		return none, &Error{Kind: ErrNoAnswer, What: "the name could not be looked up", Why: "nothing is set up that proves DNS answers"}
	}
	res, err := s.Prover.Lookup(ctx, name, qtype)
	switch {
	case err != nil:
		var e *Error
		if !errors.As(err, &e) {
			err = &Error{Kind: ErrNoAnswer, What: "the name could not be looked up", Why: err.Error(), Err: err}
		}
		return none, err
	case res.Security == dnssec.Bogus:
		return none, &Error{Kind: ErrBogus, What: "the DNS answer is not used", Why: res.Why,
			Hint: "somebody may be forging it, or the domain's signatures are out of order; try another DNS server, and if that is no help tell the domain's operator"}
	case res.Security == dnssec.Indeterminate:
		return none, &Error{Kind: ErrNoAnswer, What: "the DNS answer could not be checked", Why: res.Why,
			Hint: "try again, or use DNS servers that pass DNSSEC on"}
	}
	return res, nil
}
