package vcard

import (
	"context"
	"errors"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/store"
)

// ErrTooLong is for a vCard of more than [MaxBytes].
var ErrTooLong = errors.New("the vCard is too long")

// Get reads a vCard from the storage, for an export; [store.ErrNotFound] for none.
func Get(ctx context.Context, documents store.Documents, owner address.Address) ([]byte, error) {
	return documents.Document(ctx, owner, kind, cardKey)
}

// Put writes a vCard to the storage, as an import does, and tells nobody.
func Put(ctx context.Context, documents store.Documents, owner address.Address, card *xmppstream.Node) error {
	raw := card.Append(nil)
	if len(raw) > MaxBytes {
		return ErrTooLong
	}
	if err := documents.PutDocument(ctx, owner, kind, cardKey, raw, maxDocs); err != nil {
		return err
	}
	return documents.PutDocument(ctx, owner, kind, hashKey, []byte(photoOf(card).hash), maxDocs)
}
