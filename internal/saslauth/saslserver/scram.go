package saslserver

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strconv"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
)

// scramMachine is the server side of SCRAM (RFC 5802 §3). A proof is checked with one
// HMAC and one hash; what the password is worth was computed when it was set.
type scramMachine struct {
	conn  *Conn
	offer *offer
	hash  Hash
	plus  bool

	step  int
	first clientFirst
	who   claim
	cred  Credentials
	known bool // cred are those of an account
	nonce []byte
	auth  []byte // AuthMessage, as far as it has come
}

// nonceSize is how many random bytes the server adds to the nonce.
const nonceSize = 18

func (s *scramMachine) next(ctx context.Context, msg []byte) ([]byte, *proof, error) {
	s.step++
	switch s.step {
	case 1:
		challenge, err := s.start(ctx, msg)
		return challenge, nil, err
	case 2:
		p, err := s.finish(ctx, msg)
		return nil, p, err
	}
	return nil, nil, errMalformed
}

// start reads the client-first-message and makes the server-first-message.
func (s *scramMachine) start(ctx context.Context, msg []byte) ([]byte, error) {
	first, err := parseClientFirst(msg)
	if err != nil {
		return nil, err
	}
	if err := s.checkFlag(first); err != nil {
		return nil, err
	}
	s.first, s.who = first, s.conn.srv.claimOf(first.user)
	if first.authzid != "" && !s.who.is(first.authzid) {
		return nil, errAuthzid
	}
	if err := s.conn.admit(ctx, s.who, true); err != nil {
		return nil, err
	}
	if s.cred, s.known, err = s.conn.credentials(ctx, s.who, s.hash); err != nil {
		return nil, err
	}

	var random [nonceSize]byte
	rand.Read(random[:])
	b := make([]byte, 0, 2*len(msg)+512)
	b = append(b, first.bare...)
	b = append(b, ',')
	begin := len(b)
	b = append(b, "r="...)
	b = append(b, first.nonce...)
	b = base64.StdEncoding.AppendEncode(b, random[:])
	s.nonce = b[begin+2:]
	b = append(b, ",s="...)
	b = base64.StdEncoding.AppendEncode(b, s.cred.Keys.Salt)
	b = append(b, ",i="...)
	b = strconv.AppendInt(b, int64(s.cred.Keys.Iterations), 10)
	b = append(b, ",h="...) // XEP-0474 §6.1
	b = append(b, s.offer.hash[s.hash]...)
	s.auth = b
	return b[begin:], nil
}

// checkFlag obeys RFC 5802 §6. Nothing here depends on the account.
func (s *scramMachine) checkFlag(first clientFirst) error {
	switch {
	case s.plus != (first.flag == 'p'):
		// "p" belongs to the mechanisms with -PLUS and to no others.
		return &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "The channel binding flag does not fit the mechanism."}
	case first.flag == 'y' && s.offer.types != nil:
		return &saslauth.Failure{Condition: saslauth.NotAuthorized,
			Text: "The client saw no channel binding offered, but this server did offer it: somebody in the middle may have removed it."}
	case first.flag == 'p' && !slices.Contains(s.offer.types, first.binding):
		return &saslauth.Failure{Condition: saslauth.NotAuthorized, Text: "This type of channel binding was not offered here."}
	}
	return nil
}

// finish reads the client-final-message and checks the proof.
func (s *scramMachine) finish(ctx context.Context, msg []byte) (*proof, error) {
	final, err := parseClientFinal(msg)
	if err != nil {
		return nil, err
	}
	if string(final.nonce) != string(s.nonce) || len(final.proof) != s.hash.Size() {
		return nil, errMalformed
	}
	binding := append(make([]byte, 0, len(s.first.gs2)+64), s.first.gs2...)
	if s.plus {
		data, ok := saslauth.ServerBinding(s.conn.link.TLS, s.conn.link.Certificate, s.first.binding)
		if !ok {
			return nil, errStorage
		}
		binding = append(binding, data...)
	}
	if subtle.ConstantTimeCompare(binding, final.binding) != 1 {
		return nil, &saslauth.Failure{Condition: saslauth.NotAuthorized,
			Text: "The login belongs to another TLS connection than this one: somebody may be in the middle."}
	}
	// Many exchanges may have begun before the first one failed.
	if err := s.conn.admit(ctx, s.who, false); err != nil {
		return nil, err
	}

	s.auth = append(append(s.auth, ','), final.withoutProof...)
	signature, fits := s.cred.Keys.verify(s.auth, final.proof)
	if !fits || !s.known {
		return nil, s.conn.refuse(s.who)
	}
	if s.cred.Disabled {
		return nil, errDisabled
	}
	data := append(make([]byte, 0, 96), "v="...)
	data = base64.StdEncoding.AppendEncode(data, signature)
	return &proof{account: s.who.account, data: data, binding: s.first.binding, authzid: s.first.authzid != ""}, nil
}

// is reports whether an authorization identity is the account's own address.
func (c claim) is(authzid string) bool {
	a, err := address.Parse(authzid)
	return err == nil && !c.account.IsZero() && a == c.account
}
