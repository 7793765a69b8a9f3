package resolve

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	typeA    = dns.TypeA
	typeAAAA = dns.TypeAAAA
	typeSRV  = dns.TypeSRV

	// MaxRecords is how many records of one answer are used.
	MaxRecords = 32
	// maxAliases is how many CNAME records in a row are followed.
	maxAliases = 8
	// paddingBlock is RFC 8467 §4.1: clients pad to multiples of 128 bytes.
	paddingBlock = 128
)

// SRV is one SRV record (RFC 2782). Target is in lower case without final dot;
// it is "." when the service is not offered.
type SRV struct {
	Target   string
	Port     uint16
	Priority uint16
	Weight   uint16
}

// newQuery makes a question.
func newQuery(name string, qtype uint16, padded bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	return prepare(m, padded)
}

// prepare gives a question an id that nobody can guess, and pads it when it will be
// encrypted (RFC 7830 §6: only then).
func prepare(m *dns.Msg, padded bool) (*dns.Msg, error) {
	var id [2]byte
	rand.Read(id[:])
	m.Id = binary.BigEndian.Uint16(id[:])
	opt := m.IsEdns0()
	if !padded || opt == nil {
		return m, nil
	}
	pad := new(dns.EDNS0_PADDING)
	opt.Option = append(opt.Option, pad)
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	pad.Padding = make([]byte, (paddingBlock-len(wire)%paddingBlock)%paddingBlock)
	return m, nil
}

// check reads the verdict of a reply to q. An error means that this server has
// no answer and another may; nil with an empty reply means that there are no
// such records.
func check(q, r *dns.Msg) error {
	switch {
	case !r.Response || r.Opcode != dns.OpcodeQuery:
		return errors.New("it sent something that is no answer")
	case len(r.Question) != 1 || !sameQuestion(q.Question[0], r.Question[0]):
		return errors.New("it answered another question")
	case r.Truncated:
		// RFC 7766 §8: over TCP there is no excuse for it.
		return errors.New("it cut its answer short")
	case r.Rcode == dns.RcodeNameError:
		return nil
	case r.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("it answered %s", rcodeText(r.Rcode))
	case len(r.Answer) == 0 && !r.RecursionAvailable && !r.Authoritative:
		// A referral, which is not the same as "no records" (RFC 2308 §2.2).
		return errors.New("it does not resolve names for others")
	}
	return nil
}

// rcodeText is the name of a response code.
func rcodeText(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("error %d", code)
}

// sameQuestion compares without regard to case (RFC 4343).
func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// records picks from a reply the records that answer its question: those of the
// name asked for, or of the name that its aliases lead to. Whatever else the
// server put in is not about the question and is ignored.
func records(r *dns.Msg) []dns.RR {
	if r == nil || r.Rcode != dns.RcodeSuccess {
		return nil
	}
	q := r.Question[0]
	name := q.Name
	for range maxAliases + 1 {
		var found []dns.RR
		next := ""
		for _, rr := range r.Answer {
			h := rr.Header()
			if h.Class != q.Qclass || !strings.EqualFold(h.Name, name) {
				continue
			}
			if h.Rrtype == q.Qtype {
				found = append(found, rr)
			} else if alias, ok := rr.(*dns.CNAME); ok && next == "" {
				next = alias.Target
			}
		}
		if len(found) > 0 || next == "" {
			return found
		}
		name = next
	}
	return nil
}

// srvRecords reads the SRV records of a reply.
func srvRecords(r *dns.Msg) []SRV { return toSRV(records(r)) }

func toSRV(rrs []dns.RR) []SRV {
	var out []SRV
	for _, rr := range rrs {
		if s, ok := rr.(*dns.SRV); ok {
			target := strings.ToLower(s.Target)
			if target != "." {
				target = strings.TrimSuffix(target, ".")
			}
			out = append(out, SRV{Target: target, Port: s.Port, Priority: s.Priority, Weight: s.Weight})
		}
	}
	slices.SortStableFunc(out, func(a, b SRV) int { return cmp.Compare(a.Priority, b.Priority) })
	return out[:min(len(out), MaxRecords)]
}

// addressRecords reads the A or AAAA records of a reply.
func addressRecords(r *dns.Msg) []netip.Addr { return toAddrs(records(r)) }

func toAddrs(rrs []dns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range rrs {
		var ip netip.Addr
		switch a := rr.(type) {
		case *dns.A:
			ip, _ = netip.AddrFromSlice(a.A)
		case *dns.AAAA:
			ip, _ = netip.AddrFromSlice(a.AAAA)
		}
		if ip.IsValid() && len(out) < MaxRecords {
			out = append(out, ip.Unmap())
		}
	}
	return out
}
