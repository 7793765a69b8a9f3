package xmppstream

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf8"
)

// errMore says that the bytes so far are fine and end too early.
var errMore = errors.New("xmppstream: more bytes needed")

// Character classes of ASCII bytes.
const (
	nameStart  = 1 << iota // may start a name (the colon is treated apart)
	nameChar               // may go on a name
	textPlain              // text that needs no second look
	valuePlain             // an attribute value's byte that needs no second look, unless it is the quote
	space                  // XML whitespace
)

var class = classes()

func classes() (t [256]uint8) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = textPlain | valuePlain
	}
	for _, c := range "<&]" {
		t[c] &^= textPlain
	}
	for _, c := range "<&" {
		t[c] &^= valuePlain
	}
	for _, c := range " \t\r\n" {
		t[c] |= space
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= nameStart | nameChar
		t[c-'a'+'A'] |= nameStart | nameChar
	}
	t['_'] |= nameStart | nameChar
	for _, c := range "0123456789.-" {
		t[c] |= nameChar
	}
	return t
}

// Eight bytes at a time: the high bit of each byte of the result is set where the byte wants a
// second look. Only the lowest set bit is exact, as subtractions borrow from the bytes above.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// skipText returns the index of the first byte at or after i that is not plain text.
func skipText(b []byte, i int) int {
	rest := b[i:] // shrinking a slice costs no bounds checks
	for len(rest) >= 8 {
		x := binary.LittleEndian.Uint64(rest)
		m := x | (x - 0x20*ones) | ((x ^ '<'*ones) - ones) | ((x ^ '&'*ones) - ones) | ((x ^ ']'*ones) - ones)
		if m &= highs; m != 0 {
			return len(b) - len(rest) + bits.TrailingZeros64(m)>>3
		}
		rest = rest[8:]
	}
	for k, c := range rest {
		if class[c]&textPlain == 0 {
			return len(b) - len(rest) + k
		}
	}
	return len(b)
}

// skipValue is skipText for an attribute value that ends at quote.
func skipValue(b []byte, i int, quote byte) int {
	q := uint64(quote) * ones
	rest := b[i:]
	for len(rest) >= 8 {
		x := binary.LittleEndian.Uint64(rest)
		m := x | (x - 0x20*ones) | ((x ^ '<'*ones) - ones) | ((x ^ '&'*ones) - ones) | ((x ^ q) - ones)
		if m &= highs; m != 0 {
			return len(b) - len(rest) + bits.TrailingZeros64(m)>>3
		}
		rest = rest[8:]
	}
	for k, c := range rest {
		if class[c]&valuePlain == 0 || c == quote {
			return len(b) - len(rest) + k
		}
	}
	return len(b)
}

// skipName returns the index of the first byte at or after i that is no ASCII name character.
func skipName(b []byte, i int) int {
	for k, c := range b[i:] {
		if class[c]&nameChar == 0 {
			return i + k
		}
	}
	return len(b)
}

// char checks the character at b[i], which is not plain, and returns the index after it: legal
// whitespace and well-formed UTF-8 (XML 1.0 §2.2).
func char(b []byte, i int) (int, error) {
	c := b[i]
	if c < utf8.RuneSelf {
		if c >= ' ' || class[c]&space != 0 {
			return i + 1, nil
		}
		return i, malformed("a control character that XML does not allow")
	}
	r, n := utf8.DecodeRune(b[i:])
	if r == utf8.RuneError && n == 1 {
		if !utf8.FullRune(b[i:]) {
			return i, errMore
		}
		return i, &Error{UnsupportedEncoding, "bytes that are not UTF-8"} // RFC 6120 §4.9.3.22
	}
	if r == 0xFFFE || r == 0xFFFF {
		return i, malformed("a character that XML does not allow")
	}
	return i + n, nil
}

// chars is char for a run of non-ASCII text: it goes on until the next ASCII byte.
func chars(b []byte, i int) (int, error) {
	i, err := char(b, i)
	for err == nil && i < len(b) && b[i] >= utf8.RuneSelf {
		i, err = char(b, i)
	}
	return i, err
}

// maxRef is the longest reference we read, "&#x0010FFFF;". More leading zeros serve nobody.
const maxRef = 12

// reference reads the reference at b[i] == '&' and returns what it stands for and the index after
// it. Only the five predefined entities and characters exist (RFC 6120 §11.1).
func reference(b []byte, i int) (rune, int, error) {
	ref := b[i+1 : min(len(b), i+maxRef)]
	n := 0
	for n < len(ref) && ref[n] != ';' {
		n++
	}
	if n == len(ref) {
		if len(ref) < maxRef-1 && plausible(ref) {
			return 0, i, errMore
		}
		return 0, i, badReference(ref)
	}
	end := i + 1 + n + 1
	switch name := ref[:n]; string(name) {
	case "lt":
		return '<', end, nil
	case "gt":
		return '>', end, nil
	case "amp":
		return '&', end, nil
	case "quot":
		return '"', end, nil
	case "apos":
		return '\'', end, nil
	default:
		if r, ok := charRef(name); ok {
			return r, end, nil
		}
		return 0, i, badReference(name)
	}
}

// plausible reports whether an unfinished reference may still become one, so that a bare
// ampersand is an error at once.
func plausible(ref []byte) bool {
	for k, c := range ref {
		if class[c]&nameChar == 0 && !(k == 0 && c == '#') {
			return false
		}
	}
	return true
}

func badReference(ref []byte) error {
	if len(ref) > 0 && class[ref[0]]&nameStart != 0 {
		return restricted("an entity other than lt, gt, amp, quot and apos")
	}
	return malformed("an ampersand that starts no character reference")
}

// charRef reads "#65" or "#x41".
func charRef(name []byte) (rune, bool) {
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], rune(10)
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	var r rune
	for _, c := range digits {
		var d rune
		switch {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case base == 16 && c|0x20 >= 'a' && c|0x20 <= 'f':
			d = rune(c|0x20-'a') + 10
		default:
			return 0, false
		}
		if r = r*base + d; r > utf8.MaxRune {
			return 0, false
		}
	}
	return r, len(digits) > 0 && legalRune(r)
}

// legalRune is Char of XML 1.0 §2.2.
func legalRune(r rune) bool {
	return r >= ' ' && r < 0xD800 || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// unescape appends text as an XML processor reports it: references replaced and line ends made
// \n (§2.11); in an attribute value raw whitespace becomes a space (§3.3.3). raw has been checked.
func unescape(dst, raw []byte, attr bool) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case c == '&':
			r, end, _ := reference(raw, i)
			dst = utf8.AppendRune(dst, r)
			i = end
			continue
		case c == '\r':
			if i+1 < len(raw) && raw[i+1] == '\n' {
				i++
			}
			c = '\n'
		}
		if attr && (c == '\n' || c == '\t') {
			c = ' '
		}
		dst = append(dst, c)
		i++
	}
	return dst
}

// lineEnds appends the content of a CDATA section with line ends made \n (XML 1.0 §2.11).
func lineEnds(dst, raw []byte) []byte {
	for i, c := range raw {
		if c == '\r' {
			if i+1 < len(raw) && raw[i+1] == '\n' {
				continue
			}
			c = '\n'
		}
		dst = append(dst, c)
	}
	return dst
}
