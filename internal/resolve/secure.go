package resolve

import (
	"context"
	"errors"
	"net/netip"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
)

// ErrBogus is the kind of failure for an answer that may be forged.
var ErrBogus = errors.New("dns answer not proven")

// Prover judges answers; a dnssec.Validator is one.
type Prover interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Result, error)
}

// Secure looks names up like a Client and takes only what DNSSEC does not speak
// against. It is an SRVLookup, so Discover works with it. The zero value answers
// with an error.
type Secure struct {
	// Prover asks and judges: dnssec.New with Client.Exchange.
	Prover Prover
	// Require takes only what is proven. Without it, answers from a part of the
	// tree that nobody signs are taken too; those that should be provable and are
	// not are refused either way.
	Require bool
}

// SRV is Client.SRV. That there are no records is taken like records are: only
// when it is proven, or nobody signs.
func (s Secure) SRV(ctx context.Context, name string) ([]SRV, error) {
	name, err := queryName(name)
	if err != nil {
		return nil, err
	}
	rrs, err := s.lookup(ctx, name, typeSRV)
	return toSRV(rrs), err
}

// Addrs is Client.Addrs. An address of one family that is refused does not make
// those of the other worse.
func (s Secure) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	return lookupAddrs(host, func(name string, qtype uint16) ([]netip.Addr, error) {
		rrs, err := s.lookup(ctx, name, qtype)
		return toAddrs(rrs), err
	})
}

// TLSA gives the TLSA records of a name such as _5222._tcp.xmpp.example.org, and
// whether they, or that there are none, are proven: others must not be used
// (RFC 7672 §2.2, RFC 7673 §3.1), so none come with false.
func (s Secure) TLSA(ctx context.Context, name string) (records []*dns.TLSA, proven bool, err error) {
	name, err = queryName(name)
	if err != nil {
		return nil, false, err
	}
	res, err := s.judged(ctx, name, dns.TypeTLSA)
	if err != nil || res.Security != dnssec.Secure {
		return nil, false, err
	}
	for _, rr := range res.Records[:min(len(res.Records), MaxRecords)] {
		if t, ok := rr.(*dns.TLSA); ok {
			records = append(records, t)
		}
	}
	return records, true, nil
}

// lookup gives records that may be used.
func (s Secure) lookup(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
	res, err := s.judged(ctx, name, qtype)
	if err != nil {
		return nil, err
	}
	if s.Require && res.Security != dnssec.Secure {
		return nil, &Error{Kind: ErrBogus, What: "the DNS answer is not used", Why: "the rules want it proven by DNSSEC, and " + res.Why,
			Hint: "if that is how the domain is, a rule for it can say dnssec-prefer"}
	}
	return res.Records, nil
}

// judged asks, and refuses what may be forged.
func (s Secure) judged(ctx context.Context, name string, qtype uint16) (dnssec.Result, error) {
	if s.Prover == nil {
		return dnssec.Result{}, &Error{Kind: ErrNoAnswer, What: "the name could not be looked up", Why: "nothing is set up that proves DNS answers"}
	}
	res, err := s.Prover.Lookup(ctx, name, qtype)
	switch {
	case err != nil:
		var e *Error
		if !errors.As(err, &e) {
			err = &Error{Kind: ErrNoAnswer, What: "the name could not be looked up", Why: err.Error(), Err: err}
		}
		return res, err
	case res.Security == dnssec.Bogus:
		return res, &Error{Kind: ErrBogus, What: "the DNS answer is not used", Why: res.Why,
			Hint: "somebody may be forging it, or the domain's signatures are out of order; try another DNS server, and if that is no help tell the domain's operator"}
	case res.Security == dnssec.Indeterminate:
		return res, &Error{Kind: ErrNoAnswer, What: "the DNS answer could not be checked", Why: res.Why,
			Hint: "try again, or use DNS servers that pass DNSSEC on"}
	}
	return res, nil
}
