package tests

import (
	"crypto/tls"
	"encoding/base64"
	"strings"

	"xmpp-gw/tests/lab"
)

// seeOther is a server's word to go elsewhere (RFC 6120 §4.9.3.19).
func seeOther(host string) string {
	return "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" + host + "</see-other-host></stream:error></stream:stream>"
}

// shows is a server with a certificate.
func shows(leaf func(domain string) lab.CALeaf) func(*server) {
	return func(s *server) { s.leaf(leaf(s.domain)).Hang() }
}

// offers is a server with these features inside TLS.
func offers(features string) func(*server) {
	return func(s *server) {
		s.secure().Open(s.domain, features)
		s.Hang()
	}
}

// scram is a server whose last SCRAM message is changed.
func scram(change func(string) string) func(*server) {
	return func(s *server) {
		s.secure().Open(s.domain, lab.FeatureSASL("SCRAM-SHA-256"))
		s.SCRAM(user, password, change)
		s.Hang()
	}
}

// answers is a server that has one answer to the first SASL message.
func answers(element func(nonce string) string) func(*server) {
	return func(s *server) {
		s.secure().Open(s.domain, lab.FeatureSASL("SCRAM-SHA-256"))
		first, _ := base64.StdEncoding.DecodeString(s.Expect(`<auth[^>]*>([^<]*)</auth>`)[1])
		_, nonce, _ := strings.Cut(string(first), ",r=")
		s.Send(element(nonce))
		s.Hang()
	}
}

func says(text string) func(string) string { return func(string) string { return text } }

const saslNS = "urn:ietf:params:xml:ns:xmpp-sasl"

