package saslauth

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

func alice() *Credentials { return &Credentials{Username: "user", Password: []byte("pencil")} }

// Each SCRAM mechanism, each protocol and each type of binding against the
// library's own server.
func TestMechanisms(t *testing.T) {
	type conn struct{ client, server *tls.ConnectionState }
	conns := map[uint16]conn{}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, s := handshake(t, v)
		conns[v] = conn{c, s}
	}
	for _, f := range families {
		for _, p := range []Protocol{SASL1, SASL2} {
			for _, c := range []struct {
				version uint16
				typ     string
			}{
				{tls.VersionTLS13, ""},
				{tls.VersionTLS13, TLSExporter},
				{tls.VersionTLS13, TLSServerEndPoint},
				{tls.VersionTLS12, TLSUnique},
				{tls.VersionTLS12, TLSServerEndPoint},
			} {
				t.Run(f.name+" "+p.String()+" "+c.typ, func(t *testing.T) {
					name := f.name
					var o Offer
					if c.typ != "" {
						name += plus
						o.BindingTypes = []string{c.typ}
					}
					if p == SASL1 {
						o.Mechanisms = []string{name, "PLAIN"}
					} else {
						o.SASL2 = []string{name, "PLAIN"}
					}
					s := &fakeStream{t: t, answer: libraryServer(t, p, f, conns[c.version].server, c.typ)}
					out, err := Authenticate(context.Background(), s, o, alice(), usual, conns[c.version].client)
					if err != nil {
						t.Fatal(err)
					}
					want := Outcome{Protocol: p, Mechanism: name, Binding: c.typ, Plus: c.typ != "", PlusOffered: c.typ != ""}
					if p == SASL2 {
						want.Identity = "user@example.org"
					}
					if out != want {
						t.Errorf("outcome %+v, want %+v", out, want)
					}
					for _, e := range s.sent {
						if strings.Contains(e, b64("pencil")) {
							t.Error("the password was sent")
						}
					}
				})
			}
		}
	}
}

