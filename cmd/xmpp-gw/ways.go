package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/netip"
	"os"

	"github.com/miekg/dns"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/ownfile"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
)

// waysOut makes the ways out of this machine that s knows, and a client for its DNS
// servers, to be put over one of them ([resolve.Client.Over]): all clients made so
// share the memory of which server answered last. tor gives the address of Tor's
// SOCKS port.
func waysOut(s *settings, tor func(context.Context) (string, error)) (*egress.Set, *resolve.Client, error) {
	servers, err := resolve.ParseServers(s.DNS.Servers)
	if err != nil {
		return nil, nil, err
	}
	roots, err := rootsWith(s.DNS.CA)
	if err != nil {
		return nil, nil, err
	}
	base := resolve.New(servers, nil, roots)
	// The direct route resolves names by our own client too, over itself: the
	// DNS servers are addresses, so this does not go in circles.
	var set *egress.Set
	set, err = egress.New(egress.Config{
		Tor:   tor,
		SOCKS: s.SOCKS,
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			direct, err := set.Dialer(policy.Route{Kind: policy.RouteDirect}, egress.Isolation{})
			if err != nil {
				return nil, err
			}
			return base.Over(direct).Addrs(ctx, host)
		},
	})
	return set, base, err
}

// trustAnchors are the keys in a file, from which DNS answers are proven; nil, which
// is the root's own, without one.
func trustAnchors(file string) ([]*dns.DS, error) {
	if file == "" {
		return nil, nil
	}
	text, err := ownfile.Read(file, ownfile.NoWriters, 1<<20)
	if err == nil {
		var anchors []*dns.DS
		if anchors, err = dnssec.ParseAnchors(bytes.NewReader(text)); err == nil {
			return anchors, nil
		}
	}
	return nil, &problem{what: "dns.trust_anchors cannot be used", why: err.Error(), code: exitMistake, err: err,
		hint: "it is a file of DS or DNSKEY records, such as /usr/share/dns/root.key of Debian's dns-root-data; without it the root's own keys hold"}
}

// ctLogs are the logs in a file, whose word counts for certificates; those that are
// built in without one.
func ctLogs(file string) (*ct.List, error) {
	if file == "" {
		return ct.BuiltIn(), nil
	}
	list, err := ct.ReadList(file)
	if err != nil {
		return nil, &problem{what: "ct.logs cannot be used", why: err.Error(), code: exitMistake, err: err,
			hint: "it is a log_list.json of version 3, as the makers of browsers publish it; without it the list that is built in holds"}
	}
	return list, nil
}

// rootsWith is the system's roots and those in file; nil, which is the system's
// alone, without one.
func rootsWith(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, &problem{what: "dns.ca cannot be read", why: err.Error(), code: exitMistake}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &problem{what: "dns.ca holds no certificate", why: file, code: exitMistake}
	}
	return pool, nil
}
