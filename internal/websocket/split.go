package websocket

import (
	"bytes"
	"errors"
)

// found is what a splitter came upon.
type found uint8

const (
	nothing found = iota // the bytes end before anything is whole
	prolog               // <?xml … ?>
	opening              // the start tag of a stream
	closing              // the end tag of a stream
	element              // a whole element
	space                // whitespace between elements
)

// splitter finds where the parts of a stream end. It does not judge XML: what
// goes out was judged before it came here, and what came in is judged where it is
// read (internal/xmppstream). It looks at each byte once, however the bytes come.
type splitter struct {
	state   state
	quote   byte
	depth   int
	slash   bool // the last byte of a start tag was "/"
	marks   int  // how much of "<![CDATA[", "]]>" or "?>" was seen
	started bool // a prolog was seen: the next start tag opens a stream
}

type state uint8

const (
	between state = iota // text, or between elements
	angle                // behind "<"
	startTag
	endTag
	instruction // behind "<?"
	section     // inside "<![CDATA["
	entering    // behind "<!"
	spaces
)

const cdata = "<![CDATA["

// next reads b, which follows what it was given before, up to the end of the next
// part, and gives its length within b. bad is what no stream has.
func (s *splitter) next(b []byte) (n int, what found, bad bool) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch s.state {
		case spaces:
			if !isSpace(c) {
				s.state = between
				return i, space, false
			}
		case between:
			switch {
			case c == '<':
				s.state = angle
			case s.depth == 0 && isSpace(c):
				s.state = spaces
			case s.depth == 0:
				return i, nothing, true
			default: // text is most of it
				if j := bytes.IndexByte(b[i:], '<'); j < 0 {
					i = len(b) - 1
				} else {
					i += j - 1
				}
			}
		case angle:
			switch c {
			case '/':
				s.state = endTag
			case '?':
				if s.depth > 0 {
					return i, nothing, true
				}
				s.state, s.marks = instruction, 0
			case '!':
				if s.depth == 0 {
					return i, nothing, true
				}
				s.state, s.marks = entering, 2
			default:
				s.state, s.slash = startTag, false
			}
		case startTag:
			switch {
			case s.quote != 0:
				if c == s.quote {
					s.quote = 0
				}
			case c == '"' || c == '\'':
				s.quote = c
			case c == '<':
				return i, nothing, true
			case c == '>':
				s.state = between
				switch {
				case s.started && s.depth == 0:
					s.started = false
					return i + 1, opening, s.slash
				case !s.slash:
					s.depth++
				case s.depth == 0:
					return i + 1, element, false
				}
			}
			s.slash = c == '/' && s.quote == 0
		case endTag:
			if c != '>' {
				break
			}
			s.state = between
			if s.depth == 0 {
				return i + 1, closing, false
			}
			if s.depth--; s.depth == 0 {
				return i + 1, element, false
			}
		case instruction:
			if c == '>' && s.marks == 1 {
				s.state, s.started = between, true
				return i + 1, prolog, false
			}
			s.marks = 0
			if c == '?' {
				s.marks = 1
			}
		case entering:
			if c != cdata[s.marks] {
				return i, nothing, true
			}
			if s.marks++; s.marks == len(cdata) {
				s.state, s.marks = section, 0
			}
		case section:
			switch {
			case c == ']':
				s.marks = min(s.marks+1, 2)
			case c == '>' && s.marks == 2:
				s.state = between
			default:
				s.marks = 0
			}
		}
	}
	if s.state == spaces && len(b) > 0 {
		s.state = between
		return len(b), space, false
	}
	return len(b), nothing, false
}

// cutter cuts a stream that comes in pieces of any size into its parts.
type cutter struct {
	splitter
	partial []byte // of what is not whole yet
}

var errNoStream = errors.New("websocket: what is to be sent is no XMPP stream")

// next takes more of the stream and gives each part that is whole to emit: the
// opening with its prolog, the closing, an element, or whitespace between them.
func (c *cutter) next(b []byte, emit func(part []byte, what found) error) error {
	for len(b) > 0 {
		n, what, bad := c.splitter.next(b)
		if bad {
			return errNoStream
		}
		part := b[:n]
		b = b[n:]
		whole := what != nothing && what != prolog
		if !whole || len(c.partial) > 0 && what != space {
			c.partial = append(c.partial, part...)
			part = c.partial
		}
		if !whole {
			continue
		}
		if err := emit(part, what); err != nil {
			return err
		}
		if what != space {
			clear(c.partial)
			c.partial = nil
		}
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// root is what the start tag of an element says of namespaces.
type root struct {
	prefix   string // of the element's own name
	end      int    // of the name within the element
	standard bool   // it declares a default namespace
	stream   bool   // it declares the prefix "stream"
	own      bool   // it declares its own prefix
	space    []byte // its own namespace as it is written, where it declares that
}

// rootOf reads the start tag that raw begins with, which the splitter has found to
// end.
func rootOf(raw []byte) root {
	var r root
	i := 1
	for i < len(raw) && !isSpace(raw[i]) && raw[i] != '>' && raw[i] != '/' {
		i++
	}
	r.end = i
	if p, _, ok := bytes.Cut(raw[min(1, i):i], []byte(":")); ok {
		r.prefix = string(p)
	}
	for i < len(raw) && raw[i] != '>' {
		start := i
		for i < len(raw) && raw[i] != '=' && raw[i] != '>' {
			i++
		}
		name := string(bytes.TrimSpace(raw[start:i]))
		for i < len(raw) && raw[i] != '"' && raw[i] != '\'' && raw[i] != '>' {
			i++
		}
		if i == len(raw) || raw[i] == '>' {
			break
		}
		end := bytes.IndexByte(raw[i+1:], raw[i])
		if end < 0 {
			break
		}
		value := raw[i+1 : i+1+end]
		i += end + 2
		switch {
		case name == "xmlns":
			if r.standard = true; r.prefix == "" {
				r.space = value
			}
		case r.prefix != "" && name == "xmlns:"+r.prefix:
			r.own, r.space = true, value
		}
		r.stream = r.stream || name == "xmlns:stream"
	}
	return r
}
