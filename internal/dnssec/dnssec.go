// Package dnssec proves DNS answers from the keys of the root down. It trusts no
// resolver: the one that is asked only fetches, and whoever stands in between can
// withhold an answer but not change one unseen.
//
//	v := dnssec.New(dnssec.Config{Exchange: client.Exchange})
//	result, err := v.Lookup(ctx, "_xmpp-client._tcp.example.org", dns.TypeSRV)
//	if err == nil && result.Security == dnssec.Secure { … }
//
// It is a validating stub resolver (RFC 4035 §4.9): questions go out with DO ("send
// the signatures") and CD ("do not judge for me"), and the package walks from a
// trust anchor to the zone of the answer: a parent signs the digest of its child's
// key (DS), that key signs the child's keys (DNSKEY), and one of those the answer
// (RRSIG). That something is not there is proven by signed gaps (NSEC, NSEC3).
//
// What comes of it is one of four (RFC 4035 §4.3): [Secure], proven; [Insecure],
// proven that nobody signs this part of the tree; [Bogus], neither, although it
// should be, so that it may be forged; [Indeterminate], what would be needed could
// not be had. Only the first two come with records.
//
// Zones are written by strangers, so all work is limited (see [Limits]): messages,
// signatures, hashes, aliases and time. Whatever goes over is Bogus, never Secure.
// Two choices where the standards leave one: NSEC3 with more than
// Limits.Iterations proves nothing and counts as Insecure (RFC 9276 §3.2), after
// its signature was found good; and zones signed only with RSA/SHA-1 or with an
// algorithm unknown here count as Insecure (RFC 4035 §5.2, RFC 9905 §2).
package dnssec

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Security is the standing of an answer. The zero value is no pass.
type Security uint8

// The standings, the worst first.
const (
	Indeterminate Security = iota // nobody could say
	Bogus                         // it should be provable and is not
	Insecure                      // proven to be in a part of the tree that nobody signs
	Secure                        // proven
)

// String is the word of RFC 4035 §4.3.
func (s Security) String() string {
	return [...]string{"indeterminate", "bogus", "insecure", "secure"}[min(s, Secure)]
}

// Exchange puts a question to a resolver and gives its answer. It must end when ctx
// does, as a lookup waits for all that it has begun. Several goroutines call it at
// once.
type Exchange func(ctx context.Context, q *dns.Msg) (*dns.Msg, error)

// Limits bound the work of one lookup. A zero field means its default.
type Limits struct {
	Time       time.Duration // for all of it; default 45 s, enough for Tor
	Messages   int           // questions asked; default 128
	Aliases    int           // CNAME and DNAME records followed; default 8
	Checks     int           // signatures and key digests computed; default 128
	Failures   int           // signatures that did not fit; default 16 (CVE-2023-50387)
	Hashes     int           // names hashed for NSEC3; default 256 (CVE-2023-50868)
	Iterations int           // additional ones of NSEC3 (RFC 9276 §3.2); default 50
}

const (
	maxSet       = 1024 // records of one name and type
	maxColliding = 4    // keys with one tag that are tried
	maxProofs    = 12   // NSEC or NSEC3 records of a message that are looked at
	maxSigners   = 2    // zones that may claim to have signed one set
	maxPrefetch  = 5    // zones whose keys are asked for before they are known to exist
)

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	if l.Time <= 0 {
		l.Time = 45 * time.Second
	}
	set(&l.Messages, 128)
	set(&l.Aliases, 8)
	set(&l.Checks, 128)
	set(&l.Failures, 16)
	set(&l.Hashes, 256)
	set(&l.Iterations, 50)
	return l
}

// Config is what a Validator works with.
type Config struct {
	Exchange Exchange         // required
	Anchors  []*dns.DS        // whom to trust; nil: RootAnchors
	Now      func() time.Time // nil: time.Now
	Limits   Limits
}

// Validator looks names up and judges what comes. It remembers proven keys, a
// bounded number and an hour at most, and nothing else. It is safe for concurrent
// use; the zero value answers with an error.
type Validator struct {
	exchange Exchange
	anchors  map[string][]*dns.DS
	now      func() time.Time
	limits   Limits

	mu   sync.Mutex
	cuts map[string]cut // what was proven of names
}

// New makes a validator.
func New(c Config) *Validator {
	v := &Validator{exchange: c.Exchange, now: c.Now, limits: c.Limits.withDefaults(),
		anchors: map[string][]*dns.DS{}, cuts: map[string]cut{}}
	if v.now == nil {
		v.now = time.Now
	}
	if c.Anchors == nil {
		c.Anchors = RootAnchors()
	}
	for _, ds := range c.Anchors {
		name := dns.CanonicalName(ds.Hdr.Name)
		v.anchors[name] = append(v.anchors[name], ds)
	}
	return v
}

// Over gives a validator that asks by another exchange, such as one of another Tor
// isolation. Its memory is empty, and not shared: from what is not asked for again, be
// it the root's keys, a resolver could tell that two circuits are of one machine.
func (v *Validator) Over(e Exchange) *Validator {
	return &Validator{exchange: e, anchors: v.anchors, now: v.now, limits: v.limits, cuts: map[string]cut{}}
}

// Result is what a lookup found.
type Result struct {
	Security Security
	Why      string // a sentence; empty when Secure

	// Records are those of the type asked for; none when Bogus or Indeterminate.
	Records []dns.RR
	// Name is where they are: the name asked for, or the end of its aliases.
	Name string
	// Aliases are the names that CNAME and DNAME led to, in turn.
	Aliases []string
	// Missing says that there are no such records; Security is that of this
	// statement.
	Missing bool
}

// Lookup asks for the records of name and type and judges the answer. An error
// means that there is none to judge: nobody answered, or the question is no
// question. Everything else is in the Result.
func (v *Validator) Lookup(ctx context.Context, name string, qtype uint16) (Result, error) {
	name, err := canonical(name)
	if err != nil {
		return Result{}, err
	}
	switch {
	case v == nil || v.exchange == nil:
		return Result{}, fmt.Errorf("no way to ask a DNS server is set up")
	case qtype == 0, qtype >= 128 && qtype <= 255, qtype == dns.TypeOPT, qtype == dns.TypeRRSIG, qtype == dns.TypeSIG:
		return Result{}, fmt.Errorf("records of type %s cannot be proven", typeName(qtype))
	}
	ctx, cancel := context.WithTimeout(ctx, v.limits.Time)
	r := &run{v: v, ctx: ctx, now: v.now(), left: v.limits,
		asked: map[question]*future{}, hashed: map[string]string{}, failed: map[string]error{}}
	defer r.asking.Wait() // behind cancel, so it takes no time
	defer cancel()
	return r.lookup(name, qtype)
}
