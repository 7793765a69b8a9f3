package tests

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"xmpp-gw/tests/lab"
)

// hang is a server that takes everything and says nothing.
func hang(s *server) { s.Hang() }

// attributes are n attributes.
func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d='' ", i)
	}
	return b.String()
}

// badClients are clients that do something wrong.
func badClients() []misdeed {
	echo := func(s *server) { s.good().echo() }
	return []misdeed{
		{name: "endless header", client: func(r *row) {
			r.push("<stream:stream xmlns='jabber:client' xml:lang='" + strings.Repeat("e", 100_000))
		}, kind: "stream", condition: "policy-violation", text: "header"},
		{name: "header of a thousand attributes", client: func(r *row) {
			r.push("<stream:stream " + attributes(1000) + ">")
		}, kind: "stream", condition: "policy-violation"},
		{name: "no xml at all", client: func(r *row) { r.push("EHLO example.test\r\n") },
			kind: "stream", condition: "not-well-formed"},
		{name: "utf-16", client: func(r *row) { r.push("\xff\xfe<\x00s\x00t\x00r\x00") },
			kind: "stream", condition: "unsupported-encoding"},
		{name: "another encoding", client: func(r *row) { r.push("<?xml version='1.0' encoding='latin1'?><stream:stream>") },
			kind: "stream", condition: "unsupported-encoding"},
		{name: "a document type", client: func(r *row) {
			r.push("<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><stream:stream>")
		}, kind: "stream", condition: "restricted-xml"},
		{name: "a server as client", client: func(r *row) {
			r.send("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' to='" + r.domain + "' version='1.0'>")
		}, kind: "stream", condition: "invalid-namespace", text: "jabber:client"},
		{name: "an old version", client: func(r *row) { r.send(header("to='" + r.domain + "'")) },
			kind: "stream", condition: "unsupported-version"},
		{name: "missing to", client: func(r *row) { r.send(header("version='1.0'")) },
			kind: "stream", condition: "improper-addressing", text: "domain"},
		{name: "empty to", client: func(r *row) { r.send(header("to='' version='1.0'")) },
			kind: "stream", condition: "improper-addressing", text: "domain"},
		{name: "to that is no domain", client: func(r *row) { r.send(header("to='a b' version='1.0'")) },
			kind: "stream", condition: "host-unknown", text: "domain"},
		{name: "another to inside TLS", server: echo, client: func(r *row) {
			r.open()
			r.send(starttls)
			r.expect(`<proceed[^>]*/>`)
			r.handshake(r.domain)
			r.send(header("to='good.test' version='1.0'"))
		}, kind: "stream", condition: "host-unknown", text: "another domain"},
		{name: "blocked by a rule", rule: `route = "block"`, client: func(r *row) {
			r.send(header("to='" + r.domain + "' version='1.0'"))
		}, kind: "stream", condition: "policy-violation", text: "policy blocks it"},
		{name: "blocked by default", client: func(r *row) { r.send(header("to='stranger.example' version='1.0'")) },
			kind: "stream", condition: "policy-violation", text: "policy blocks it"},
		{name: "blocked inside direct TLS", rule: `route = "block"`, listener: "tls", client: func(r *row) {
			r.handshake(r.domain)
		}, kind: "stream", condition: "policy-violation", text: "policy blocks it"},

		{name: "bytes behind starttls", server: echo, client: func(r *row) {
			r.open()
			r.push(starttls + "<presence/>")
		}, kind: "stream", condition: "policy-violation", text: "in the clear"},
		{name: "no tls", server: echo, client: func(r *row) {
			r.open()
			r.auth(user, password)
		}, kind: "stream", condition: "policy-violation", text: "STARTTLS"},
		{name: "no handshake behind proceed", server: echo, client: func(r *row) {
			r.open()
			r.send(starttls)
			r.expect(`<proceed[^>]*/>`)
			r.push("<presence/>")
			r.rest() // maybe an alert
		}},
		{name: "a client that does not trust", server: echo, client: func(r *row) {
			r.open()
			r.send(starttls)
			r.expect(`<proceed[^>]*/>`)
			if err := tls.Client(r.Conn, &tls.Config{ServerName: "other.test", RootCAs: r.roots}).Handshake(); err == nil {
				r.t.Error("the certificate is for other.test too")
			}
		}},
		{name: "http on the starttls port", client: func(r *row) {
			r.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if got := r.rest(); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, "Point an XMPP client at it.\n") {
				r.t.Errorf("a browser gets %q", got)
			}
		}},
		{name: "http on the tls port", listener: "tls", client: func(r *row) {
			r.send("POST /xmpp HTTP/1.1\r\n\r\n")
			if got := r.rest(); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				r.t.Errorf("a browser gets %q", got)
			}
		}},
		{name: "tls on the starttls port", client: func(r *row) {
			err := tls.Client(r.Conn, &tls.Config{ServerName: r.domain, RootCAs: r.roots}).Handshake()
			if err == nil || !strings.Contains(err.Error(), "unexpected message") {
				r.t.Errorf("the handshake ends with %v, want the alert unexpected_message", err)
			}
		}},
		{name: "plaintext on the tls port", listener: "tls", client: func(r *row) {
			r.send(header("to='" + r.domain + "' version='1.0'"))
		}, kind: "stream", condition: "policy-violation", text: "5222"},
		{name: "direct tls without a name", listener: "tls", client: func(r *row) {
			err := tls.Client(r.Conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
			if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
				r.t.Errorf("the handshake ends with %v, want the alert unrecognized_name", err)
			}
		}},
		{name: "direct tls for another domain than the stream", listener: "tls", server: echo, client: func(r *row) {
			r.handshake(r.domain)
			r.send(header("to='good.test' version='1.0'"))
		}, kind: "stream", condition: "host-unknown"},

		{name: "iq before login", server: echo, client: func(r *row) {
			r.secure()
			r.send("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>")
		}, kind: "stream", condition: "not-authorized", text: "Log in first"},
		{name: "compression before login", server: echo, client: func(r *row) {
			r.secure()
			r.send("<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>")
		}, kind: "stream", condition: "not-authorized", text: "Log in first"},
		{name: "compression after login", server: echo, trusted: true, client: func(r *row) {
			r.login()
			r.send("<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>")
		}, kind: "stream", condition: "unsupported-stanza-type", text: "compression"},
		{name: "login after login", server: echo, trusted: true, client: func(r *row) {
			r.login()
			r.auth(user, "other")
		}, kind: "stream", condition: "unsupported-stanza-type", text: "SASL"},
		{name: "oversize before login", server: echo, client: func(r *row) {
			r.secure()
			r.push("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + strings.Repeat("A", 40_000))
		}, kind: "stream", condition: "policy-violation", text: "too large"},
		{name: "oversize after login", server: echo, trusted: true, client: func(r *row) {
			r.login()
			r.push("<message><body>" + strings.Repeat("A", 20_000) + "</body></message>")
		}, kind: "stream", condition: "policy-violation", text: "too large"},
		{name: "a deep stanza", server: echo, trusted: true, client: func(r *row) {
			r.login()
			r.push("<message>" + strings.Repeat("<a>", 1000))
		}, kind: "stream", condition: "policy-violation"},
		{name: "broken xml after login", server: echo, trusted: true, client: func(r *row) {
			r.login()
			r.push("<message><body>it's</message>")
		}, kind: "stream", condition: "not-well-formed"},
		{name: "a document type after login", server: echo, trusted: true, client: func(r *row) {
			r.login()
			r.push("<!DOCTYPE x>")
		}, kind: "stream", condition: "restricted-xml"},

		{name: "another mechanism", server: echo, client: func(r *row) {
			r.secure()
			r.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1h</auth>")
		}, kind: "sasl", condition: "invalid-mechanism", text: "PLAIN"},
		{name: "a login that is no base64", server: echo, client: func(r *row) {
			r.secure()
			r.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>!!</auth>")
		}, kind: "sasl", condition: "incorrect-encoding", text: "base64"},
		{name: "an account of another domain", server: echo, client: func(r *row) {
			r.secure()
			r.auth("juliet@other.test", password)
		}, kind: "sasl", condition: "not-authorized", text: "another domain"},
		{name: "a wrong password", server: echo, trusted: true, client: func(r *row) {
			r.secure()
			r.auth(user, "wrong")
		}, kind: "sasl", condition: "not-authorized", text: "refused the login"},
		{name: "too many logins", server: echo, trusted: true, client: func(r *row) {
			r.secure()
			for range 3 {
				r.auth(user, "wrong")
				r.expect(`</failure>`)
			}
		}, kind: "stream", condition: "policy-violation", text: "Too many"},
		{name: "a client that goes while the server is silent", server: hang, client: func(r *row) {
			r.tryLogin()
			for end := time.Now().Add(patience); r.script.Open() == 0 && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			r.Close()
		}},
		{name: "a client that vanishes in mid-session", server: echo, trusted: true, client: func(r *row) {
			r.login()
			r.Close()
		}},

		{name: "relay of a plain password", rule: `sasl = "relay"`, server: func(s *server) {
			s.secure().Open(s.domain, lab.FeatureSASL("SCRAM-SHA-256", "PLAIN"))
			s.Hang()
		}, kind: "sasl", condition: "mechanism-too-weak", text: "PLAIN"},
		{name: "passthrough without tls", rule: `sasl = "passthrough"`, server: func(s *server) {
			s.Open(s.domain, lab.FeatureSTARTTLS)
			s.Hang()
		}, client: func(r *row) {
			r.open()
			r.auth(user, password)
		}, kind: "stream", condition: "policy-violation", text: "STARTTLS"},
	}
}

