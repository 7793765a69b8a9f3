package resolve

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dane"
	"xmpp-gw/internal/dnssec"
	"xmpp-gw/policy"
)

// TLSA asks for the TLSA records of a TCP port of host (RFC 7673 §3.2 and §3.3). They
// are used only when they and the host's addresses are proven; that there are none
// must be proven too, or proven to be nobody's to prove. All else is an error, upon
// which one must not connect: who could hide the records would else have the choice.
func (s Secure) TLSA(ctx context.Context, host string, port uint16) (dane.Set, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(host); err == nil || policy.IsOnion(host) || isLocalhost(host) {
		return dane.Set{Missing: "only hosts with a name in DNS have TLSA records"}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at := func(host string) string { return "_" + strconv.Itoa(int(port)) + "._tcp." + host }
	type answer struct {
		dnssec.Result
		err error
	}
	ask := func(name string, qtype uint16) <-chan answer {
		ch := make(chan answer, 1)
		go func() {
			var a answer
			if name, a.err = queryName(name); a.err == nil {
				a.Result, a.err = s.judged(ctx, name, qtype)
			}
			ch <- a
		}()
		return ch
	}
	// All at once: over Tor each answer takes a second.
	ch6, ch4, own := ask(host, typeAAAA), ask(host, typeA), ask(at(host), dns.TypeTLSA)
	address := <-ch6
	if a := <-ch4; a.Security > address.Security {
		address = a
	}
	switch {
	case address.err != nil:
		return dane.Set{}, inTLSA(address.err)
	case address.Security != dnssec.Secure:
		// A server for an unsigned zone may fail at questions for TLSA.
		return dane.Set{Missing: address.Why}, nil
	}
	t := dane.Set{Hosts: []string{host}}
	if alias := strings.TrimSuffix(address.Name, "."); alias != host {
		expanded := <-ask(at(alias), dns.TypeTLSA)
		if expanded.err != nil {
			return dane.Set{}, inTLSA(expanded.err)
		}
		t.Hosts = append(t.Hosts, alias)
		if t.Records = toTLSA(expanded.Result); len(t.Records) > 0 {
			return t, nil
		}
	}
	a := <-own
	if a.err != nil {
		return dane.Set{}, inTLSA(a.err)
	}
	t.Records = toTLSA(a.Result)
	switch {
	case a.Security != dnssec.Secure:
		t.Missing = a.Why
	case len(t.Records) == 0:
		t.Missing = "there are none at " + at(host)
	}
	return t, nil
}

// toTLSA reads the records, if they are proven.
func toTLSA(res dnssec.Result) (list []dane.Record) {
	if res.Security != dnssec.Secure {
		return nil
	}
	for _, rr := range res.Records[:min(len(res.Records), MaxRecords)] {
		if t, ok := rr.(*dns.TLSA); ok {
			data, _ := hex.DecodeString(t.Certificate)
			list = append(list, dane.Record{Usage: t.Usage, Selector: t.Selector, Matching: t.MatchingType, Data: data})
		}
	}
	return list
}

// inTLSA says what an answer was for.
func inTLSA(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		own := *e
		own.What = "what DNS says of the server's key (TLSA) cannot be used"
		return &own
	}
	return err
}
