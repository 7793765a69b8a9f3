package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxSyntax bounds the lines that are reported as no TOML. A file with more of
// them is something else.
const maxSyntax = 20

const unread = "what follows was not looked at"

// syntax reports the lines that are no TOML, and gives the text without them, so
// that one does not hide the mistakes behind it. headless are those of them that
// would have begun a section. Line numbers stay.
func (l *loader) syntax(text []byte) (rest []byte, headless []int) {
	text = bytes.Clone(text)
	for n := 1; ; n++ {
		number, err := syntaxError(text)
		if err == nil {
			return text, headless
		}
		from, to := lineBounds(text, number)
		line := text[from:to]
		// One that is right by itself is wrong because of those before it, such as
		// a list without its end; what belongs to what is then anybody's guess.
		_, itself := syntaxError(line)
		if itself == nil || n == maxSyntax {
			l.mistake(number, hint{err, unread})
			return text[:from], headless
		}
		if unquoted(line) {
			err = hint{err, "strings need quotes"}
		}
		l.mistake(number, err)
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("[")) {
			headless = append(headless, number)
		}
		for i := range line {
			line[i] = ' '
		}
	}
}

// syntaxError finds the first line that is no TOML.
func syntaxError(text []byte) (line int, err error) {
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
	}
	if p.Error() == nil {
		return 0, nil
	}
	line = 1
	if at, ok := errors.AsType[*unstable.ParserError](p.Error()); ok {
		line = p.Shape(p.Range(at.Highlight)).Start.Line
	}
	return line, fmt.Errorf("not TOML: %w", p.Error())
}

// lineBounds is where line number, counted from 1, begins and ends, its end not
// included.
func lineBounds(text []byte, number int) (from, to int) {
	for ; number > 1; number-- {
		i := bytes.IndexByte(text[from:], '\n')
		if i < 0 {
			return len(text), len(text)
		}
		from += i + 1
	}
	if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
		return from, from + i
	}
	return from, len(text)
}

// unquoted reports whether line gives a key a value that begins as a word, a path
// or a pin does.
func unquoted(line []byte) bool {
	_, value, ok := bytes.Cut(line, []byte("="))
	value = bytes.TrimLeft(value, " \t[")
	return ok && len(value) > 0 && (unicode.IsLetter(rune(value[0])) || bytes.ContainsAny(value[:1], "/~.") ||
		unicode.IsDigit(rune(value[0])) && bytes.ContainsAny(value, ".:/"))
}

// A proxy's URL has a password before its "@". It may be written anywhere by
// mistake, in a key as well, and with no scheme.
var (
	urlUser  = regexp.MustCompile(`://.*@`)
	bareUser = regexp.MustCompile(`[^\s":]+:[^\s"]*@`)
)

// presentable is text from the file as a message may show it: without passwords
// and without what a terminal would take for a command.
func presentable(s string) string {
	const form = "[USER:PASSWORD@]" // in our own advice
	if !strings.Contains(s, form) {
		s = urlUser.ReplaceAllString(s, "://[secret]@") // to the last "@": blanks and all
		s = bareUser.ReplaceAllString(s, "[secret]@")
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
