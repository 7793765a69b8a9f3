package scrub

import "strings"

// secretKey reports whether an attribute or a field of this name holds a secret:
// one of its words (password, api_key, authToken) is in the list.
func secretKey(key string) bool {
	return anyWord(key, func(word string) bool {
		switch strings.TrimSuffix(word, "s") {
		case "password", "passwd", "pas", "pw", "passphrase", "secret", "key", "token", "auth", "authzid",
			"response", "challenge", "credential", "cookie", "proof", "nonce", "cnonce", "salt", "private":
			return true
		}
		return false
	})
}

// jidKey reports whether an attribute of this name holds a JID or a part of one
// that its text alone would not betray.
func jidKey(key string) bool {
	switch strings.ToLower(key) {
	case "jid", "account", "user", "username", "local", "localpart", "resource", "nick", "from", "to":
		return true
	}
	return false
}

// addressKey reports whether an attribute of this name holds a host or an
// address, which may be a name without a dot.
func addressKey(key string) bool {
	switch strings.ToLower(key) {
	case "domain", "host", "hostname", "addr", "address", "remote", "server", "sni", "onion":
		return true
	}
	return false
}

// anyWord reports whether f holds for one of the words of key, in lower case.
// Words are parted by signs and by a capital behind a small letter.
func anyWord(key string, f func(word string) bool) bool {
	start := 0
	for i := 0; i <= len(key); i++ {
		sign := i == len(key) || !isLetter(key[i]) && !isDigit(key[i])
		hump := !sign && i > 0 && isUpper(key[i]) && isLetter(key[i-1]) && !isUpper(key[i-1])
		if !sign && !hump {
			continue
		}
		if i > start && f(strings.ToLower(key[start:i])) {
			return true
		}
		start = i
		if sign {
			start++
		}
	}
	return false
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
