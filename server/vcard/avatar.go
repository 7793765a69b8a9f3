package vcard

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// Nodes of published avatars (XEP-0084).
const (
	NodeData     = "urn:xmpp:avatar:data"
	NodeMetadata = "urn:xmpp:avatar:metadata"
)

// Access models of nodes (XEP-0060 §4.5).
const (
	open     = "open"
	presence = "presence"
)

// photo is a picture. The zero value is none.
type photo struct {
	data []byte
	typ  string // its media type
	hash string // SHA-1 in hexadecimal (XEP-0153 §4.1)
}

// picture is a photo of its bytes. The type is that of the bytes, and what was said
// only where they do not tell (XEP-0153 §5).
func picture(data []byte, said string) photo {
	if len(data) == 0 {
		return photo{}
	}
	sum := sha1.Sum(data)
	typ := http.DetectContentType(data)
	if !strings.HasPrefix(typ, "image/") {
		typ = said
	}
	return photo{data, typ, hex.EncodeToString(sum[:])}
}

// photoOf is the picture inside a vCard, none if it cannot be read.
func photoOf(card *xmppstream.Node) photo {
	p := card.Child(NS, "PHOTO")
	if p == nil {
		return photo{}
	}
	data, err := decode(p.ChildText(NS, "BINVAL"))
	if err != nil {
		return photo{}
	}
	return picture(data, strings.TrimSpace(p.ChildText(NS, "TYPE")))
}

// decode reads base64 with line ends in it (XEP-0153 §4.4).
func decode(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
}

// publish publishes the photo of a vCard (XEP-0398 §3.2), or that there is none.
func (m *module) publish(ctx context.Context, owner address.Address, p photo) error {
	access := presence
	if m.Public {
		access = open
	}
	item := func(id string, raw []byte) store.Item {
		return store.Item{ID: id, Publisher: owner, At: m.server.Now(), Raw: raw}
	}
	if p.hash == "" { // XEP-0084 §4.5
		return m.Avatars.Publish(ctx, owner, NodeMetadata, access, item("current", []byte("<metadata xmlns='"+NodeMetadata+"'/>")))
	}
	b := []byte("<data xmlns='" + NodeData + "'>")
	b = base64.StdEncoding.AppendEncode(b, p.data)
	if err := m.Avatars.Publish(ctx, owner, NodeData, access, item(p.hash, append(b, "</data>"...))); err != nil {
		return err
	}
	b = append([]byte("<metadata xmlns='"+NodeMetadata+"'><info id='"), p.hash...)
	b = strconv.AppendInt(append(b, "' bytes='"...), int64(len(p.data)), 10)
	b = xmppstream.Escape(append(b, "' type='"...), p.typ)
	return m.Avatars.Publish(ctx, owner, NodeMetadata, access, item(p.hash, append(b, "'/></metadata>"...)))
}

// published puts an avatar that was published into the vCard (XEP-0398 §3.1).
func (m *module) published(ctx context.Context, owner address.Address, node string, it store.Item) {
	if node != NodeMetadata {
		return
	}
	p, ok, err := m.avatar(ctx, owner, it)
	if err == nil && ok {
		err = m.adopt(ctx, owner, p)
	}
	if err != nil {
		m.log.Warn("an avatar could not be put into the vCard", "err", err)
	}
}

// emptied removes the photo when the avatar was removed.
func (m *module) emptied(ctx context.Context, owner address.Address, node string) {
	if node != NodeMetadata {
		return
	}
	left, err := m.Avatars.Items(ctx, owner, node)
	switch {
	case err == nil && len(left) > 0:
		return
	case err == nil || errors.Is(err, store.ErrNotFound):
		err = m.adopt(ctx, owner, photo{})
	}
	if err != nil {
		m.log.Warn("the photo of an avatar that was removed could not be taken out of the vCard", "err", err)
	}
}

// avatar is the picture that an item of the metadata node stands for. ok is false if
// the vCard is to stay as it is: the picture is elsewhere, or not for all who see the
// vCard (XEP-0398 §7), or not what its id says.
func (m *module) avatar(ctx context.Context, owner address.Address, it store.Item) (p photo, ok bool, err error) {
	meta, err := xmppstream.Parse(it.Raw, xmppstream.SessionLimits())
	if err != nil || !meta.Is(NodeMetadata, "metadata") {
		return photo{}, false, nil
	}
	if len(meta.Children) == 0 {
		return photo{}, true, nil
	}
	for _, info := range meta.Children {
		if !info.Is(NodeMetadata, "info") || info.Attr("url") != "" || info.Attr("id") == "" {
			continue
		}
		access, err := m.Avatars.Access(ctx, owner, NodeData)
		if errors.Is(err, server.ErrItemNotFound) {
			return photo{}, false, nil
		}
		if err != nil || access != open && (access != presence || m.Public) {
			return photo{}, false, err
		}
		items, err := m.Avatars.Items(ctx, owner, NodeData, info.Attr("id"))
		if err != nil || len(items) == 0 {
			return photo{}, false, err
		}
		data, err := xmppstream.Parse(items[0].Raw, xmppstream.SessionLimits())
		if err != nil {
			return photo{}, false, nil
		}
		image, err := decode(data.Text)
		if err != nil {
			return photo{}, false, nil
		}
		p = picture(image, info.Attr("type"))
		return p, p.hash != "" && p.hash == strings.ToLower(info.Attr("id")), nil
	}
	return photo{}, false, nil
}

// adopt makes p the photo of the vCard.
func (m *module) adopt(ctx context.Context, owner address.Address, p photo) error {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return err
	}
	defer e.Release()
	a := e.Value
	a.changes.Lock()
	defer a.changes.Unlock()
	if before, _ := a.photo(); before == p.hash {
		return nil
	}
	card, err := m.card(ctx, owner)
	if err != nil {
		return err
	}
	kept := make([]*xmppstream.Node, 0, len(card.Children)+1)
	for _, c := range card.Children {
		if !c.Is(NS, "PHOTO") {
			kept = append(kept, c)
		}
	}
	if p.hash != "" {
		kept = append(kept, &xmppstream.Node{Space: NS, Name: "PHOTO", Children: []*xmppstream.Node{
			child(NS, "TYPE", p.typ), child(NS, "BINVAL", base64.StdEncoding.EncodeToString(p.data)),
		}})
	}
	card.Children = kept
	raw := card.Append(nil)
	if len(raw) > MaxBytes {
		return errors.New("the vCard would be too long")
	}
	return m.store(ctx, owner, a, raw, p.hash)
}
