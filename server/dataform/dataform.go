// Package dataform reads and writes data forms (XEP-0004), for the modules that ask
// their users something.
//
//	s, err := dataform.Submitted(q.Payload, "urn:example:form")
//	if err != nil {
//		return nil, err // a stanza error
//	}
//	name := s.Value("name")
package dataform

import (
	"strings"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

// NS is the namespace of data forms.
const NS = "jabber:x:data"

// The kinds of field that are used here (XEP-0004 §3.3).
const (
	Hidden      = "hidden"
	Fixed       = "fixed"
	Boolean     = "boolean"
	TextSingle  = "text-single"
	TextPrivate = "text-private"
	TextMulti   = "text-multi"
	ListSingle  = "list-single"
	ListMulti   = "list-multi"
	JIDSingle   = "jid-single"
	JIDMulti    = "jid-multi"
)

// The types of form (XEP-0004 §3.1).
const (
	TypeForm   = "form"   // to be filled in
	TypeSubmit = "submit" // filled in
	TypeResult = "result"
	TypeCancel = "cancel"
)

// Field is a field of a form. All is text; Append escapes it.
type Field struct {
	Var, Type, Label string
	Values           []string
	Options          []string // values that may be chosen, for lists
	Required         bool
}

// Form is a form that the server sends.
type Form struct {
	Type         string // "form" if empty
	Title        string
	Instructions string
	FormType     string // the hidden field FORM_TYPE (XEP-0068), "" for none
	Fields       []Field
}

// Append appends the form as XML.
func (f *Form) Append(b []byte) []byte {
	typ := f.Type
	if typ == "" {
		typ = TypeForm
	}
	b = append(append(append(b, "<x xmlns='"+NS+"' type='"...), typ...), "'>"...)
	b = element(b, "title", f.Title)
	b = element(b, "instructions", f.Instructions)
	if f.FormType != "" {
		b = (&Field{Var: "FORM_TYPE", Type: Hidden, Values: []string{f.FormType}}).append(b)
	}
	for i := range f.Fields {
		b = f.Fields[i].append(b)
	}
	return append(b, "</x>"...)
}

func (f *Field) append(b []byte) []byte {
	b = append(b, "<field"...)
	b = attr(b, "var", f.Var)
	b = attr(b, "type", f.Type)
	b = attr(b, "label", f.Label)
	b = append(b, '>')
	if f.Required {
		b = append(b, "<required/>"...)
	}
	for _, v := range f.Values {
		b = append(xmppstream.Escape(append(b, "<value>"...), v), "</value>"...)
	}
	for _, o := range f.Options {
		b = append(xmppstream.Escape(append(b, "<option><value>"...), o), "</value></option>"...)
	}
	return append(b, "</field>"...)
}

// element appends an element with text, nothing for none.
func element(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	b = append(append(append(b, '<'), name...), '>')
	b = xmppstream.Escape(b, text)
	return append(append(append(b, "</"...), name...), '>')
}

func attr(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, ' '), name...), "='"...)
	return append(xmppstream.Escape(b, value), '\'')
}

// Submission is a form that was filled in.
type Submission struct {
	Type   string // "submit" or "cancel"
	fields map[string][]string
	order  []string
}

// Submitted finds the form among parent's children and reads it with [Read]; nil
// for none.
func Submitted(parent *xmppstream.Node, formType string) (*Submission, error) {
	x := parent.Child(NS, "x")
	if x == nil {
		return nil, nil
	}
	return Read(x, formType)
}

// Read reads a form that was filled in or cancelled. It fails with a bad-request
// for another type of form, for a field that comes twice, and for a FORM_TYPE other
// than formType; a form without FORM_TYPE is taken as one that has it (XEP-0068 §3).
func Read(x *xmppstream.Node, formType string) (*Submission, error) {
	s := &Submission{Type: x.Attr("type")}
	if s.Type != TypeSubmit && s.Type != TypeCancel {
		return nil, server.ErrBadRequest.Because("A form that was filled in is of the type submit.")
	}
	s.fields = make(map[string][]string, len(x.Children))
	for _, f := range x.Children {
		name := f.Attr("var")
		if !f.Is(NS, "field") || name == "" { // a fixed field says nothing
			continue
		}
		if _, twice := s.fields[name]; twice {
			return nil, server.ErrBadRequest.Because("The form has a field twice.")
		}
		values := make([]string, 0, len(f.Children))
		for _, v := range f.Children {
			if v.Is(NS, "value") {
				values = append(values, v.Text)
			}
		}
		s.fields[name] = values
		s.order = append(s.order, name)
	}
	if formType != "" && s.Has("FORM_TYPE") && s.Value("FORM_TYPE") != formType {
		return nil, server.ErrBadRequest.Because("The form is not the one that was asked for.")
	}
	return s, nil
}

// The methods may be called on nil, which is an empty form.

// Has reports whether a field is there, be it empty.
func (s *Submission) Has(name string) bool {
	if s == nil {
		return false
	}
	_, ok := s.fields[name]
	return ok
}

// Value is a field's first value, "" for none.
func (s *Submission) Value(name string) string {
	if v := s.Values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values are a field's values. They are not to be changed.
func (s *Submission) Values(name string) []string {
	if s == nil {
		return nil
	}
	return s.fields[name]
}

// Text is the text of a field of many lines.
func (s *Submission) Text(name string) string { return strings.Join(s.Values(name), "\n") }

// Names are the fields' names in the order of the form, without FORM_TYPE.
func (s *Submission) Names() []string {
	if s == nil {
		return nil
	}
	list := make([]string, 0, len(s.order))
	for _, name := range s.order {
		if name != "FORM_TYPE" {
			list = append(list, name)
		}
	}
	return list
}

// Truth reads a boolean as XEP-0004 §3.3 writes it.
func Truth(value string) (truth, ok bool) {
	switch value {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}
