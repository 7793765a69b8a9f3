package probe

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/tests/lab"
)

const password = "a password, or so"

// house is a scripted server with one account, romeo. Its zero value is a good one
// but for the certificate; each field makes it another.
type house struct {
	cert       tls.Certificate
	conf       func(*tls.Config)
	mechanisms []string // nil: SCRAM-SHA-256-PLUS and SCRAM-SHA-256
	types      []string // of channel binding, nil: tls-exporter and tls-server-end-point
	premature  string   // features that only a login should bring

	lax    bool   // any channel binding is right
	blind  bool   // who claims not to have been shown -PLUS gets in
	hash   string // XEP-0474: "" for none, "right" or "wrong"
	fake   bool   // it does not know the password
	others string // features after the login besides binding
	// answer is what comes of an IQ: the payload, "" for an error, "-" for silence.
	answer func(to, payload string) string
}

func (h house) offer() ([]string, []string) {
	if h.mechanisms != nil {
		return h.mechanisms, nil
	}
	if h.types != nil {
		return []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}, h.types
	}
	return []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}, []string{"tls-exporter", "tls-server-end-point"}
}

func (h house) run(c *lab.ScriptConn) {
	s := server{cert: h.cert, conf: h.conf}
	if c.Expect(`<stream:stream[^>]* to='([^']*)'[^>]*>|GET `)[1] != domain {
		c.Send(s.header() + streamError(condition("host-unknown")))
		return
	}
	c.Send(s.header() + "<stream:features>" + lab.FeatureSTARTTLS + "</stream:features>")
	if c.Expect(`<starttls[^>]*/>([\s\S]*)|<message `)[0] == "<message " {
		c.Send(streamError(condition("policy-violation")))
		return
	}
	c.Send(lab.Proceed)
	s.tls(c)
	mechanisms, types := h.offer()
	features := lab.FeatureSASL(mechanisms...) + h.premature
	if types != nil {
		features += "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='" + strings.Join(types, "'/><channel-binding type='") + "'/></sasl-channel-binding>"
	}
	c.Open(domain, features)
	m := c.Expect(`<auth [^>]*mechanism='([^']*)'>([^<]*)</auth>|<iq[^>]*id='form'`)
	if m[1] == "" {
		c.Send("<iq type='error' id='form'/>")
		c.Hang()
	}
	if !h.login(c, m[1], m[2]) {
		c.Send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
		c.Hang()
	}
	c.Open(domain, lab.FeatureBind+h.others)
	h.session(c)
}

