package server

import (
	"context"

	"xmpp-gw/internal/saslauth/saslserver"
)

// Reoffer looks again which hashes of SCRAM can be offered, as after accounts came
// from another server. New makes the same.
func (s *Server) Reoffer(ctx context.Context) error {
	for _, d := range s.domains {
		if err := s.addSASL(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// hashes are those that every account of a domain has keys for: clients take the
// best that is offered, and do not try another. An account that came with one hash
// alone has all of them after its next password; until then everybody logs in with
// those that it has. Where no hash is common to all, nothing better can be done than
// to offer them all.
func (s *Server) hashes(ctx context.Context, domain string) ([]saslserver.Hash, error) {
	var common []saslserver.Hash
	for _, h := range saslserver.Hashes() {
		lacks, err := s.cfg.Store.LacksKeys(ctx, domain, h.String())
		if err != nil {
			return nil, err
		}
		if !lacks {
			common = append(common, h)
		}
	}
	if len(common) < len(saslserver.Hashes()) {
		s.log.Warn("some accounts cannot log in by every hash; set their passwords again", "offered", len(common))
	}
	return common, nil // none is nil, which is all
}
