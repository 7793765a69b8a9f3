package saslserver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash/maphash"
	"slices"
	"strconv"
	"unicode/utf8"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
)

const nsFast = "urn:xmpp:fast:0"

// fastMechanisms are those that log in with a token (draft-ietf-kitten-sasl-ht),
// best first, and the channel binding each has.
var fastMechanisms = [...]struct{ name, binding string }{
	{"HT-SHA-256-EXPR", saslauth.TLSExporter},
	{"HT-SHA-256-UNIQ", saslauth.TLSUnique},
	{"HT-SHA-256-ENDP", saslauth.TLSServerEndPoint},
	{"HT-SHA-256-NONE", ""},
}

// tokenSize is the random bytes of a token.
const tokenSize = 32

// fastMachine is the server side of a login with a token (XEP-0484 §3.4): one message,
// the user name and HMAC(token, "Initiator" and the channel binding's data), which
// the server answers with HMAC(token, "Responder" and the same).
type fastMachine struct {
	conn      *Conn
	mechanism string
	binding   string
	client    string // user agent's id
	asked     bool   // there is a <fast/>
	invalid   bool   // the token is to be invalidated
	counted   bool   // there is a replay counter
	count     uint64
	bad       bool // <fast/> makes no sense
}

// usedToken is the token of a login by FAST.
type usedToken struct {
	secret []byte
	due    bool // it is old enough for a new one
}

func newFast(c *Conn, x *exchange) *fastMachine {
	f := &fastMachine{conn: c, mechanism: x.mechanism, client: userAgent(x.request).ID}
	for _, m := range fastMechanisms {
		if m.name == x.mechanism {
			f.binding = m.binding
		}
	}
	n := x.request.Child(nsFast, "fast")
	if n == nil {
		return f
	}
	f.asked = true
	switch n.Attr("invalidate") {
	case "true", "1":
		f.invalid = true
	}
	if text := n.Attr("count"); text != "" {
		var err error
		f.count, err = strconv.ParseUint(text, 10, 63)
		f.counted, f.bad = err == nil, err != nil
	}
	return f
}

func (f *fastMachine) next(ctx context.Context, msg []byte) ([]byte, *proof, error) {
	name, sent, ok := bytes.Cut(msg, []byte{0})
	switch {
	case len(msg) > maxMessage, !ok, len(name) == 0, !utf8.Valid(name), len(sent) != sha256.Size:
		return nil, nil, errMalformed
	case !f.asked || f.bad || f.client == "": // XEP-0484 §3.4, §4.1
		return nil, nil, &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "A login with a token needs <fast/> and the id of the user agent."}
	case f.conn.link.EarlyData && !f.counted:
		return nil, nil, &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "A login in TLS early data needs a count."}
	}
	var data []byte
	if f.binding != "" {
		if data, ok = saslauth.ServerBinding(f.conn.link.TLS, f.conn.link.Certificate, f.binding); !ok {
			return nil, nil, errStorage
		}
	}
	who := f.conn.srv.claimOf(string(name))
	if err := f.conn.admit(ctx, who, true); err != nil {
		return nil, nil, err
	}
	used, err := f.use(ctx, who, sent, data)
	if err != nil {
		return nil, nil, err
	}
	return nil, &proof{account: who.account, data: tokenMAC(used.secret, "Responder", data), binding: f.binding, token: used}, nil
}

