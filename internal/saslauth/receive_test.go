package saslauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	auth1 = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>"
	auth2 = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>%s</initial-response><user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>X</software></user-agent></authenticate>"
)

func TestReceivePlain(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, c := range []struct {
		name, msg, user, pass string
		cond                  Condition
	}{
		{name: "plain", msg: "\x00alice\x00secret", user: "alice", pass: "secret"},
		{name: "spaces and signs", msg: "\x00alice\x00 pass word,=é🐴 ", user: "alice", pass: " pass word,=é🐴 "},
		{name: "authzid", msg: "alice@example.org\x00alice\x00secret", user: "alice", pass: "secret"},
		{name: "authzid, other case", msg: "Alice@EXAMPLE.org\x00alice\x00secret", user: "alice", pass: "secret"},
		{name: "whole JID", msg: "\x00alice@example.org\x00secret", user: "alice", pass: "secret"},
		{name: "whole JID, other case", msg: "\x00alice@Example.ORG\x00secret", user: "alice", pass: "secret"},
		{name: "whole JID, U-label", msg: "\x00alice@bücher.example\x00secret", user: "alice", pass: "secret"},
		{name: "the example of XEP-0388, which lacks a NUL", msg: "\x00alice@example.org\n345", cond: MalformedRequest},
		{name: "whole JID elsewhere", msg: "\x00alice@other.example\x00secret", cond: NotAuthorized},
		{name: "resource", msg: "\x00alice@example.org/home\x00secret", cond: NotAuthorized},
		{name: "two ats", msg: "\x00alice@example.org@example.org\x00secret", cond: NotAuthorized},
		{name: "no local part", msg: "\x00@example.org\x00secret", cond: NotAuthorized},
		{name: "other authzid", msg: "bob@example.org\x00alice\x00secret", cond: InvalidAuthzid},
		{name: "authzid elsewhere", msg: "alice@other.example\x00alice\x00secret", cond: InvalidAuthzid},
		{name: "authzid no JID", msg: "alice\x00alice\x00secret", cond: InvalidAuthzid},
		{name: "empty", msg: "", cond: MalformedRequest},
		{name: "no NUL", msg: "alice", cond: MalformedRequest},
		{name: "one NUL", msg: "alice\x00secret", cond: MalformedRequest},
		{name: "three NULs", msg: "\x00alice\x00secret\x00", cond: MalformedRequest},
		{name: "no name", msg: "\x00\x00secret", cond: NotAuthorized},
		{name: "no password", msg: "\x00alice\x00", cond: NotAuthorized},
		{name: "not UTF-8", msg: "\x00alice\x00\xff", cond: MalformedRequest},
		{name: "control character in the name", msg: "\x00al\nice\x00secret", cond: NotAuthorized},
		{name: "quote in the name", msg: "\x00al'ice\x00secret", cond: NotAuthorized},
		{name: "long name", msg: "\x00" + long + "\x00secret", cond: NotAuthorized},
		{name: "long password", msg: "\x00alice\x00" + long, cond: NotAuthorized},
	} {
		for p, form := range map[Protocol]string{SASL1: auth1, SASL2: auth2} {
			t.Run(c.name+" "+p.String(), func(t *testing.T) {
				text := b64(c.msg)
				if text == "" && p == SASL1 {
					text = "="
				}
				s := &fakeStream{t: t}
				got, cred, err := Receive(s, node(t, fmt.Sprintf(form, text)), "bücher.example", "xn--bcher-kva.example", "example.org")
				checkReceived(t, p, got, cred, err, c.user, c.pass, c.cond)
				if len(s.sent) != 0 {
					t.Errorf("sent %q", s.sent)
				}
			})
		}
	}
}

func checkReceived(t *testing.T, p, got Protocol, cred *Credentials, err error, user, pass string, cond Condition) {
	t.Helper()
	if got != p {
		t.Errorf("protocol %v, want %v", got, p)
	}
	var f *Failure
	switch {
	case cond != "":
		if !errors.As(err, &f) || f.Condition != cond || f.Text == "" || cred != nil {
			t.Errorf("got %v, want %s", err, cond)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Error("the error carries the password")
		}
	case err != nil:
		t.Error(err)
	case cred.Username != user || string(cred.Password) != pass:
		t.Errorf("got %q %q", cred.Username, cred.Password)
	}
}

