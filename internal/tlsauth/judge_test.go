package tlsauth

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"xmpp-gw/tests/lab"
)

// TestJudge shows that what is wrong with the chain and what is wrong with the name
// are told apart, and which names count for which service.
func TestJudge(t *testing.T) {
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, service string
		leaf          lab.CALeaf
		chain, other  error
		identity      string
	}{
		{"good", "xmpp-client", lab.CALeaf{Names: []string{"example.org"}}, nil, nil, "DNS-ID example.org"},
		{"expired", "xmpp-client", lab.CALeaf{Names: []string{"example.org"}, Expired: true}, ErrExpired, nil, "DNS-ID example.org"},
		{"another name", "xmpp-client", lab.CALeaf{Names: []string{"example.net"}}, nil, ErrName, ""},
		{"both", "xmpp-client", lab.CALeaf{Names: []string{"example.net"}, SelfSigned: true}, ErrAuthority, ErrName, ""},
		{"SRV-ID of clients", "xmpp-client", lab.CALeaf{SRV: []string{"_xmpp-client.example.org"}}, nil, nil, "SRV-ID _xmpp-client.example.org"},
		{"SRV-ID of clients, for servers", "xmpp-server", lab.CALeaf{SRV: []string{"_xmpp-client.example.org"}}, nil, ErrName, ""},
		{"SRV-ID of servers", "xmpp-server", lab.CALeaf{SRV: []string{"_xmpp-server.example.org"}}, nil, nil, "SRV-ID _xmpp-server.example.org"},
		{"XmppAddr", "xmpp-server", lab.CALeaf{XMPPAddr: []string{"example.org"}}, nil, nil, "XmppAddr example.org"},
		{"XmppAddr, for the web", "", lab.CALeaf{XMPPAddr: []string{"example.org"}}, nil, ErrName, ""},
	} {
		cert, err := ca.Leaf(tt.leaf)
		if err != nil {
			t.Fatal(err)
		}
		j := Judge([]*x509.Certificate{cert.Leaf}, "Example.org", tt.service, ca.Pool(), time.Now())
		if !errors.Is(j.Chain, tt.chain) || (j.Chain == nil) != (tt.chain == nil) || !errors.Is(j.Name, tt.other) || (j.Name == nil) != (tt.other == nil) || j.Identity != tt.identity {
			t.Errorf("%s: %v, %v, %q", tt.name, j.Chain, j.Name, j.Identity)
		}
		if Reason(j.Chain) == "" && j.Chain != nil {
			t.Errorf("%s: no reason", tt.name)
		}
	}
	if j := Judge(nil, "example.org", "xmpp-client", ca.Pool(), time.Now()); j.Chain == nil || j.Name == nil {
		t.Error("no certificate was taken")
	}
}
