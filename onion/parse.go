package onion

import (
	"strconv"
	"strings"
	"unicode"
)

// field is one word of a control-port line: a positional word (empty key), or
// KEY=VALUE where the value may be a quoted string.
type field struct{ key, val string }

// fields splits a line of a reply or an event into its words. Quoted values
// are unescaped (control-spec §2.1.1, CString). Whatever is not well formed
// becomes a word as it stands: Tor's lines gain new words from release to
// release, and a reader must skip what it does not know (control-spec §2.3).
func fields(line string) []field {
	var out []field
	for {
		line = strings.TrimLeft(line, " \t\r\n")
		if line == "" {
			return out
		}
		var f field
		if n := keyLen(line); n > 0 {
			f.key, line = line[:n], line[n+1:]
		}
		if strings.HasPrefix(line, `"`) {
			if val, rest, ok := unquote(line); ok {
				f.val, line = val, rest
				out = append(out, f)
				continue
			}
		}
		end := strings.IndexAny(line, " \t\r\n")
		if end < 0 {
			end = len(line)
		}
		f.val, line = line[:end], line[end:]
		out = append(out, f)
	}
}

// keyLen is the length of the keyword before the "=" that line starts with, or
// 0. A relay ("$FINGERPRINT=name") is no keyword.
func keyLen(line string) int {
	for i := range len(line) {
		switch c := line[i]; {
		case c == '=':
			return i
		case c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z':
		default:
			return 0
		}
	}
	return 0
}

// unquote reads the CString at the start of s and returns what follows it.
func unquote(s string) (val, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
			switch e := s[i]; {
			case e == 'n':
				b.WriteByte('\n')
			case e == 't':
				b.WriteByte('\t')
			case e == 'r':
				b.WriteByte('\r')
			case '0' <= e && e <= '7': // one to three octal digits
				n := i + 1
				for n < len(s) && n < i+3 && '0' <= s[n] && s[n] <= '7' {
					n++
				}
				v, err := strconv.ParseUint(s[i:n], 8, 8)
				if err != nil {
					return "", "", false
				}
				b.WriteByte(byte(v))
				i = n - 1
			default:
				b.WriteByte(e)
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// lookup is the value of the keyword key, empty when it is not there.
func lookup(fs []field, key string) string {
	for _, f := range fs {
		if f.key == key {
			return f.val
		}
	}
	return ""
}

// printable is s without anything that could steer a terminal, for text that a
// person will see.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
