package audit

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxEvidence bounds what one finding shows of what a server sent, in characters.
const maxEvidence = 240

// Clean is s as any terminal, log or XML may show it: what is not printable is
// written as an escape, line ends included, and what is long is cut. Clean text
// stays as it is.
func Clean(s string) string {
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, s[i])
		case !unicode.IsPrint(r) && r < 0x80:
			piece = fmt.Sprintf(`\x%02x`, r)
		case !unicode.IsPrint(r): // among them what turns the direction of writing
			piece = fmt.Sprintf(`\u{%x}`, r)
		}
		width := utf8.RuneCountInString(piece)
		if n+width > maxEvidence-1 && i+size < len(s) || n+width > maxEvidence {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
		n += width
		i += size
	}
	return b.String()
}
