package onion

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
)

// Authorize makes exactly these keys known to Tor, for onion services that let
// in known clients only: others that it was given before are taken back. Tor
// keeps them in memory alone. They apply to connections from now on.
func (t *Tor) Authorize(ctx context.Context, keys []ClientKey) error {
	ctx, release, err := t.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	return t.cause(t.authorize(ctx, keys))
}

func (t *Tor) authorize(ctx context.Context, keys []ClientKey) error {
	if len(keys) == 0 && len(t.known) == 0 {
		return nil
	}
	if t.control == nil {
		return fmt.Errorf("tor cannot be given the keys for onion services: %w", t.noControl())
	}
	want := make(map[string]string)
	for _, k := range keys {
		want[strings.TrimSuffix(k.address, onionSuffix)] = k.blob()
	}
	for id, blob := range t.known {
		if want[id] == blob {
			continue
		}
		if _, err := t.control.Request(ctx, "ONION_CLIENT_AUTH_REMOVE "+id); err != nil {
			return authError(err)
		}
		delete(t.known, id)
	}
	for id, blob := range want {
		if t.known[id] == blob {
			continue
		}
		if _, err := t.control.Request(ctx, "ONION_CLIENT_AUTH_ADD "+id+" "+blob); err != nil {
			return authError(err)
		}
		t.known[id] = blob
	}
	return nil
}

// authError leaves out what Tor says: it repeats the key.
func authError(err error) error {
	if refused, ok := errors.AsType[*textproto.Error](err); ok {
		return fmt.Errorf("tor does not take the key for an onion service (code %d of its control port)", refused.Code)
	}
	return err
}