func libraryServer(t *testing.T, p Protocol, f family, state *tls.ConnectionState, typ string) func(*xmppstream.Node) []string {
	gen := scram.HashGeneratorFcn(f.newHash)
	client, err := gen.NewClient("user", "pencil", "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "some salt", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := gen.NewServer(func(name string) (scram.StoredCredentials, error) {
		if name != "user" {
			return scram.StoredCredentials{}, errors.New("unknown")
		}
		return stored, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	conv := srv.NewConversation()
	if typ != "" {
		cb, ok := binding(state, typ)
		if !ok {
			t.Fatal("the server has no binding")
		}
		conv = srv.NewConversationWithChannelBinding(cb)
	}
	return func(n *xmppstream.Node) []string {
		text := n.Text
		if n.Name == "authenticate" {
			text = n.ChildText(xmppstream.NSSASL2, "initial-response")
		}
		reply, err := conv.Step(unb64(t, text))
		switch {
		case err != nil:
			t.Errorf("the server: %v", err)
			return []string{string(p.Failure(Failure{NotAuthorized, ""}))}
		case conv.Done():
			return []string{success(p, &reply)}
		}
		return []string{string(p.Challenge([]byte(reply)))}
	}
}

// What a server, or somebody in its place, may try.
func TestTampering(t *testing.T) {
	state, _ := handshake(t, tls.VersionTLS13)
	offer := Offer{Mechanisms: []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}, BindingTypes: []string{TLSExporter}}
	right := base64.StdEncoding.EncodeToString(downgradeHash(sha1.New, offer.Mechanisms, offer.BindingTypes))
	stripped := base64.StdEncoding.EncodeToString(downgradeHash(sha1.New, []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512-PLUS"}, offer.BindingTypes))
	lie := func(s string) func(string) *string { return func(string) *string { return &s } }

	for _, c := range []struct {
		name   string
		edit   func(*server)
		err    error // nil and no failure: the login succeeds
		failed bool  // the server says no
		steps  int   // elements that we sent
	}{
		{name: "honest", edit: func(*server) {}, steps: 2},
		{name: "signature as a challenge", edit: func(s *server) { s.asChallenge = true }, steps: 3},
		{name: "right hash", edit: func(s *server) { s.extra = ",h=" + right }, steps: 2},
		{name: "unknown attributes", edit: func(s *server) { s.extra = ",d=older,x=1" }, steps: 2},
		{name: "many iterations", edit: func(s *server) { s.iterations = 20000 }, steps: 2},

		{name: "no signature", edit: func(s *server) { s.skipFinal = true }, err: ErrServerSignature, steps: 2},
		{name: "signature of another password", edit: func(s *server) { s.editFinal = lie("v=" + b64("01234567890123456789")) }, err: ErrServerSignature, steps: 2},
		{name: "empty signature", edit: func(s *server) { s.editFinal = lie("v=") }, err: ErrServerSignature, steps: 2},
		{name: "an error as success", edit: func(s *server) { s.editFinal = lie("e=other-error") }, err: ErrServerSignature, steps: 2},
		{name: "junk as success", edit: func(s *server) { s.editFinal = lie("hello") }, err: ErrServerSignature, steps: 2},
		{name: "long junk as success", edit: func(s *server) { s.editFinal = lie("v=" + strings.Repeat("A", 4000)) }, err: ErrServerSignature, steps: 2},
		{name: "wrong signature as a challenge", edit: func(s *server) { s.asChallenge = true; s.editFinal = lie("v=" + b64("x")) }, err: ErrServerSignature, steps: 3},

		{name: "few iterations", edit: func(s *server) { s.iterations = 4095 }, err: ErrProtocol, steps: 2},
		{name: "one iteration", edit: func(s *server) { s.iterations = 1 }, err: ErrProtocol, steps: 2},
		{name: "endless iterations", edit: func(s *server) { s.iterations = maxIterations + 1 }, err: ErrProtocol, steps: 2},
		{name: "our nonce alone", edit: func(s *server) {
			s.editFirst = func(f string) string { return strings.Replace(f, "server", "", 1) }
		}, err: ErrProtocol, steps: 2},
		{name: "another nonce", edit: func(s *server) {
			s.editFirst = func(f string) string { return "r=other" + f[1:] }
		}, err: ErrProtocol, steps: 2},
		{name: "salt not base64", edit: func(s *server) {
			s.editFirst = func(f string) string { return strings.Replace(f, ",s=", ",s=!", 1) }
		}, err: ErrProtocol, steps: 2},
		{name: "extension demanded", edit: func(s *server) { s.extra = ",m=x" }, err: ErrProtocol, steps: 2},
		{name: "endless message", edit: func(s *server) { s.extra = ",x=" + strings.Repeat("A", 3000) }, err: ErrProtocol, steps: 2},

		{name: "a mechanism was stripped", edit: func(s *server) { s.extra = ",h=" + stripped }, err: ErrDowngrade, steps: 2},
		{name: "hash is junk", edit: func(s *server) { s.extra = ",h=!!" }, err: ErrDowngrade, steps: 2},
		{name: "hash changed on the way", edit: func(s *server) {
			s.extra = ",h=" + stripped // what the server signs
			s.editFirst = func(f string) string { return f }
		}, err: ErrDowngrade, steps: 2},

		{name: "another connection", edit: func(s *server) { s.binding = strings.Repeat("x", 32) }, failed: true, steps: 2},
		{name: "another password", edit: func(s *server) { s.password = "pencils" }, failed: true, steps: 2},
	} {
		for _, p := range []Protocol{SASL1, SASL2} {
			t.Run(c.name+" "+p.String(), func(t *testing.T) {
				cb, _ := binding(state, TLSExporter)
				srv := &server{newHash: sha1.New, password: "pencil", iterations: 4096, binding: string(cb.Data)}
				c.edit(srv)
				o := offer
				if p == SASL2 {
					o.SASL2, o.Mechanisms = o.Mechanisms, nil
				}
				s := &fakeStream{t: t, answer: srv.serve(t, p)}
				out, err := Authenticate(context.Background(), s, o, alice(), usual, state)
				var refused *Failure
				switch {
				case c.failed:
					if !errors.As(err, &refused) || refused.Condition != NotAuthorized {
						t.Errorf("error %v, want the server's refusal", err)
					}
				case !errors.Is(err, c.err) || (err == nil) != (c.err == nil):
					t.Errorf("error %v, want %v", err, c.err)
				case err == nil && (!out.Plus || out.Hashed != strings.Contains(srv.extra, "h=")):
					t.Errorf("outcome %+v", out)
				case err != nil && out != (Outcome{}):
					t.Errorf("an outcome besides the error: %+v", out)
				}
				if len(s.sent) != c.steps {
					t.Errorf("sent %d elements, want %d: %q", len(s.sent), c.steps, s.sent)
				}
				if c.err == ErrProtocol || c.err == ErrDowngrade {
					if last := s.sent[len(s.sent)-1]; !strings.Contains(last, "<abort ") {
						t.Errorf("the exchange was not aborted but went on with %s", last)
					}
				}
			})
		}
	}
}

// A man in the middle changes the hash back: then what each side signs differs.
func TestHashIsSigned(t *testing.T) {
	state, _ := handshake(t, tls.VersionTLS13)
	seen := []string{"SCRAM-SHA-1"}
	forged := base64.StdEncoding.EncodeToString(downgradeHash(sha1.New, seen, nil))
	srv := &server{newHash: sha1.New, password: "pencil", iterations: 4096, extra: ",h=" + b64("the true hash")}
	inner := srv.serve(t, SASL1)
	s := &fakeStream{t: t, answer: func(n *xmppstream.Node) []string {
		out := inner(n)
		if n.Name == "auth" { // the middle sits behind the server's signature
			out[0] = string(SASL1.Challenge([]byte(strings.Replace(srv.first, b64("the true hash"), forged, 1))))
		}
		return out
	}}
	_, err := Authenticate(context.Background(), s, Offer{Mechanisms: seen}, alice(), usual, state)
	var refused *Failure
	if !errors.As(err, &refused) {
		t.Errorf("got %v, want a refusal by the server", err)
	}
}

// Unknown types only: on with "n" where the server's hash proves the list.
func TestUnknownTypes(t *testing.T) {
	state, _ := handshake(t, tls.VersionTLS13)
	o := Offer{Mechanisms: []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}, BindingTypes: []string{"tls-future"}}
	h := base64.StdEncoding.EncodeToString(downgradeHash(sha1.New, o.Mechanisms, o.BindingTypes))
	for extra, want := range map[string]error{",h=" + h: nil, "": ErrDowngrade, ",h=" + b64("x"): ErrDowngrade} {
		srv := &server{newHash: sha1.New, password: "pencil", iterations: 4096, extra: extra}
		s := &fakeStream{t: t, answer: srv.serve(t, SASL1)}
		out, err := Authenticate(context.Background(), s, o, alice(), usual, state)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%q: %v, want %v", extra, err, want)
		}
		if err == nil && (out.Plus || !out.PlusOffered || !out.Hashed || srv.flag != "n") {
			t.Errorf("outcome %+v, flag %s", out, srv.flag)
		}
	}
}

