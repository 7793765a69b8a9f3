package audit

import (
	"bytes"
	"encoding/xml"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// junitElement is what an element may have and must have, of what readers of JUnit's
// reports agree on: Jenkins' schema (xunit-plugin, junit-10.xsd), in which all that is
// written here is valid.
type junitElement struct {
	in         string // what it stands in
	must, may  string // attributes
	hasCounted bool   // its numbers are those of the cases within
}

var junitElements = map[string]junitElement{
	"testsuites": {in: "", may: "name time tests failures disabled errors", hasCounted: true},
	"testsuite":  {in: "testsuites", must: "name tests failures errors", may: "skipped timestamp hostname time id package", hasCounted: true},
	"testcase":   {in: "testsuite", must: "name", may: "classname time"},
	"failure":    {in: "testcase", may: "type message"},
	"error":      {in: "testcase", may: "type message"},
	"skipped":    {in: "testcase", may: "type message"},
	"system-out": {in: "testcase"},
}

// checkJUnit holds a document against that, and its numbers against what is in it.
func checkJUnit(t *testing.T, text []byte) {
	t.Helper()
	type open struct {
		name     string
		told     map[string]int
		children map[string]int // by name, of all depths
	}
	stack := []*open{{children: map[string]int{}}}
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name, up := token.Name.Local, stack[len(stack)-1]
			rule, known := junitElements[name]
			if !known || rule.in != up.name {
				t.Errorf("<%s> in <%s>", name, up.name)
			}
			o := &open{name, map[string]int{}, map[string]int{}}
			var attributes []string
			for _, a := range token.Attr {
				attributes = append(attributes, a.Name.Local)
				if n, err := strconv.Atoi(a.Value); err == nil {
					o.told[a.Name.Local] = n
				}
				if !slices.Contains(strings.Fields(rule.must+" "+rule.may), a.Name.Local) {
					t.Errorf("<%s> has %s", name, a.Name.Local)
				}
			}
			for _, m := range strings.Fields(rule.must) {
				if !slices.Contains(attributes, m) {
					t.Errorf("<%s> has no %s", name, m)
				}
			}
			for _, above := range stack {
				above.children[name]++
			}
			stack = append(stack, o)
		case xml.EndElement:
			o := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if !junitElements[o.name].hasCounted {
				continue
			}
			for attribute, element := range map[string]string{"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"} {
				if told, ok := o.told[attribute]; ok && told != o.children[element] {
					t.Errorf("<%s> tells of %d %s, and has %d", o.name, told, attribute, o.children[element])
				}
			}
		}
	}
}