// use checks a token and records what follows from its use, before anybody else
// can use it.
func (f *fastMachine) use(ctx context.Context, who claim, sent, data []byte) (*usedToken, error) {
	srv := f.conn.srv
	defer srv.lockTokens(who.account, f.client)()
	var list []Token
	if !who.account.IsZero() {
		var err error
		list, err = srv.cfg.Tokens.Tokens(ctx, who.account, f.client)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, errStorage
		}
	}
	at := find(list, sent, data)
	if at < 0 || list[at].Mechanism != f.mechanism { // XEP-0484 §3.4: to its mechanism each is bound
		return nil, f.conn.refuse(who)
	}
	// From here on the client has shown that it has the token.
	t, now := list[at], srv.cfg.Now()
	if !now.Before(t.Expires) || f.counted && t.Count > 0 && f.count <= t.Count || f.conn.link.EarlyData && f.count == 0 {
		return nil, &saslauth.Failure{Condition: saslauth.CredentialsExpired, Text: "The token is not good any more: log in with the password."}
	}
	if err := f.conn.state(ctx, who.account); err != nil {
		return nil, err
	}
	used := &usedToken{secret: t.Secret, due: !f.invalid && now.Sub(t.Issued) >= srv.cfg.TokenRotation}
	// XEP-0484 §3.5: using one ends those that expire earlier.
	kept := slices.DeleteFunc(slices.Clone(list), func(o Token) bool {
		return o.Expires.Before(t.Expires) || f.invalid && hmac.Equal(o.Secret, t.Secret)
	})
	changed := len(kept) != len(list)
	for i := range kept {
		if f.counted && hmac.Equal(kept[i].Secret, t.Secret) && kept[i].Count != f.count {
			kept[i].Count, changed = f.count, true
		}
	}
	if changed {
		if err := srv.cfg.Tokens.PutTokens(ctx, who.account, f.client, kept); err != nil {
			return nil, errStorage
		}
	}
	return used, nil
}

// find is the index of the token that a client's message was made with, or -1.
// The work is that of two tokens, the most that there are, in any case.
func find(list []Token, sent, data []byte) int {
	at := -1
	for i := range max(maxTokens, len(list)) {
		var key []byte
		if i < len(list) {
			key = list[i].Secret
		}
		if subtle.ConstantTimeCompare(tokenMAC(key, "Initiator", data), sent) == 1 && len(key) > 0 {
			at = i
		}
	}
	return at
}

// maxTokens are kept of a client (XEP-0484 §5.1).
const maxTokens = 2

func tokenMAC(token []byte, who string, data []byte) []byte {
	m := hmac.New(sha256.New, token)
	m.Write([]byte(who))
	m.Write(data)
	return m.Sum(nil)
}

// lockTokens keeps others from the tokens of a client until its result is called.
func (s *Server) lockTokens(owner address.Address, client string) (unlock func()) {
	h := maphash.Comparable(s.seed, [2]string{owner.Local, client})
	l := &s.tokens[h%uint64(len(s.tokens))]
	l.Lock()
	return l.Unlock
}

// issue gives the client a new token if it asked for one, or if the one it used is
// due; nil for none. That the storage fails costs the token and not the login.
func (c *Conn) issue(ctx context.Context, l *Login, used *usedToken) *Token {
	var mechanism string
	if r := l.Request.Child(nsFast, "request-token"); r != nil {
		mechanism = r.Attr("mechanism")
	} else if used != nil && used.due {
		mechanism = l.Mechanism
	}
	if l.UserAgent.ID == "" || !slices.Contains(c.offer.fast, mechanism) {
		return nil
	}
	srv := c.srv
	defer srv.lockTokens(l.Account, l.UserAgent.ID)()
	list, err := srv.cfg.Tokens.Tokens(ctx, l.Account, l.UserAgent.ID)
	if err != nil {
		return nil
	}
	now := srv.cfg.Now()
	// The one in use stays until the new one is used, and no other does.
	var kept []Token
	for _, t := range list {
		switch {
		case !now.Before(t.Expires), used != nil && !hmac.Equal(t.Secret, used.secret):
		case len(kept) > 0 && !t.Issued.Before(kept[0].Issued):
		default:
			kept = []Token{t}
		}
	}
	t := Token{Mechanism: mechanism, Secret: newToken(), Issued: now, Expires: now.Add(srv.cfg.TokenLife)}
	if srv.cfg.Tokens.PutTokens(ctx, l.Account, l.UserAgent.ID, append(kept, t)) != nil {
		return nil
	}
	return &t
}

func newToken() []byte {
	var random [tokenSize]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.AppendEncode(nil, random[:])
}
