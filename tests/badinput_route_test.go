package tests

import (
	"fmt"
	"time"

	"xmpp-gw/tests/lab"
)

// dnsFault is a domain about which DNS misbehaves, in whatever is asked.
func dnsFault(f lab.DNSFault) func(*lab.DNSServer, string, int) {
	return func(s *lab.DNSServer, domain string, _ int) {
		s.SetFault("_xmpp-client._tcp."+domain, f)
		s.SetFault("_xmpps-client._tcp."+domain, f)
		s.SetFault(domain, f)
	}
}

// dnsRecord is a domain whose SRV record is this one, with %d for the server's
// port, and whose hosts are all this machine.
func dnsRecord(record string) func(*lab.DNSServer, string, int) {
	return func(s *lab.DNSServer, domain string, port int) {
		s.SetRecords("_xmpp-client._tcp."+domain, fmt.Sprintf(record, port))
		s.SetRecords("host."+domain, "A 127.0.0.1")
	}
}

// badRoutes are ways that do not lead to the server, or to another one.
func badRoutes() []misdeed {
	const failed = "remote-connection-failed"
	echo := func(s *server) { s.good().echo() }
	rows := []misdeed{
		{name: "dns leads to somebody else", dns: func(s *lab.DNSServer, domain string, port int) {
			s.SetRecords("_xmpp-client._tcp."+domain, fmt.Sprintf("SRV 0 0 %d evil.example.", port))
			s.SetRecords("evil.example", "A 127.0.0.1")
		}, server: shows(func(string) lab.CALeaf { return lab.CALeaf{Names: []string{"evil.example"}} }),
			kind: "stream", condition: "policy-violation", text: "it is for evil.example"},
		{name: "dns answers for another name", server: hang, dns: dnsFault(lab.DNSFault{Lie: []string{"SRV 0 0 9 evil.example."}, OtherName: true}),
			kind: "stream", condition: failed},
		{name: "dns answers another question", server: hang, dns: dnsFault(lab.DNSFault{Lie: []string{"SRV 0 0 9 evil.example."}, OtherQuestion: true}),
			kind: "stream", condition: failed, text: "none of the DNS servers gave an answer"},
		{name: "dns is empty", server: hang, dns: dnsFault(lab.DNSFault{Empty: true}),
			kind: "stream", condition: failed, text: "address"},
		{name: "dns knows no such domain", server: hang, dns: func(*lab.DNSServer, string, int) {},
			kind: "stream", condition: failed, text: "name"},
		{name: "dns fails", server: hang, dns: dnsFault(lab.DNSFault{Rcode: 2}),
			kind: "stream", condition: failed, text: "none of the DNS servers gave an answer"},
		{name: "dns refuses", server: hang, dns: dnsFault(lab.DNSFault{Rcode: 5}),
			kind: "stream", condition: failed, text: "none of the DNS servers gave an answer"},
		{name: "dns hangs up", server: hang, dns: dnsFault(lab.DNSFault{Hangup: true}),
			kind: "stream", condition: failed, text: "closed the connection"},
		{name: "dns sends garbage", server: hang, dns: dnsFault(lab.DNSFault{Raw: []byte("garbage")}),
			kind: "stream", condition: failed, text: "cannot be read"},
		{name: "dns is cut off", server: hang, dns: dnsFault(lab.DNSFault{Truncate: true}),
			kind: "stream", condition: failed, text: "none of the DNS servers gave an answer"},
		{name: "dns floods", server: hang, dns: dnsFault(lab.DNSFault{Flood: 10_000}), kind: "stream", condition: failed},
		{name: "dns says no service", server: hang, dns: func(s *lab.DNSServer, domain string, _ int) {
			s.SetRecords("_xmpp-client._tcp."+domain, "SRV 0 0 0 .")
			s.SetRecords("_xmpps-client._tcp."+domain, "SRV 0 0 0 .")
		}, kind: "stream", condition: failed, text: "offers no XMPP service"},
		{name: "dns leads to an onion address", server: hang,
			dns:  dnsRecord("SRV 0 0 %d aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion."),
			kind: "stream", condition: failed, text: "only onion addresses"},
		{name: "dns leads to localhost", server: hang, dns: dnsRecord("SRV 0 0 %d localhost."),
			kind: "stream", condition: failed, text: "no usable host"},
		{name: "dns that works", trusted: true, server: echo, dns: func(s *lab.DNSServer, domain string, port int) {
			dnsRecord("SRV 0 0 %d host."+domain+".")(s, domain, port)
		}, client: func(r *row) { r.login(); r.echo(); r.Close() }},

		{name: "a hop that refuses", server: hang, hop: &lab.SOCKSFault{Code: 5},
			kind: "stream", condition: failed, text: "the proxy did not connect"},
		{name: "a hop that forbids", server: hang, hop: &lab.SOCKSFault{Code: 2},
			kind: "stream", condition: failed, text: "the proxy did not connect"},
		{name: "a hop that refuses logins", server: hang, hop: &lab.SOCKSFault{RejectLogin: true},
			kind: "stream", condition: failed, text: "the proxy did not connect"},
		{name: "a hop that speaks http", server: hang, hop: &lab.SOCKSFault{Raw: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
			kind: "stream", condition: failed, text: "the proxy did not connect"},
		{name: "a hop that is down", server: hang, hop: &lab.SOCKSFault{}, client: func(r *row) {
			r.socks.Close()
			r.tryLogin()
		}, kind: "stream", condition: failed, text: "the proxy cannot be reached"},
		{name: "a hop that hangs", server: hang, hop: &lab.SOCKSFault{Hang: lab.SOCKSConnect}, client: leavesHop},
		{name: "a hop that hangs from the start", server: hang, hop: &lab.SOCKSFault{Hang: lab.SOCKSHello}, client: leavesHop},
		{name: "a hop that dies in the handshake", server: echo, hop: &lab.SOCKSFault{DieAfter: 600},
			kind: "stream", condition: "policy-violation", text: "TLS handshake"},
		{name: "a hop that dies in the header", server: echo, hop: &lab.SOCKSFault{DieAfter: 100},
			kind: "stream", condition: failed, text: "closed the connection"},
		{name: "a hop that dies in mid-session", trusted: true, server: echo, hop: &lab.SOCKSFault{}, client: func(r *row) {
			r.login()
			r.echo()
			r.socks.Close()
		}, kind: "stream", condition: failed, text: "Connect again"},

		{name: "tor without logins", server: hang, tor: &lab.SOCKSFault{NoLogin: true},
			kind: "stream", condition: failed, text: "takes no username and password"},
		{name: "tor that speaks http", server: hang, tor: &lab.SOCKSFault{Raw: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
			kind: "stream", condition: failed, text: "Tor"},
		{name: "tor that breaks off", server: hang, tor: &lab.SOCKSFault{RawReply: []byte{5}},
			kind: "stream", condition: failed, text: "Tor stopped"},
		{name: "tor that hangs", server: hang, tor: &lab.SOCKSFault{Hang: lab.SOCKSConnect}, client: func(r *row) {
			r.tryLogin()
			time.Sleep(300 * time.Millisecond)
			r.Close()
		}},
		{name: "tor that works", trusted: true, server: echo, tor: &lab.SOCKSFault{},
			client: func(r *row) { r.login(); r.echo(); r.Close() }},
	}
	for code, text := range map[byte]string{
		0x01: "cannot be connected to", 0x02: "does not allow", 0x03: "unreachable", 0x04: "cannot be found", 0x05: "refused",
		0x06: "too long", 0x07: "cannot make connections", 0x08: "kind of address", 0x42: "not known here",
		0xF0: "cannot be found", 0xF1: "descriptor is invalid", 0xF2: "does not answer", 0xF3: "could not be met",
		0xF4: "is private", 0xF5: "does not accept this client's key", 0xF6: "no onion address", 0xF7: "did not answer in time",
	} {
		rows = append(rows, misdeed{name: fmt.Sprintf("tor code %02x", code), server: hang, tor: &lab.SOCKSFault{Code: code},
			kind: "stream", condition: failed, text: text})
	}
	return rows
}

// leavesHop is a client that gives up while the hop hangs.
func leavesHop(r *row) {
	r.tryLogin()
	for end := time.Now().Add(patience); r.socks.Open() == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	r.Close()
	for end := time.Now().Add(5 * time.Second); r.socks.Open() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Error("the connection to the hop stays open")
			return
		}
	}
}
