package dnssec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// run is one lookup: what it has asked, and what it may still spend. All but the
// questions is used by one goroutine.
type run struct {
	v    *Validator
	ctx  context.Context
	now  time.Time
	left Limits

	asked  map[question]*future
	asking sync.WaitGroup    // questions on their way
	hashed map[string]string // NSEC3 hashes
	failed map[string]error  // zones that could not be proven
}

// failure is a chain of trust that is broken.
type failure struct {
	security Security
	why      string
	spent    bool // a limit was reached: trying elsewhere is no use
}

func (f *failure) Error() string { return f.why }

func failuref(s Security, format string, args ...any) *failure {
	return &failure{security: s, why: fmt.Sprintf(format, args...)}
}

// overworked is the failure for a zone that would take too much work.
func overworked(format string, args ...any) *failure {
	f := failuref(Bogus, format, args...)
	f.spent = true
	return f
}

// spent reports whether err means that the lookup must end.
func spent(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.spent
}

// end is the result when a step failed: nothing of what came is given out.
func end(res Result, err error) Result {
	var f *failure
	if !errors.As(err, &f) {
		f = failuref(Indeterminate, "%v", err)
	}
	res.Security, res.Why, res.Records, res.Missing = f.security, f.why, nil, false
	return res
}

// lookup follows the aliases from start to the records.
func (r *run) lookup(start string, qtype uint16) (Result, error) {
	res := Result{Security: Secure, Name: start}
	m, err := r.start(start, qtype)
	if err != nil {
		return Result{}, err
	}
	for about := start; ; { // about is the name that m was asked for
		set, target := m.find(res.Name, qtype)
		if set == nil && about != res.Name {
			// The rest of the chain is not there, or the proof that there is nothing
			// is mixed with those of earlier steps. Asked for alone it is clear.
			about = res.Name
			if m, err = r.start(about, qtype); err != nil {
				return end(res, unavailable(err, "the alias to %s could not be followed: %v", about, err)), nil
			}
			continue
		}
		var insecure string
		if set == nil {
			res.Missing = true
			insecure, err = r.missing(m, res.Name, qtype)
		} else {
			insecure, err = r.judge(set, m)
		}
		if err != nil {
			return end(res, err), nil
		}
		if insecure != "" && res.Security == Secure {
			res.Security, res.Why = Insecure, insecure
		}
		switch {
		case set == nil:
			return res, nil
		case set.rtype == qtype:
			res.Records = slices.Clone(set.rrs)
			return res, nil
		case target == "":
			return end(res, failuref(Bogus, "the alias at %s leads to a name that is too long", res.Name)), nil
		case target == start || slices.Contains(res.Aliases, target):
			return end(res, failuref(Bogus, "the aliases of %s go in a circle", start)), nil
		case len(res.Aliases) >= r.v.limits.Aliases:
			return end(res, failuref(Bogus, "%s has more than %d aliases in a row", start, r.v.limits.Aliases)), nil
		}
		res.Aliases = append(res.Aliases, target)
		res.Name = target
	}
}

// judge finds out whether a set of an answer is proven. A sentence in place of an
// error says that it is proven to be insecure.
func (r *run) judge(s *rrset, m *message) (insecure string, err error) {
	why := fmt.Sprintf("the %s records of %s have no signature", typeName(s.rtype), s.name)
	for _, signer := range s.signers(s.rtype == dns.TypeDS) {
		z, err := r.zone(signer)
		if spent(err) {
			return "", err
		}
		if err != nil || z.insecure != "" || z.name != signer {
			if err == nil {
				why = fmt.Sprintf("the %s records of %s are signed by %s, which is no signed zone", typeName(s.rtype), s.name, signer)
			}
			continue
		}
		sig, err := r.verify(s, z)
		if err == nil {
			return r.expansion(s, sig, m, z)
		}
		if spent(err) {
			return "", err
		}
		why = err.Error()
	}
	return r.unproven(s.name, s.rtype, why)
}

// unproven is the verdict on what has no good signature: insecure if the zone is,
// else bogus, because of why.
func (r *run) unproven(name string, qtype uint16, why string) (insecure string, err error) {
	if qtype == dns.TypeDS && name != "." {
		name = parent(name) // RFC 4035 §2.4: a DS set belongs to the parent
	}
	z, err := r.zone(name)
	switch {
	case err != nil:
		return "", err
	case z.insecure != "":
		return z.insecure, nil
	}
	return "", failuref(Bogus, "%s, and %s is signed", why, z.describe())
}

// expansion checks what a set that a wildcard stands for needs: a proof that no
// closer name exists, or else any name below the wildcard could be given its
// records (RFC 4035 §5.3.4, RFC 5155 §8.8).
func (r *run) expansion(s *rrset, sig *dns.RRSIG, m *message, z *zone) (insecure string, err error) {
	if !expanded(s, sig) {
		return "", nil
	}
	p, err := r.proofs(m, z)
	if err != nil {
		return "", err
	}
	d, err := r.noCloser(p, s.name, int(sig.Labels))
	switch {
	case err != nil:
		return "", err
	case d.proven:
		return d.insecure, nil
	}
	return "", failuref(Bogus, "the records of %s come from a wildcard, without the proof that %s has none of its own", s.name, s.name)
}

// missing finds out whether it is proven that name has no records of a type.
func (r *run) missing(m *message, name string, qtype uint16) (insecure string, err error) {
	why := fmt.Sprintf("nothing proves that %s has no %s records", name, typeName(qtype))
	for _, signer := range m.deniers(name, qtype == dns.TypeDS) {
		z, err := r.zone(signer)
		if spent(err) {
			return "", err
		}
		if err != nil || z.insecure != "" || z.name != signer {
			continue
		}
		p, err := r.proofs(m, z)
		if err != nil {
			return "", err
		}
		d, err := r.deny(p, name, qtype)
		if err != nil {
			return "", err
		}
		if d.proven {
			return d.insecure, nil
		}
		why += d.because()
	}
	return r.unproven(name, qtype, why)
}
