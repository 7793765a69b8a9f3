package saslserver

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"xmpp-gw/internal/saslauth"
)

// Bounds of a client's messages, in bytes. Names may be as long as those of
// addresses, and each "," and "=" in them is written with three characters.
const (
	maxMessage = 8192
	maxNonce   = 512
	maxBinding = 64 // the name of a channel binding type
)

// clientFirst is a client-first-message (RFC 5802 §7).
type clientFirst struct {
	flag    byte   // 'n', 'y' or 'p'
	binding string // type of channel binding, for 'p'
	authzid string // decoded; empty for none
	user    string // decoded
	nonce   []byte
	gs2     []byte // the gs2-header, with its last comma
	bare    []byte // client-first-message-bare
}

var (
	errExtension = &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "This server knows no mandatory extension of SCRAM."} // RFC 5802 §5.1
	errTooLong   = &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "The message is too long."}
)

// parseClientFirst reads a client-first-message. Its slices are those of msg. An
// error is a [*saslauth.Failure].
func parseClientFirst(msg []byte) (f clientFirst, err error) {
	if len(msg) > maxMessage {
		return f, errTooLong
	}
	if !utf8.Valid(msg) || bytes.IndexByte(msg, 0) >= 0 {
		return f, errMalformed
	}
	flag, rest, ok1 := bytes.Cut(msg, []byte{','})
	authzid, bare, ok2 := bytes.Cut(rest, []byte{','})
	if !ok1 || !ok2 {
		return f, errMalformed
	}
	switch {
	case len(flag) == 1 && (flag[0] == 'n' || flag[0] == 'y'):
		f.flag = flag[0]
	case bytes.HasPrefix(flag, []byte("p=")) && isBindingName(flag[2:]):
		f.flag, f.binding = 'p', string(flag[2:])
	default:
		return f, errMalformed
	}
	if len(authzid) > 0 {
		var ok bool
		if f.authzid, ok = saslName(authzid, "a="); !ok {
			return f, errMalformed
		}
	}
	f.gs2, f.bare = msg[:len(msg)-len(bare)], bare
	if bytes.HasPrefix(bare, []byte("m=")) {
		return f, errExtension
	}
	user, rest, ok1 := bytes.Cut(bare, []byte{','})
	nonce, extensions, more := bytes.Cut(rest, []byte{','})
	f.user, ok2 = saslName(user, "n=")
	if !ok1 || !ok2 || !bytes.HasPrefix(nonce, []byte("r=")) || !isNonce(nonce[2:]) {
		return f, errMalformed
	}
	f.nonce = nonce[2:]
	if more {
		err = checkExtensions(extensions)
	}
	return f, err
}

// clientFinal is a client-final-message (RFC 5802 §7).
type clientFinal struct {
	binding      []byte // decoded: the gs2-header and the channel binding's data
	nonce        []byte
	proof        []byte // decoded
	withoutProof []byte
}

// parseClientFinal reads a client-final-message. An error is a [*saslauth.Failure].
func parseClientFinal(msg []byte) (f clientFinal, err error) {
	if len(msg) > maxMessage {
		return f, errTooLong
	}
	if !utf8.Valid(msg) || bytes.IndexByte(msg, 0) >= 0 {
		return f, errMalformed
	}
	if bytes.HasPrefix(msg, []byte("m=")) {
		return f, errExtension
	}
	last := bytes.LastIndexByte(msg, ',')
	if last < 0 {
		return f, errMalformed
	}
	f.withoutProof = msg[:last]
	binding, rest, ok1 := bytes.Cut(f.withoutProof, []byte{','})
	nonce, extensions, more := bytes.Cut(rest, []byte{','})
	if !ok1 || !bytes.HasPrefix(nonce, []byte("r=")) || !isNonce(nonce[2:]) {
		return f, errMalformed
	}
	f.nonce = nonce[2:]
	if more {
		if err := checkExtensions(extensions); err != nil {
			return f, err
		}
	}
	var ok2 bool
	f.binding, ok1 = attribute64(binding, "c=")
	f.proof, ok2 = attribute64(msg[last+1:], "p=")
	if !ok1 || !ok2 {
		return f, errMalformed
	}
	return f, nil
}

// checkExtensions reads attributes that nobody here knows: they are ignored, but
// must be attributes, and not such as belong elsewhere (RFC 5802 §5.1).
func checkExtensions(list []byte) error {
	for more := true; more; {
		var attr []byte
		attr, list, more = bytes.Cut(list, []byte{','})
		switch {
		case len(attr) < 3 || attr[1] != '=' || attr[0]|0x20 < 'a' || attr[0]|0x20 > 'z':
			return errMalformed
		case attr[0] == 'm':
			return errExtension
		case strings.IndexByte("anrcsipve", attr[0]) >= 0:
			return errMalformed
		}
	}
	return nil
}

// saslName decodes the saslname behind a prefix: "=2C" is a comma and "=3D" an
// equals sign, and any other "=" is an error (RFC 5802 §5.1).
func saslName(attr []byte, prefix string) (string, bool) {
	name, ok := strings.CutPrefix(string(attr), prefix)
	if !ok || name == "" {
		return "", false
	}
	if strings.IndexByte(name, '=') < 0 {
		return name, true
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch {
		case name[i] != '=':
			b.WriteByte(name[i])
			continue
		case strings.HasPrefix(name[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(name[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		i += 2
	}
	return b.String(), true
}

// attribute64 decodes the base64 behind a prefix, which is not empty.
func attribute64(attr []byte, prefix string) ([]byte, bool) {
	text, ok := bytes.CutPrefix(attr, []byte(prefix))
	if !ok || len(text) == 0 || bytes.ContainsAny(text, "\r\n") { // the decoder would skip them
		return nil, false
	}
	data, err := base64.StdEncoding.Strict().AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	return data, err == nil
}

// isNonce reports whether b is a nonce: printable, without a comma, not empty.
func isNonce(b []byte) bool {
	for _, c := range b {
		if c < 0x21 || c > 0x7e || c == ',' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxNonce
}

// isBindingName is cb-name of RFC 5802 §7.
func isBindingName(b []byte) bool {
	for _, c := range b {
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxBinding
}
