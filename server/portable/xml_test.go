package portable

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What an element is written as is read as the same again, and is well-formed for
// the stream engine or refused by it.
func FuzzWhole(f *testing.F) {
	if text, err := os.ReadFile("testdata/prosody.xml"); err == nil {
		f.Add(string(text))
	}
	f.Add("<a xmlns='x' b='&lt;' xml:lang='en' xmlns:p='q' p:c='d'>text<p:e/>more<!-- no --><?pi?></a>")
	f.Add("<p:a xmlns:p='x'><b xmlns='' c=\"'\"/></p:a>")
	f.Fuzz(func(t *testing.T, text string) {
		read := func(text string) []byte {
			s := newScanner(strings.NewReader(text))
			start, err := s.next()
			if err != nil || start == nil {
				return nil
			}
			_, raw, err := s.node(start)
			if err != nil {
				return nil
			}
			return raw
		}
		once := read(text)
		if once == nil {
			return
		}
		if twice := read(string(once)); !bytes.Equal(once, twice) {
			t.Errorf("%q became %q and then %q", text, once, twice)
		}
	})
}