// A client without an initial response is asked for one.
func TestReceiveAsks(t *testing.T) {
	const ns1, ns2 = "urn:ietf:params:xml:ns:xmpp-sasl", "urn:xmpp:sasl:2"
	msg := b64("\x00alice\x00secret")
	for _, c := range []struct {
		name  string
		reply []string
		cond  Condition
		err   error
	}{
		{name: "answers", reply: []string{"<response xmlns='NS'>" + msg + "</response>"}},
		{name: "answers after a keepalive", reply: []string{"\n", "<response xmlns='NS'>\n" + msg + "\n</response>"}},
		{name: "gives up", reply: []string{"<abort xmlns='NS'/>"}, cond: Aborted},
		{name: "answers nothing", reply: []string{"<response xmlns='NS'/>"}, cond: MalformedRequest},
		{name: "not base64", reply: []string{"<response xmlns='NS'>***</response>"}, cond: IncorrectEncoding},
		{name: "base64 with a hole", reply: []string{"<response xmlns='NS'>" + msg[:8] + "\n" + msg[8:] + "</response>"}, cond: IncorrectEncoding},
		{name: "says something else", reply: []string{"<message/>"}, cond: MalformedRequest},
		{name: "another namespace", reply: []string{"<response>" + msg + "</response>"}, cond: MalformedRequest},
		{name: "leaves", err: ErrClosed},
		{name: "closes", reply: []string{"</stream:stream>"}, err: ErrClosed},
		{name: "only keepalives", reply: strings.Split(strings.Repeat(" ,", 50)+" ", ","), err: ErrProtocol},
	} {
		for p, first := range map[Protocol]string{
			SASL1: "<auth xmlns='" + ns1 + "' mechanism='PLAIN'/>",
			SASL2: "<authenticate xmlns='" + ns2 + "' mechanism='PLAIN'/>",
		} {
			t.Run(c.name+" "+p.String(), func(t *testing.T) {
				s := &fakeStream{t: t}
				for _, r := range c.reply {
					s.queue = append(s.queue, strings.ReplaceAll(r, "NS", p.space()))
				}
				got, cred, err := Receive(s, node(t, first), "example.org")
				if c.err != nil {
					if !errors.Is(err, c.err) {
						t.Errorf("got %v, want %v", err, c.err)
					}
				} else {
					checkReceived(t, p, got, cred, err, "alice", "secret", c.cond)
				}
				if want := "<challenge xmlns='" + p.space() + "'/>"; len(s.sent) != 1 || s.sent[0] != want {
					t.Errorf("sent %q, want %q", s.sent, want)
				}
			})
		}
	}
}

func TestReceiveRefuses(t *testing.T) {
	for raw, want := range map[string]Condition{
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>eA==</auth>": InvalidMechanism,
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>eA==</auth>":                         InvalidMechanism,
		"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='plain'/>":                          InvalidMechanism,
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>e</auth>":          IncorrectEncoding,
		"<auth xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>eA==</auth>":                        MalformedRequest,
		"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>":                               MalformedRequest,
		"<abort xmlns='urn:xmpp:sasl:2'/>":                                                   MalformedRequest,
		"<message/>":                                                                         MalformedRequest,
	} {
		_, cred, err := Receive(&fakeStream{t: t}, node(t, raw), "example.org")
		var f *Failure
		if !errors.As(err, &f) || f.Condition != want || cred != nil {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}

// What the client is sent, to the byte.
func TestRendering(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(ClientFeatures(true)), "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms><authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication>"},
		{string(ClientFeatures(false)), "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"},
		{string(SASL1.Success("a@b")), "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"},
		{string(SASL2.Success("a&b@example.org")), "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>a&amp;b@example.org</authorization-identifier></success>"},
		{string(SASL1.Challenge([]byte("x"))), "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>eA==</challenge>"},
		{string(SASL1.Failure(Failure{NotAuthorized, "No & never"})), "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text xml:lang='en'>No &amp; never</text></failure>"},
		{string(SASL2.Failure(Failure{AccountDisabled, ""})), "<failure xmlns='urn:xmpp:sasl:2'><account-disabled xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>"},
		{string(SASL1.Failure(Failure{"made-up/><x", ""})), "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><temporary-auth-failure/></failure>"},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}

func TestClientFailure(t *testing.T) {
	for _, c := range []struct {
		err  error
		cond Condition
		says string
	}{
		{&Failure{NotAuthorized, "Wrong password"}, NotAuthorized, "(not-authorized: Wrong password)"},
		{&Failure{AccountDisabled, ""}, AccountDisabled, "(account-disabled)"},
		{&Failure{CredentialsExpired, ""}, CredentialsExpired, "refused"},
		{&Failure{TemporaryAuthFailure, ""}, TemporaryAuthFailure, "refused"},
		{&Failure{EncryptionRequired, ""}, EncryptionRequired, "refused"},
		{&Failure{MechanismTooWeak, ""}, MechanismTooWeak, "refused"},
		{&Failure{MalformedRequest, "Invalid channel binding value."}, TemporaryAuthFailure, "gateway's way"},
		{&Failure{Aborted, ""}, TemporaryAuthFailure, "gateway's way"},
		{fmt.Errorf("login: %w", &Failure{NotAuthorized, ""}), NotAuthorized, "refused"},
		{errorOf(ErrTooWeak, "a"), MechanismTooWeak, "a"},
		{errRatchet, MechanismTooWeak, "in the middle"},
		{errorOf(ErrBinding, "b"), MechanismTooWeak, "b"},
		{errorOf(ErrDowngrade, "c"), MechanismTooWeak, "c"},
		{errorOf(ErrServerSignature, "d"), TemporaryAuthFailure, "d"},
		{errorOf(ErrMoreSteps, "e"), TemporaryAuthFailure, "e"},
		{errorOf(ErrCredentials, "f"), NotAuthorized, "f"},
		{errClosed, TemporaryAuthFailure, "closed"},
		{errors.New("read tcp 192.0.2.1:5222: reset"), TemporaryAuthFailure, "connection failed"},
		{context.DeadlineExceeded, TemporaryAuthFailure, "connection failed"},
	} {
		f := ClientFailure(c.err)
		if f.Condition != c.cond || !strings.Contains(f.Text, c.says) || strings.Contains(f.Text, "192.0.2.1") {
			t.Errorf("%v: %+v", c.err, f)
		}
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[31m\u202eb\n c":         "a [31m b c",
		"\xff\xfe":                     "",
		strings.Repeat("é", 200):       strings.Repeat("é", 128) + "…",
		"x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", 127) + "…",
	} {
		if got := CleanText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