// login is the server's side of SCRAM-SHA-256 (RFC 5802 §5) and PLAIN.
func (h house) login(c *lab.ScriptConn, mechanism, initial string) bool {
	success := func(text string) bool {
		c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + base64.StdEncoding.EncodeToString([]byte(text)) + "</success>")
		return true
	}
	first, _ := base64.StdEncoding.DecodeString(initial)
	if mechanism == "PLAIN" {
		return string(first) == "\x00romeo\x00"+password && success("")
	}
	gs2, bare, _ := strings.Cut(string(first), ",,")
	_, nonce, _ := strings.Cut(bare, ",r=")
	challenge := "r=" + nonce + "0123456789,s=" + base64.StdEncoding.EncodeToString([]byte("salt")) + ",i=4096"
	mechanisms, types := h.offer()
	switch h.hash {
	case "right":
		challenge += ",h=" + base64.StdEncoding.EncodeToString(saslauth.DowngradeHash(sha256.New, mechanisms, types))
	case "wrong":
		challenge += ",h=" + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	}
	c.Send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + base64.StdEncoding.EncodeToString([]byte(challenge)) + "</challenge>")
	final, _ := base64.StdEncoding.DecodeString(c.Expect(`<response[^>]*>([^<]*)</response>`)[1])
	without, proof, _ := strings.Cut(string(final), ",p=")
	bound, _, _ := strings.Cut(strings.TrimPrefix(without, "c="), ",")

	if !h.lax && !bytes.Equal(h.bindingData(c, gs2), decoded(bound)) || gs2 == "y" && !h.blind && mechanisms[0] == "SCRAM-SHA-256-PLUS" {
		return false
	}
	salted, err := pbkdf2.Key(sha256.New, password, []byte("salt"), 4096, sha256.Size)
	if err != nil {
		return false
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	signed := bare + "," + challenge + "," + without
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	for i, b := range mac(stored[:], signed) {
		client[i] ^= b
	}
	if !bytes.Equal(client, decoded(proof)) {
		return false
	}
	if h.fake {
		salted[0]++
	}
	return success("v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), signed)))
}

// bindingData is what the client must have sent (RFC 5802 §7, cbind-input).
func (h house) bindingData(c *lab.ScriptConn, gs2 string) []byte {
	input := []byte(gs2 + ",,")
	if kind, ok := strings.CutPrefix(gs2, "p="); ok {
		leaf, err := x509.ParseCertificate(h.cert.Certificate[0])
		if err != nil {
			panic(err)
		}
		state := c.Conn.(*tls.Conn).ConnectionState()
		data, _ := saslauth.ServerBinding(&state, leaf, kind)
		input = append(input, data...)
	}
	return input
}

func decoded(s string) []byte {
	b, _ := base64.StdEncoding.DecodeString(s)
	return b
}

// session answers until the client goes.
func (h house) session(c *lab.ScriptConn) {
	for {
		m := c.Expect(`<iq type='[a-z]*' id='([^']*)'(?: to='([^']*)')?>(.*?)</iq>|(<enable [^>]*>)|(</stream:stream>)`)
		answer := "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>romeo@" + domain + "/x</jid></bind>"
		switch {
		case m[5] != "":
			c.Send("</stream:stream>")
			return
		case m[4] != "":
			c.Send("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='1' location='elsewhere.test:5222'/>")
			continue
		case !strings.Contains(m[3], "xmpp-bind"):
			answer = h.answer(m[2], m[3])
		}
		switch answer {
		case "-":
		case "":
			c.Send(fmt.Sprintf("<iq type='error' id='%s' from='%s'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", m[1], m[2]))
		default:
			c.Send(fmt.Sprintf("<iq type='result' id='%s' from='%s'>%s</iq>", m[1], m[2], answer))
		}
	}
}

// full is the answers of a server that has everything.
func full(to, payload string) string {
	for key, answer := range map[string]string{
		domain + " " + nsInfo: "<identity category='server' type='im'/><feature var='" + nsInfo + "'/><feature var='urn:xmpp:extdisco:2'/>" +
			"<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>" + nsContact + "</value></field><field var='abuse-addresses'><value>mailto:abuse@example.test</value></field></x>",
		"romeo@" + domain + " " + nsInfo:    "<identity category='pubsub' type='pep'/><feature var='urn:xmpp:mam:2'/>",
		domain + " " + nsItems:              "<item jid='Upload." + domain + "'/><item jid='elsewhere.test'/><item jid='rooms." + domain + "'/><item jid='rooms." + domain + "' node='x'/>",
		domain + " " + nsVersion:            "<name>Soft</name><version>1.2</version><os>Plan 9</os>",
		"rooms." + domain + " " + nsInfo:    "<identity category='conference' type='text'/><feature var='http://jabber.org/protocol/muc'/>",
		"upload." + domain + " " + nsInfo:   "<feature var='" + nsUpload + "'/>",
		" " + nsPrivate:                     "<none xmlns='urn:xmpp:none'/>",
		domain + " urn:xmpp:extdisco:2":     "<service type='turn' host='turn.example.test' port='3478'/><service type='stun' host='turn.example.test'/><service type='stun' host='192.0.2.7'/>",
		"upload." + domain + " " + nsUpload: "<put url='https://put.example.test:5281/a.txt'><header name='Authorization'>x</header></put><get url='https://get.example.test/a.txt'/>",
	} {
		who, ns, _ := strings.Cut(key, " ")
		if who != to || !strings.Contains(payload, "xmlns='"+ns+"'") {
			continue
		}
		name := "query"
		switch ns {
		case nsUpload:
			name = "slot"
		case "urn:xmpp:extdisco:2":
			name = "services"
		}
		return "<" + name + " xmlns='" + ns + "'>" + answer + "</" + name + ">"
	}
	return ""
}
