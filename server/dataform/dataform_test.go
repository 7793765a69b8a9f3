package dataform

import (
	"errors"
	"slices"
	"testing"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

func node(t testing.TB, xml string) *xmppstream.Node {
	t.Helper()
	n, err := xmppstream.Parse([]byte(xml), xmppstream.SessionLimits())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAppend(t *testing.T) {
	f := Form{Title: "T<1>", Instructions: "do", FormType: "urn:x", Fields: []Field{
		{Var: "a", Type: ListSingle, Label: "it's", Values: []string{"1"}, Options: []string{"1", "<2>"}, Required: true},
		{Var: "b"},
	}}
	const want = "<x xmlns='jabber:x:data' type='form'><title>T&lt;1&gt;</title><instructions>do</instructions>" +
		"<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>" +
		"<field var='a' type='list-single' label='it&apos;s'><required/><value>1</value><option><value>1</value></option><option><value>&lt;2&gt;</value></option></field>" +
		"<field var='b'></field></x>"
	if got := string(f.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRead(t *testing.T) {
	const field = "<field var='a'><value>1</value><value>2</value></field>"
	for name, c := range map[string]struct {
		xml string
		bad bool
	}{
		"whole":           {"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:x</value></field>" + field + "</x>", false},
		"no FORM_TYPE":    {"<x xmlns='jabber:x:data' type='submit'>" + field + "</x>", false},
		"other FORM_TYPE": {"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:y</value></field>" + field + "</x>", true},
		"empty FORM_TYPE": {"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'/>" + field + "</x>", true},
		"twice":           {"<x xmlns='jabber:x:data' type='submit'>" + field + field + "</x>", true},
		"a form":          {"<x xmlns='jabber:x:data' type='form'>" + field + "</x>", true},
		"no type":         {"<x xmlns='jabber:x:data'>" + field + "</x>", true},
	} {
		s, err := Read(node(t, c.xml), "urn:x")
		if c.bad {
			if !errors.Is(err, server.ErrBadRequest) {
				t.Errorf("%s: got %v, want bad-request", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Value("a") != "1" || s.Text("a") != "1\n2" || !s.Has("a") || s.Has("b") || s.Value("b") != "" || !slices.Equal(s.Names(), []string{"a"}) {
			t.Errorf("%s: got %+v", name, s)
		}
	}
}

func TestNoForm(t *testing.T) {
	s, err := Submitted(node(t, "<command xmlns='urn:x'/>"), "urn:x")
	if err != nil || s != nil || s.Has("a") || s.Value("a") != "" || s.Names() != nil || s.Text("a") != "" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestTruth(t *testing.T) {
	for in, want := range map[string][2]bool{"1": {true, true}, "true": {true, true}, "0": {false, true}, "false": {false, true}, "yes": {}, "": {}} {
		if truth, ok := Truth(in); [2]bool{truth, ok} != want {
			t.Errorf("%q: %v %v", in, truth, ok)
		}
	}
}

// Whatever a client submits is read without harm.
func FuzzRead(f *testing.F) {
	f.Add("<x xmlns='jabber:x:data' type='submit'><field var='a'><value>1</value></field></x>")
	f.Fuzz(func(t *testing.T, xml string) {
		n, err := xmppstream.Parse([]byte(xml), xmppstream.SessionLimits())
		if err != nil {
			return
		}
		s, err := Read(n, "urn:x")
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		for _, name := range s.Names() {
			if !s.Has(name) {
				t.Fatalf("%q is not there", name)
			}
		}
	})
}
