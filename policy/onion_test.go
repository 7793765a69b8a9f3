package policy

import "testing"

func TestOnionProves(t *testing.T) {
	const own, other = "aaaa.onion", "bbbb.onion"
	at := func(host string) Endpoint { return Endpoint{STARTTLS, host, 5222, ""} }
	bound := at(own)
	tor := Route{Kind: RouteTor}
	for _, c := range []struct {
		name string
		d    Decision
		e    Endpoint
		want bool
	}{
		{"the domain is the address", Decision{Target: Target{Domain: own}, Route: tor, TLS: TLSVerify}, at(own + "."), true},
		{"the domain is another address", Decision{Target: Target{Domain: other}, Route: tor, TLS: TLSVerify}, at(own), false},
		{"bound by the owner", Decision{Target: Target{Domain: "example.org"}, Route: tor, TLS: TLSOnion, Onion: &bound}, at(own), true},
		{"among the owner's endpoints", Decision{Target: Target{Domain: "example.org"}, Route: tor, TLS: TLSOnion, Endpoints: []Endpoint{bound}}, at(own), true},
		{"found by DNS", Decision{Target: Target{Domain: "example.org"}, Route: tor, TLS: TLSOnion}, at(own), false},
		{"bound, but another was reached", Decision{Target: Target{Domain: "example.org"}, Route: tor, TLS: TLSOnion, Onion: &bound}, at(other), false},
		{"bound, but a certificate is demanded", Decision{Target: Target{Domain: "example.org"}, Route: tor, TLS: TLSVerify, Onion: &bound}, at(own), false},
		{"not through Tor", Decision{Target: Target{Domain: own}, Route: Route{Kind: RouteDirect}, TLS: TLSOnion}, at(own), false},
		{"no onion", Decision{Target: Target{Domain: "example.org"}, Route: tor, TLS: TLSOnion}, at("example.org"), false},
		{"nothing decided", Decision{}, Endpoint{}, false},
	} {
		if got := c.d.OnionProves(c.e); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