// badServers are servers that do something wrong before the login has succeeded.
func badServers() []misdeed {
	return []misdeed{
		{name: "nobody listens", kind: "stream", condition: "remote-connection-failed", text: "refused"},
		{name: "a server that hangs up", server: func(*server) {},
			kind: "stream", condition: "remote-connection-failed", text: "closed the connection"},
		{name: "another protocol", server: func(s *server) { s.Send("220 mail.example.test ESMTP\r\n"); s.Hang() },
			kind: "stream", condition: "remote-connection-failed", text: "not allowed in XMPP"},
		{name: "an endless server header", server: func(s *server) { s.Send("<stream:stream xmlns='" + strings.Repeat("a", 50_000)); s.Hang() },
			kind: "stream", condition: "remote-connection-failed", text: "not allowed in XMPP"},
		{name: "a server of old", server: func(s *server) {
			s.Expect(`<stream:stream[^>]*>`)
			s.Send(strings.ReplaceAll(lab.Header(s.domain), " version='1.0'>", ">"))
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "older than 1.0"},
		{name: "host unknown there", server: func(s *server) {
			s.Expect(`<stream:stream[^>]*>`)
			s.Send(lab.Header(s.domain) + "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
			s.Hang()
		}, kind: "stream", condition: "host-unknown", text: "The server ended the stream"},

		{name: "no starttls offered", server: func(s *server) {
			s.Open(s.domain, lab.FeatureSASL("SCRAM-SHA-256", "PLAIN"))
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "no encryption"},
		{name: "starttls stripped to nothing", server: func(s *server) { s.Open(s.domain, ""); s.Hang() },
			kind: "stream", condition: "policy-violation", text: "no encryption"},
		{name: "starttls refused", server: func(s *server) {
			s.Open(s.domain, lab.FeatureSTARTTLS)
			s.Expect(`<starttls[^>]*/>`)
			s.Send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "then refused it"},
		{name: "bytes behind proceed", server: func(s *server) {
			s.Open(s.domain, lab.FeatureSTARTTLS)
			s.Expect(`<starttls[^>]*/>`)
			s.Send(lab.Proceed + lab.Header(s.domain) + "<stream:features>" + lab.FeatureSASL("PLAIN") + "</stream:features>")
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "Bytes in the clear"},
		{name: "no tls behind proceed", server: func(s *server) {
			s.Open(s.domain, lab.FeatureSTARTTLS)
			s.Expect(`<starttls[^>]*/>`)
			s.Send(lab.Proceed)
			s.Expect(`\x16\x03`)
			s.Send(lab.Header(s.domain))
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "does not speak TLS"},
		{name: "only tls 1.2", server: func(s *server) {
			s.Open(s.domain, lab.FeatureSTARTTLS)
			s.Expect(`<starttls[^>]*/>`)
			s.Send(lab.Proceed)
			cert, err := s.ca.Leaf(lab.CALeaf{Names: []string{s.domain}})
			if err != nil {
				panic(err)
			}
			_ = tls.Server(s.Conn, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12}).Handshake()
		}, kind: "stream", condition: "policy-violation", text: `min_tls = "1.2"`},

		{name: "expired certificate", server: shows(func(d string) lab.CALeaf { return lab.CALeaf{Names: []string{d}, Expired: true} }),
			kind: "stream", condition: "policy-violation", text: "has expired"},
		{name: "certificate of tomorrow", server: shows(func(d string) lab.CALeaf { return lab.CALeaf{Names: []string{d}, NotYetValid: true} }),
			kind: "stream", condition: "policy-violation", text: "not valid yet"},
		{name: "certificate of another name", server: shows(func(d string) lab.CALeaf { return lab.CALeaf{Names: []string{"good.test"}} }),
			kind: "stream", condition: "policy-violation", text: "it is for good.test"},
		{name: "certificate of a common name", server: shows(func(d string) lab.CALeaf { return lab.CALeaf{CommonName: d} }),
			kind: "stream", condition: "policy-violation", text: "a common name does not"},
		{name: "certificate of a parent wildcard", server: shows(func(d string) lab.CALeaf { return lab.CALeaf{Names: []string{"*.a." + d}} }),
			kind: "stream", condition: "policy-violation", text: "it is for"},
		{name: "self-signed certificate", server: shows(func(d string) lab.CALeaf { return lab.CALeaf{Names: []string{d}, SelfSigned: true} }),
			kind: "stream", condition: "policy-violation", text: "self-signed"},
		{name: "certificate for clients", server: shows(func(d string) lab.CALeaf { return lab.CALeaf{Names: []string{d}, Client: true} }),
			kind: "stream", condition: "policy-violation", text: "another purpose than a server"},
		{name: "certificate of a strange authority", server: func(s *server) {
			strange, err := lab.NewCA()
			if err != nil {
				panic(err)
			}
			s.ca = strange
			s.secure().Hang()
		}, kind: "stream", condition: "policy-violation", text: "unknown authority"},

		{name: "bind before tls", server: func(s *server) { s.Open(s.domain, lab.FeatureSTARTTLS+lab.FeatureBind); s.Hang() },
			kind: "sasl", condition: "temporary-auth-failure", text: "before any login"},
		{name: "bind without login", server: offers(lab.FeatureBind),
			kind: "sasl", condition: "temporary-auth-failure", text: "before any login"},
		{name: "bind beside the login", server: offers(lab.FeatureSASL("SCRAM-SHA-256") + lab.FeatureBind),
			kind: "sasl", condition: "temporary-auth-failure", text: "before any login"},
		{name: "no login at all", server: offers(""), kind: "sasl", condition: "mechanism-too-weak", text: "no way to log in"},
		{name: "plain only", server: offers(lab.FeatureSASL("PLAIN")),
			kind: "sasl", condition: "mechanism-too-weak", text: `auth_min = "plain"`},
		{name: "plain only and allowed", rule: `auth_min = "plain"`, trusted: true, plain: true, server: func(s *server) {
			s.secure().Open(s.domain, lab.FeatureSASL("PLAIN"))
			s.Expect(`<auth [^>]*mechanism=['"]PLAIN['"][^>]*>` + plainMessage(user, password) + `</auth>`)
			s.Send("<success xmlns='" + saslNS + "'/>")
			s.bind()
			s.echo()
		}, client: func(r *row) { r.login(); r.echo(); r.Close() }},
		{name: "scram beside plain and plain allowed", rule: `auth_min = "plain"`, trusted: true, server: func(s *server) {
			s.secure().Open(s.domain, lab.FeatureSASL("PLAIN", "SCRAM-SHA-256"))
			s.SCRAM(user, password, nil)
			s.bind()
			s.echo()
		}, client: func(r *row) { r.login(); r.echo(); r.Close() }},
		{name: "no binding where it is required", rule: `binding = "require"`, server: offers(lab.FeatureSASL("SCRAM-SHA-256")),
			kind: "sasl", condition: "mechanism-too-weak", text: "no channel binding"},
		{name: "binding types without a mechanism", server: offers(lab.FeatureSASL("SCRAM-SHA-256") +
			"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>"),
			kind: "sasl", condition: "mechanism-too-weak", text: "somebody in the middle"},

		{name: "wrong server signature", trusted: true, server: scram(says("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
			kind: "sasl", condition: "temporary-auth-failure", text: "without proving"},
		{name: "missing server signature", trusted: true, server: scram(says("")),
			kind: "sasl", condition: "temporary-auth-failure", text: "without proving"},
		{name: "success at once", trusted: true, server: answers(says("<success xmlns='" + saslNS + "'/>")),
			kind: "sasl", condition: "temporary-auth-failure", text: "without proving"},
		{name: "a cheap salt", trusted: true, server: answers(func(nonce string) string {
			return "<challenge xmlns='" + saslNS + "'>" + base64.StdEncoding.EncodeToString([]byte("r="+nonce+"more,s=c2FsdA==,i=1")) + "</challenge>"
		}), kind: "sasl", condition: "temporary-auth-failure", text: "iterations"},
		{name: "an old nonce", trusted: true, server: answers(func(string) string {
			return "<challenge xmlns='" + saslNS + "'>" + base64.StdEncoding.EncodeToString([]byte("r=replayed,s=c2FsdA==,i=4096")) + "</challenge>"
		}), kind: "sasl", condition: "temporary-auth-failure", text: "nonce"},
		{name: "a challenge that is no base64", trusted: true, server: answers(says("<challenge xmlns='" + saslNS + "'>!</challenge>")),
			kind: "sasl", condition: "temporary-auth-failure", text: "base64"},
		{name: "an account that is disabled", trusted: true, server: answers(says("<failure xmlns='" + saslNS + "'><account-disabled/><text>Ask juliet@capulet.example.</text></failure>")),
			kind: "sasl", condition: "account-disabled", text: "Ask juliet@capulet.example."},
		{name: "a server that goes during the login", trusted: true, server: func(s *server) {
			s.secure().Open(s.domain, lab.FeatureSASL("SCRAM-SHA-256"))
			s.Expect(`</auth>`)
		}, kind: "sasl", condition: "temporary-auth-failure", text: "closed the stream"},

		{name: "see other host before tls", server: func(s *server) {
			s.Expect(`<stream:stream[^>]*>`)
			s.Send(lab.Header(s.domain) + seeOther("other.test"))
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "before encryption"},
		{name: "see other host outside the domain", server: func(s *server) {
			s.secure().Expect(`<stream:stream[^>]*>`)
			s.Send(lab.Header(s.domain) + seeOther("good.test:5222"))
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "does not follow"},
		{name: "see other host where policy forbids it", rule: `redirect = "deny"`, server: func(s *server) {
			s.secure().Expect(`<stream:stream[^>]*>`)
			s.Send(lab.Header(s.domain) + seeOther(s.other.Addr()))
			s.Hang()
		}, second: func(s *server) { s.good().echo() },
			kind: "stream", condition: "policy-violation", text: "policy forbids"},
		{name: "see other host in circles", server: func(s *server) {
			s.secure().Expect(`<stream:stream[^>]*>`)
			s.Send(lab.Header(s.domain) + seeOther(s.script.Addr()))
			s.Hang()
		}, kind: "stream", condition: "policy-violation", text: "too often"},
		{name: "see other host in the same domain", server: func(s *server) {
			s.secure().Expect(`<stream:stream[^>]*>`)
			s.Send(lab.Header(s.domain) + seeOther(s.other.Addr()))
			s.Hang()
		}, second: func(s *server) { s.good().echo() },
			client: func(r *row) { r.login(); r.echo(); r.Close() }},
	}
}

// bind is the server's part behind a login.
func (s *server) bind() {
	s.Open(s.domain, lab.FeatureBind)
	id := s.Expect(`<iq[^>]*id=['"]([^'"]*)['"][^>]*>.*</iq>`)[1]
	s.Send("<iq type='result' id='" + id + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
}

// badStreams are servers that do something wrong in mid-session.
func badStreams() []misdeed {
	after := func(name, sent string, condition, text string) misdeed {
		return misdeed{name: name, trusted: true, server: func(s *server) {
			s.good().Expect(`<presence/>`)
			s.Send(sent)
			s.Hang()
		}, client: func(r *row) {
			r.login()
			r.send("<presence/>")
		}, kind: "stream", condition: condition, text: text}
	}
	const failed = "remote-connection-failed"
	return []misdeed{
		after("garbage after login", "<message><body></message>", failed, "not allowed in XMPP"),
		after("bytes that are no utf-8", "<message><body>\xff\xfe</body></message>", failed, "not allowed in XMPP"),
		after("a comment after login", "<message><!-- romeo@montague.example --></message>", failed, "not allowed in XMPP"),
		after("an entity bomb", "<!DOCTYPE a [<!ENTITY a 'romeo'>]>", failed, "not allowed in XMPP"),
		after("an oversize stanza of the server", "<message><body>"+strings.Repeat("A", 200_000)+"</body></message>", failed, "not allowed in XMPP"),
		after("tls once more", lab.Proceed, "policy-violation", "negotiate again"),
		after("a success once more", "<success xmlns='"+saslNS+"'/>", "policy-violation", "negotiate again"),
		after("features once more", "<stream:features>"+lab.FeatureBind+"</stream:features>", "policy-violation", "negotiate again"),
		after("another session took over", "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Replaced by romeo@montague.example.</text></stream:error></stream:stream>",
			"conflict", "Replaced by"),
		after("see other host in mid-session", seeOther("other.test"), "reset", "connect anew"),
		{name: "a server that vanishes in mid-session", trusted: true, server: func(s *server) { s.good().Expect(`<presence/>`) },
			client: func(r *row) { r.login(); r.send("<presence/>") }, kind: "stream", condition: failed, text: "Connect again"},
	}
}