// ejabberd 23.01 offers -PLUS under TLS 1.3, sends no list, and takes tls-unique
// alone: refused at once, then once more without binding.
func TestRetryWithoutBinding(t *testing.T) {
	state, _ := handshake(t, tls.VersionTLS13)
	o := Offer{Mechanisms: []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"}}
	run := func(rules Rules, afterChallenge bool) (*server, *fakeStream, Outcome, error) {
		srv := &server{newHash: sha1.New, password: "pencil", iterations: 4096}
		inner := srv.serve(t, SASL1)
		s := &fakeStream{t: t}
		s.answer = func(n *xmppstream.Node) []string {
			refuse := !afterChallenge && n.Attr("mechanism") == "SCRAM-SHA-1-PLUS" || afterChallenge && n.Name == "response"
			if refuse {
				return []string{string(SASL1.Failure(Failure{NotAuthorized, "Invalid channel binding"}))}
			}
			return inner(n)
		}
		out, err := Authenticate(context.Background(), s, o, alice(), rules, state)
		return srv, s, out, err
	}
	srv, s, out, err := run(usual, false)
	if err != nil || out.Plus || out.Binding != "" || !out.PlusOffered || out.Mechanism != "SCRAM-SHA-1" || srv.flag != "n" || len(s.sent) != 3 {
		t.Errorf("outcome %+v, flag %s, error %v, sent %q", out, srv.flag, err, s.sent)
	}
	required, floor, before := usual, usual, usual
	required.Binding = policy.BindingRequire
	floor.Min = policy.AuthSCRAMPlus
	before.RatchetPlus = true
	for rules, want := range map[Rules]error{required: ErrBinding, floor: ErrBinding, before: ErrRatchet} {
		if _, s, _, err := run(rules, false); !errors.Is(err, want) || len(s.sent) != 1 {
			t.Errorf("%+v: %v after %d elements", rules, err, len(s.sent))
		}
	}
	var refused *Failure
	if _, s, _, err := run(usual, true); !errors.As(err, &refused) || len(s.sent) != 2 {
		t.Errorf("refused after the challenge: %v after %d elements", err, len(s.sent))
	}
}

// scripted answers each element sent with the next of replies.
func scripted(t *testing.T, replies ...string) *fakeStream {
	s := &fakeStream{t: t}
	s.answer = func(*xmppstream.Node) []string {
		if len(replies) == 0 {
			return nil
		}
		r := replies[0]
		replies = replies[1:]
		return []string{r}
	}
	return s
}

func TestOneStepMechanisms(t *testing.T) {
	state, _ := handshake(t, tls.VersionTLS13)
	rules := usual
	rules.Min = policy.AuthPlain
	cert := &Credentials{Username: "user", Certificate: true}
	named := &Credentials{Username: "user", Certificate: true, Authzid: "user@example.org"}
	for _, c := range []struct {
		offer Offer
		cred  *Credentials
		sent  string
		reply string
	}{
		{Offer{Mechanisms: []string{"EXTERNAL"}}, cert, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>", success(SASL1, nil)},
		{Offer{Mechanisms: []string{"EXTERNAL"}}, named, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>dXNlckBleGFtcGxlLm9yZw==</auth>", success(SASL1, nil)},
		{Offer{SASL2: []string{"EXTERNAL"}}, cert, "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response></initial-response></authenticate>", success(SASL2, nil)},
		{Offer{Mechanisms: []string{"PLAIN"}}, alice(), "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHVzZXIAcGVuY2ls</auth>", success(SASL1, nil)},
		{Offer{SASL2: []string{"PLAIN"}}, alice(), "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>AHVzZXIAcGVuY2ls</initial-response></authenticate>", success(SASL2, nil)},
	} {
		s := scripted(t, c.reply)
		out, err := Authenticate(context.Background(), s, c.offer, c.cred, rules, state)
		if err != nil || !slices.Equal(s.sent, []string{c.sent}) || out.Plus {
			t.Errorf("sent %q, outcome %+v, error %v", s.sent, out, err)
		}
		if strings.Trim(string(s.raw[0]), "\x00") != "" {
			t.Error("what was sent was not wiped")
		}
		p := SASL1
		if c.offer.SASL2 != nil {
			p = SASL2
		}
		for _, reply := range []string{string(p.Challenge([]byte("x"))), success(p, ptr("x"))} {
			s := scripted(t, reply)
			if _, err := Authenticate(context.Background(), s, c.offer, c.cred, rules, state); !errors.Is(err, ErrProtocol) {
				t.Errorf("%s: %v", reply, err)
			}
		}
	}
}

func ptr(s string) *string { return &s }

func TestServerEnds(t *testing.T) {
	state, _ := handshake(t, tls.VersionTLS13)
	sasl1 := Offer{Mechanisms: []string{"SCRAM-SHA-1"}}
	sasl2 := Offer{SASL2: []string{"SCRAM-SHA-1"}}
	const ns = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
	for _, c := range []struct {
		name  string
		offer Offer
		reply string
		err   error
		cond  Condition
		says  string
	}{
		{name: "no", offer: sasl1, reply: "<failure " + ns + "><account-disabled/><text xml:lang='en'>Pay\nyour\x20bill</text></failure>", cond: AccountDisabled, says: "Pay your bill"},
		{name: "no, SASL2", offer: sasl2, reply: "<failure xmlns='urn:xmpp:sasl:2'><aborted " + ns + "/><optional xmlns='urn:something:else'/><text>This is a terrible example.</text></failure>", cond: Aborted, says: "terrible"},
		{name: "no for no reason", offer: sasl1, reply: "<failure " + ns + "/>", cond: NotAuthorized},
		{name: "no for an unknown reason", offer: sasl1, reply: "<failure " + ns + "><bad-hair-day/></failure>", cond: NotAuthorized},
		{name: "a second factor", offer: sasl2, reply: "<continue xmlns='urn:xmpp:sasl:2'><additional-data>SSdtIGJvcmVkIG5vdy4=</additional-data><tasks><task>TOTP-EXAMPLE</task></tasks><text>2FA</text></continue>", err: ErrMoreSteps},
		{name: "success at once", offer: sasl1, reply: success(SASL1, nil), err: ErrServerSignature},
		{name: "success at once, SASL2", offer: sasl2, reply: success(SASL2, nil), err: ErrServerSignature},
		{name: "success at once with data", offer: sasl1, reply: success(SASL1, ptr("v=AAAA")), err: ErrServerSignature},
		{name: "not base64", offer: sasl1, reply: "<challenge " + ns + ">***</challenge>", err: ErrProtocol},
		{name: "empty challenge", offer: sasl1, reply: "<challenge " + ns + "/>", err: ErrProtocol},
		{name: "features again", offer: sasl1, reply: "<stream:features/>", err: ErrProtocol},
		{name: "a message", offer: sasl1, reply: "<message><body>hi</body></message>", err: ErrProtocol},
		{name: "the other protocol", offer: sasl2, reply: success(SASL1, nil), err: ErrProtocol},
		{name: "the client's words", offer: sasl1, reply: "<response " + ns + "/>", err: ErrProtocol},
		{name: "the end", offer: sasl1, reply: "</stream:stream>", err: ErrClosed},
		{name: "nothing", offer: sasl1, err: ErrClosed},
		{name: "a stream error", offer: sasl1, reply: "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>evil.example</see-other-host></stream:error>", err: ErrClosed, says: "see-other-host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scripted(t)
			if c.reply != "" {
				s = scripted(t, c.reply)
			}
			_, err := Authenticate(context.Background(), s, c.offer, alice(), usual, state)
			var refused *Failure
			switch {
			case c.err != nil && !errors.Is(err, c.err):
				t.Errorf("error %v, want %v", err, c.err)
			case c.err == nil && (!errors.As(err, &refused) || refused.Condition != c.cond):
				t.Errorf("error %v, want %s", err, c.cond)
			case !strings.Contains(err.Error(), c.says):
				t.Errorf("error %q does not say %q", err, c.says)
			case strings.Contains(err.Error(), "evil.example"):
				t.Error("the error carries a redirect")
			}
		})
	}
}

func TestBoundedExchange(t *testing.T) {
	state, _ := handshake(t, tls.VersionTLS13)
	s := &fakeStream{t: t}
	s.answer = func(*xmppstream.Node) []string { return slices.Repeat([]string{" "}, 1000) }
	_, err := Authenticate(context.Background(), s, Offer{Mechanisms: []string{"SCRAM-SHA-1"}}, alice(), usual, state)
	if !errors.Is(err, ErrProtocol) || len(s.queue) < 900 {
		t.Errorf("%v with %d elements left", err, len(s.queue))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s = &fakeStream{t: t}
	if _, err := Authenticate(ctx, s, Offer{Mechanisms: []string{"SCRAM-SHA-1"}}, alice(), usual, state); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Nothing is sent when the rules refuse.
func TestRefusalIsSilent(t *testing.T) {
	s := &fakeStream{t: t}
	if _, err := Authenticate(context.Background(), s, Offer{Mechanisms: []string{"PLAIN"}}, alice(), Rules{}, nil); !errors.Is(err, ErrRules) {
		t.Error(err)
	}
	if len(s.sent) != 0 {
		t.Errorf("sent %q", s.sent)
	}
}

func TestWipe(t *testing.T) {
	c := alice()
	b := c.Password
	c.Wipe()
	if string(b) != strings.Repeat("\x00", len(b)) {
		t.Error("the password is still there: " + strconv.Quote(string(b)))
	}
}

// The SCRAM-SHA-1-PLUS exchange that XEP-0388 §2 prints, to the byte but for the
// user agent, which we do not tell, and for its proof and signature, which do not
// follow from its other values: these here were computed apart from this package.
func TestTranscript(t *testing.T) {
	const final = "c=cD10bHMtZXhwb3J0ZXIsLMcoQvOdBDePd4OswlmAWV3dg1a1Wh1tYPTBwVid10VU,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,p=+8UyrQAeVIqsH2YovGeGTRx6zBM="
	bound := unb64(t, "cD10bHMtZXhwb3J0ZXIsLMcoQvOdBDePd4OswlmAWV3dg1a1Wh1tYPTBwVid10VU")
	a := attempt{
		proto: SASL2, mechanism: "SCRAM-SHA-1-PLUS", offered: []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"},
		family: family{"SCRAM-SHA-1", sha1.New}, flag: 'p',
		cb: scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte(strings.TrimPrefix(bound, "p=tls-exporter,,"))},
	}
	m, err := newSCRAM(a, []string{TLSServerEndPoint, TLSExporter}, alice())
	if err != nil {
		t.Fatal(err)
	}
	client, err := scram.SHA1.NewClient("user", "pencil", "")
	if err != nil {
		t.Fatal(err)
	}
	m.conv = client.WithNonceGenerator(func() string { return "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6" }).NewConversationWithChannelBinding(a.cb)
	s := scripted(t,
		"<challenge xmlns='urn:xmpp:sasl:2'>\n  cj0xMkM0Q0Q1Qy1FMzhFLTRBOTgtOEY2RC0xNUMzOEY1MUNDQzZhMDkxMTdhNi1hYzUwLTRmMmYtOTNmMS05Mzc5OWMyYmRkZjYscz1RU1hDUitRNnNlazhiZjkyLGk9NDA5Ng==\n</challenge>",
		"<success xmlns='urn:xmpp:sasl:2'>\n  <additional-data>\n    "+b64("v=GRqYg0SPMGrqPRk5HfMz9nGHq94=")+"\n  </additional-data>\n  <authorization-identifier>user@example.org</authorization-identifier>\n</success>")
	x := &exchange{attempt: a, ctx: context.Background(), s: s}
	out, err := x.run(m)
	want := Outcome{Protocol: SASL2, Mechanism: "SCRAM-SHA-1-PLUS", Binding: TLSExporter, Plus: true, PlusOffered: true, Identity: "user@example.org"}
	if err != nil || out != want {
		t.Errorf("outcome %+v, error %v", out, err)
	}
	if sent := []string{
		"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1-PLUS'><initial-response>cD10bHMtZXhwb3J0ZXIsLG49dXNlcixyPTEyQzRDRDVDLUUzOEUtNEE5OC04RjZELTE1QzM4RjUxQ0NDNg==</initial-response></authenticate>",
		"<response xmlns='urn:xmpp:sasl:2'>" + b64(final) + "</response>",
	}; !slices.Equal(s.sent, sent) {
		t.Errorf("sent %q\nwant %q", s.sent, sent)
	}
}
