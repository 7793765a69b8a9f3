package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What others say of a domain's onion addresses counts only over Tor, behind the
// owner's own word, and never proves anything.
func TestKnown(t *testing.T) {
	onion := Endpoint{STARTTLS, testOnion(), 5222, ""}
	web := Endpoint{WebSocket, testOnion(), 443, "/ws"}
	clear := Endpoint{STARTTLS, "xmpp.a.example", 5222, ""}
	listed := Known{Endpoints: []Endpoint{onion, web}, Listed: true, Source: "a list"}
	used := Known{Endpoints: []Endpoint{onion}, Since: "2026-11-20", Source: "a login"}
	broken := Known{Problem: errors.New("line 7")}
	direct, off := route(t, "direct"), set(UpgradeOff)
	for name, x := range map[string]struct {
		base, own Rule
		known     Known
		want      []Endpoint
		since     bool
		refusal   string
	}{
		"nothing known":                      {base: complete()},
		"listed":                             {base: complete(), known: listed, want: listed.Endpoints},
		"used":                               {base: complete(), known: used, want: used.Endpoints, since: true},
		"a bad source names clear places":    {base: complete(), known: Known{Endpoints: []Endpoint{clear, onion}}, want: []Endpoint{onion}},
		"listed, another route":              {base: at(func(r *Rule) { r.Route = direct }), known: listed},
		"used, another route by default":     {base: at(func(r *Rule) { r.Route = direct }), known: used, refusal: "in any other way"},
		"used, socks by default":             {base: at(func(r *Rule) { r.Route = route(t, "socks:x") }), known: used, refusal: "in any other way"},
		"used, another route of its own":     {base: complete(), own: Rule{Route: direct}, known: used},
		"used, only another pin of its own":  {base: at(func(r *Rule) { r.Route = direct }), own: Rule{Pin: set(PinOff)}, known: used, refusal: "in any other way"},
		"used, onion_upgrade off of its own": {base: complete(), own: Rule{Upgrade: off}, known: used},
		"used, onion_upgrade off by default": {base: at(func(r *Rule) { r.Upgrade = off }), known: used, want: used.Endpoints, since: true},
		"listed, onion_upgrade off":          {base: complete(), own: Rule{Upgrade: off}, known: listed, want: listed.Endpoints},
		"endpoints of its own":               {base: complete(), own: Rule{Endpoints: set([]Endpoint{clear})}, known: used},
		"an onion of its own":                {base: complete(), own: Rule{Onion: set(onion)}, known: broken},
		"onion-only":                         {base: at(func(r *Rule) { r.Route = route(t, "onion-only") }), known: listed, want: listed.Endpoints},
		"onion-only, nothing known":          {base: at(func(r *Rule) { r.Route = route(t, "onion-only") }), refusal: "none is known"},
		"tls onion needs the owner":          {base: complete(), own: Rule{TLS: set(TLSOnion)}, known: listed, want: listed.Endpoints, refusal: "onion address must prove it"},
		"what is known cannot be read":       {base: complete(), known: broken, refusal: "line 7"},
		"the same, and direct of its own":    {base: complete(), own: Rule{Route: direct}, known: broken},
		"the same, and direct by default":    {base: at(func(r *Rule) { r.Route = direct }), known: broken, refusal: "line 7"},
		"blocked all the same":               {base: at(func(r *Rule) { r.Route = route(t, "block") }), known: used, refusal: "policy blocks it"},
	} {
		rules := Rules{Default: x.base, Domains: map[string]Rule{"a.example": x.own}, Known: func(domain string) Known {
			if domain != "a.example" {
				t.Errorf("%s: asked of %q", name, domain)
			}
			return x.known
		}}
		d, err := rules.Decide(Target{Domain: "A.Example."})
		if (err == nil) != (x.refusal == "") || err != nil && !strings.Contains(err.Error(), x.refusal) {
			t.Errorf("%s: %v, want %q", name, err, x.refusal)
		}
		if strings.Contains(x.refusal, "any other way") && !strings.Contains(err.Error(), Forget("a.example")) {
			t.Errorf("%s: %v does not say how to lift that", name, err)
		}
		if !slices.Equal(d.Known.Endpoints, x.want) || (d.Known.Since != "") != x.since {
			t.Errorf("%s: %+v, want %v", name, d.Known, x.want)
		}
		for _, e := range d.Known.Endpoints {
			if d.OnionProves(e) {
				t.Errorf("%s: %s proves the server", name, e)
			}
		}
		if shown := slices.ContainsFunc(d.Why, func(r Reason) bool { return r.Key == "known onion" }); shown != (len(d.Known.Endpoints) > 0) {
			t.Errorf("%s: the reasons are %v", name, d.Why)
		}
	}
	rules := Rules{Default: complete(), Known: func(string) Known { t.Error("asked of an onion address"); return used }}
	if d, err := rules.Decide(Target{Domain: testOnion()}); err != nil || len(d.Known.Endpoints) > 0 {
		t.Errorf("%+v, %v", d.Known, err)
	}
}

// A WebSocket without TLS needs an onion address that proves the server.
func TestPlainWebSocket(t *testing.T) {
	plain := Endpoint{PlainWebSocket, testOnion(), 80, "/ws"}
	for name, x := range map[string]struct {
		rule Rule
		ok   bool
	}{
		"bound":                 {at(func(r *Rule) { r.TLS, r.Onion = set(TLSOnion), set(plain) }), true},
		"endpoints":             {at(func(r *Rule) { r.TLS, r.Endpoints = set(TLSOnion), set([]Endpoint{plain}) }), true},
		"bound, to be verified": {at(func(r *Rule) { r.Onion = set(plain) }), false},
		"one of the endpoints":  {at(func(r *Rule) { r.Endpoints = set([]Endpoint{{DirectTLS, testOnion(), 5223, ""}, plain}) }), false},
	} {
		if _, err := (Rules{Default: x.rule}).Decide(Target{Domain: "a.example"}); (err == nil) != x.ok || err != nil && !strings.Contains(err.Error(), "wss://") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
