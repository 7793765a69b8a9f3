package vcard

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/store"
)

// items is one published picture.
type items struct {
	Avatars
	data []byte
}

func (items) Access(context.Context, address.Address, string) (string, error) { return open, nil }

func (i items) Items(context.Context, address.Address, string, ...string) ([]store.Item, error) {
	return []store.Item{{Raw: i.data}}, nil
}

// Whatever a client calls an avatar or a photo, what is taken of it has the hash of
// its bytes, and the one that was published has it as its id.
func FuzzPhoto(f *testing.F) {
	png := base64.StdEncoding.EncodeToString([]byte("\x89PNG\x0d\x0a\x1a\x0a"))
	sum := sha1.Sum([]byte("\x89PNG\x0d\x0a\x1a\x0a"))
	f.Add([]byte("<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>"+png+"</BINVAL></PHOTO></vCard>"), []byte("<data xmlns='urn:xmpp:avatar:data'/>"))
	f.Add([]byte("<metadata xmlns='urn:xmpp:avatar:metadata'><info id='"+hex.EncodeToString(sum[:])+"'/></metadata>"), []byte("<data xmlns='urn:xmpp:avatar:data'>"+png+"</data>"))
	f.Fuzz(func(t *testing.T, raw, data []byte) {
		check := func(p photo) {
			if p.hash == "" {
				if len(p.data) != 0 {
					t.Error("a picture without a hash")
				}
				return
			}
			if sum := sha1.Sum(p.data); hex.EncodeToString(sum[:]) != p.hash {
				t.Error("a wrong hash")
			}
		}
		if n, err := xmppstream.Parse(raw, xmppstream.SessionLimits()); err == nil {
			check(photoOf(n))
		}
		m := &module{Options: Options{Avatars: items{data: data}}}
		p, ok, err := m.avatar(t.Context(), address.Address{}, store.Item{Raw: raw})
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			check(p)
		}
	})
}
