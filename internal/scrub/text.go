package scrub

import "strings"

// Text returns s with everything hidden that show does not ask for. A string
// with nothing to hide comes back as it is, without an allocation.
func (show Show) Text(s string) string {
	// Every thing that is looked for has one of these bytes in it, except an
	// onion service's identifier without its ".onion", which is 56 bytes long.
	if !strings.ContainsAny(s, ".:@<=") && len(s) < onionIDLen {
		return s
	}
	// Markup first, as it may hold all the rest; then what is secret; then JIDs,
	// as they hold host names; then addresses, as IPv6 is cut up by what looks
	// for host names.
	dst := make([]byte, 0, len(s)+16)
	dst = show.markup(dst, s)
	if string(dst) == s {
		return s
	}
	return string(dst)
}

// markup hides XML that has content or attributes: a stanza, or a piece of one.
// The bare name of an element, as in "no <starttls/> offered", stays.
func (show Show) markup(dst []byte, s string) []byte {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '<')
		if i < 0 {
			return show.secrets(dst, s)
		}
		i += at
		end := markupEnd(s[i:])
		if end == 0 {
			at = i + 1
			continue
		}
		dst = show.secrets(dst, s[:i])
		dst = append(dst, hiddenXML...)
		s, at = s[i+end:], 0
	}
}

// markupEnd is the length of the markup that s begins with, and 0 when it is no
// markup or only the bare name of an element. s begins with "<".
func markupEnd(s string) int {
	name := strings.TrimPrefix(s[1:], "/")
	if name == "" || !isLetter(name[0]) && name[0] != '?' && name[0] != '!' {
		return 0
	}
	// From the first tag to the end of the last closing tag.
	if last := strings.LastIndex(s, "</"); last > 0 {
		if end := strings.IndexByte(s[last:], '>'); end >= 0 {
			return last + end + 1
		}
		return len(s)
	}
	end := strings.IndexByte(s, '>') + 1
	tag := s[:end]
	if end == 0 {
		tag = s // cut off in the middle of a tag
	}
	if !strings.ContainsAny(tag, "='\"") {
		return 0
	}
	return len(tag)
}

// secrets hides the value in password=… and in "password":"…", and the user
// part of a URL together with the host behind it.
func (show Show) secrets(dst []byte, s string) []byte {
	for at := 0; ; {
		i := strings.IndexAny(s[at:], "=:")
		if i < 0 {
			return show.jids(dst, s)
		}
		i += at
		var end int
		switch {
		case s[i] == '=':
			if secretKey(wordBefore(s[:i])) {
				end = valueEnd(s, i+1)
			}
		case strings.HasPrefix(s[i:], "://"):
			// scheme://user:password@host
			i += 2
			rest := s[i+1:]
			if n := tokenEnd(rest); strings.IndexByte(rest[:n], '@') >= 0 {
				end = i + 1 + n
			}
		case strings.HasSuffix(s[:i], `"`):
			if secretKey(wordBefore(s[:i-1])) {
				end = valueEnd(s, i+1)
			}
		}
		if end <= i+1 {
			at = i + 1
			continue
		}
		dst = show.jids(dst, s[:i+1])
		dst = append(dst, hiddenSecret...)
		s, at = s[end:], 0
	}
}

// wordBefore is the key that ends at the end of s.
func wordBefore(s string) string {
	i := len(s)
	for i > 0 && (isLetter(s[i-1]) || isDigit(s[i-1]) || s[i-1] == '_' || s[i-1] == '-') {
		i--
	}
	return s[i:]
}

// valueEnd is where the value that begins at s[i] ends: behind the closing quote
// when it is quoted, else before the next blank.
func valueEnd(s string, i int) int {
	for i < len(s) && s[i] == ' ' && i > 0 && s[i-1] == ':' {
		i++
	}
	if i < len(s) && (s[i] == '"' || s[i] == '\'') {
		for j := i + 1; j < len(s); j++ {
			switch s[j] {
			case '\\':
				j++
			case s[i]:
				return j + 1
			}
		}
		return len(s)
	}
	for i < len(s) && s[i] > ' ' {
		i++
	}
	return i
}

// jids hides every local@domain/resource. A resource with a blank in it cannot
// be told from the text that follows; it is hidden up to the blank.
func (show Show) jids(dst []byte, s string) []byte {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '@')
		if i < 0 {
			return show.ipv6(dst, s)
		}
		i += at
		start := i
		for start > 0 && !endsToken(s[start-1]) && s[start-1] != ':' && s[start-1] != '/' {
			start--
		}
		end := i + tokenEnd(s[i:])
		for end > i+1 && strings.IndexByte(`.,;:!?)]}`, s[end-1]) >= 0 {
			end--
		}
		if start == i || end == i+1 {
			at = i + 1 // a lone "@", or "@name"
			continue
		}
		dst = show.ipv6(dst, s[:start])
		if show.JIDs {
			dst = append(dst, s[start:end]...)
		} else {
			dst = append(dst, hiddenJID...)
		}
		s, at = s[end:], 0
	}
}

// tokenEnd is the length of s up to the first blank, quote or bracket of XML.
func tokenEnd(s string) int {
	for i := range len(s) {
		if endsToken(s[i]) {
			return i
		}
	}
	return len(s)
}

// endsToken reports whether c can stand neither in a localpart (RFC 7622
// §3.3.1, minus "&", ":", "/" and "@", which a JID in a text may touch) nor in a
// domain.
func endsToken(c byte) bool {
	return c <= ' ' || c == 0x7f || c == '"' || c == '\'' || c == '`' || c == '<' || c == '>'
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