// slowMisdeeds run into time limits, so that they run all at once.
func slowMisdeeds() []misdeed {
	return []misdeed{
		{name: "no bytes at all", client: func(r *row) {},
			kind: "stream", condition: "connection-timeout", text: "too long"},
		{name: "no bytes on the tls port", listener: "tls", client: func(r *row) {}},
		{name: "half a header", client: func(r *row) { r.send("<?xml version='1.0'?><stream:str") },
			kind: "stream", condition: "connection-timeout", text: "too long"},
		{name: "a header byte by byte", client: func(r *row) {
			for range 100 { // the limit is for the whole, not for each byte
				r.push("<")
				time.Sleep(100 * time.Millisecond)
				r.push("a")
			}
		}, kind: "stream", condition: "not-well-formed"},
		{name: "a slow header", client: func(r *row) {
			text := header("to='" + r.domain + "' version='1.0'")
			for i := range 12 {
				r.push(text[i : i+1])
				time.Sleep(500 * time.Millisecond)
			}
		}, kind: "stream", condition: "connection-timeout", text: "too long"},
		{name: "half a handshake", listener: "tls", client: func(r *row) { r.send("\x16\x03\x01\x02\x00\x01") }},
		{name: "silence inside tls", server: hang, client: func(r *row) { r.secure() },
			kind: "stream", condition: "connection-timeout", text: "too long"},
		{name: "tor hangs", server: hang, tor: &lab.SOCKSFault{Hang: lab.SOCKSHello},
			kind: "stream", condition: "remote-connection-failed", text: "Tor"},
		{name: "dns is silent", server: hang, dns: dnsFault(lab.DNSFault{Silent: true}),
			kind: "stream", condition: "remote-connection-failed", text: "no answer within"},
		{name: "dns answers with another id", server: hang, dns: dnsFault(lab.DNSFault{OtherID: true}),
			kind: "stream", condition: "remote-connection-failed", text: "no answer within"},
	}
}
