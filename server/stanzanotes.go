package server

import (
	"strings"

	"xmpp-gw/internal/address"
)

// archived is where the archive of a message's sender has it.
type archived struct {
	owner address.Address
	id    string
}

// SetArchived notes under which id the sender's archive has the message, for those
// that show it to the sender's other clients (XEP-0313 §3). It is not part of what
// the message's recipient gets. Copies have it too.
func (st *Stanza) SetArchived(owner address.Address, id string) {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	f.archived = archived{owner, id}
}

// Archived is what SetArchived noted for that archive, "" for nothing.
func (st *Stanza) Archived(owner address.Address) (id string) {
	f := st.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.archived.owner != owner {
		return ""
	}
	return f.archived.id
}

// WithElement is [Stanza.With] for one element of this name that the caller has
// made itself and need not be checked: the stanza is not read again.
func (st *Stanza) WithElement(space, name string, element []byte) *Stanza {
	var b strings.Builder
	b.Grow(len(st.raw) + len(element) + len("</presence>"))
	if st.root.Empty {
		b.WriteString(st.raw[:len(st.raw)-len("/>")])
		b.WriteByte('>')
	} else {
		b.WriteString(st.raw[:strings.LastIndex(st.raw, "</")])
	}
	start := b.Len()
	b.Write(element)
	end := b.Len()
	b.WriteString("</")
	b.WriteString(st.raw[1:st.root.Name])
	b.WriteByte('>')
	c := st.copy(b.String())
	c.root.Empty = false
	c.children = append(append(c.few[:0], st.children...), child{space, name, start, end})
	return c
}

// Only reports whether all direct children are such, by their names.
func (st *Stanza) Only(such func(space, name string) bool) bool {
	for i := range st.children {
		if !such(st.children[i].space, st.children[i].name) {
			return false
		}
	}
	return true
}
