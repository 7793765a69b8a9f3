package main

import (
	"cmp"
	"slices"
	"sync"

	"xmpp-gw/internal/control"
	"xmpp-gw/proxy"
)

// verdicts remember what the last login at each domain showed of its server, in
// memory alone: on disk they would say where the owner has accounts.
type verdicts struct {
	seen chan proxy.Sight // logins to be judged

	mu   sync.Mutex
	last map[string]control.Verdict
}

func newVerdicts() *verdicts {
	return &verdicts{seen: make(chan proxy.Sight, sightings), last: make(map[string]control.Verdict)}
}

// maxVerdicts is how many domains are remembered; the oldest gives way.
const maxVerdicts = 256

// put remembers v as its domain's last.
func (s *verdicts) put(v control.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[v.Domain] = v
	if len(s.last) <= maxVerdicts {
		return
	}
	oldest := v
	for _, other := range s.last {
		if other.At.Before(oldest.At) {
			oldest = other
		}
	}
	delete(s.last, oldest.Domain)
}

// Verdicts is part of [control.Daemon].
func (s *verdicts) Verdicts() []control.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]control.Verdict, 0, len(s.last))
	for _, v := range s.last {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b control.Verdict) int { return cmp.Compare(a.Domain, b.Domain) })
	return list
}
