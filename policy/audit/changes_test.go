package audit

import (
	"crypto/x509"
	"fmt"
	"slices"
	"testing"
	"time"
)

func onionChanges(t *testing.T) []change {
	var all []change
	add := func(id, name string, want Verdict, sev Severity, do func(*Onion)) {
		all = append(all, change{id, name, func(o *Observation) { do(o.Onion) }, want, sev})
	}
	reply := func(code byte) func(*Onion) { return func(o *Onion) { o.Reached, o.Code = false, code } }
	verdicts := map[byte][3]Verdict{ // desc, reach, auth
		0xF0: {Fail, Fail, Unknown}, 0xF1: {Fail, Fail, Unknown}, 0xF2: {Pass, Fail, Unknown}, 0xF3: {Pass, Fail, Unknown},
		0xF4: {Pass, Unknown, Fail}, 0xF5: {Pass, Unknown, Fail}, 0xF6: {Fail, Fail, Unknown}, 0xF7: {Pass, Fail, Unknown},
		0x01: {Pass, Fail, Unknown}, 0x05: {Pass, Fail, Unknown}, 0x04: {Unknown, Unknown, Unknown}, 0: {Unknown, Unknown, Unknown},
	}
	for code, want := range verdicts {
		for i, id := range []string{"onion.desc", "onion.reach", "onion.auth"} {
			add(id, fmt.Sprintf("%02X", code), want[i], High, reply(code))
		}
	}
	for _, id := range []string{"onion.desc", "onion.reach", "onion.auth", "onion.deanon", "onion.twin"} {
		all = append(all, change{id, "not tried", func(o *Observation) { o.Onion = nil }, Unknown, anySeverity})
	}
	add("onion.deanon", "a name", Fail, High, func(o *Onion) { o.Clearnet = []string{"example.com (redirect)"} })
	add("onion.deanon", "the twin's name", Warn, Low, func(o *Onion) { o.Clearnet = []string{"xmpp.example.net (certificate)"} })
	all = append(all,
		change{"onion.deanon", "certificate", func(o *Observation) {
			o.Endpoints[0].TLS.Chain = []*x509.Certificate{issue(t, sharedKey, nil)}
		}, Fail, High},
		change{"onion.deanon", "redirect", func(o *Observation) { o.Endpoints[0].Secure.Elsewhere = "203.0.113.1:5222" }, Fail, High},
		change{"onion.deanon", "uploads", func(o *Observation) { o.Login = &Login{Services: []string{"https://files.example.com/"}} }, Fail, High},
		change{"onion.deanon", "uploads at home", func(o *Observation) { o.Login = &Login{Services: []string{"http://" + address + "/"}} }, Pass, High},
		change{"onion.deanon", "uploads not told", func(o *Observation) { o.Login = &Login{Untold: []string{"upload slot: forbidden"}} }, Unknown, High},
		change{"onion.deanon", "a contact on purpose", func(o *Observation) { o.Login = &Login{Contacts: []string{"mailto:me@example.com"}} }, Warn, Low},
		change{"onion.deanon", "a contact at home", func(o *Observation) { o.Login = &Login{Contacts: []string{"xmpp:me@" + address}} }, Pass, High},
		change{"onion.deanon", "not seen", func(o *Observation) { o.Onion.Reached, o.Endpoints = false, nil }, Unknown, High},
		change{"cert.chain", "the address is the key", func(*Observation) {}, Pass, Info},
		change{"cert.name", "the address is the key", func(o *Observation) { o.Endpoints[0].TLS.NameErr = "no" }, Pass, Info})
	no := false
	add("onion.twin", "other", Warn, Info, func(o *Onion) { o.TwinSame = &no })
	add("onion.twin", "not compared", Unknown, Info, func(o *Onion) { o.TwinSame = nil })
	add("onion.twin", "none known", Skip, Info, func(o *Onion) { o.Twin = "" })
	add("witness.key", "differs", Fail, High, func(o *Onion) { o.SecondKey = "other" })
	add("witness.key", "not twice", Unknown, High, func(o *Onion) { o.SecondKey = "" })
	return all
}

func selfChanges() []change {
	var all []change
	add := func(id, name string, want Verdict, sev Severity, do func(*SelfObservation)) {
		all = append(all, change{id, name, func(o *Observation) { do(o.Self) }, want, sev})
	}
	listen := func(l Listener) func(*SelfObservation) {
		return func(s *SelfObservation) { s.Listeners = []Listener{l} }
	}
	add("self.listen", "open, no TLS", Fail, Critical, listen(Listener{Address: "0.0.0.0:5222", TLS: "none"}))
	add("self.listen", "open numbers", Fail, High, listen(Listener{Address: "0.0.0.0:9522", TLS: "none", Needed: "listen.metrics_public"}))
	add("self.listen", "open, optional", Fail, High, listen(Listener{Address: "[::]:5222", TLS: "optional", Needed: "node"}))
	add("self.listen", "open, without need", Warn, High, listen(Listener{Address: "192.0.2.1:5222", TLS: "required"}))
	add("self.listen", "open, needed", Pass, Critical, listen(Listener{Address: "192.0.2.1:5222", TLS: "required", Needed: "node.publish"}))
	add("self.listen", "none", Skip, Critical, func(s *SelfObservation) { s.Listeners = nil })
	add("self.listen", "error", Unknown, Critical, func(s *SelfObservation) { s.ListenersErr = "x" })
	file := func(do func(*File)) func(*SelfObservation) { return func(s *SelfObservation) { do(&s.Files[0]) } }
	add("self.files", "others read", Fail, Critical, file(func(f *File) { f.Mode = 0o640 }))
	add("self.files", "no secret", Fail, High, file(func(f *File) { f.Mode, f.Secret = 0o666, false }))
	add("self.files", "others own", Fail, Critical, file(func(f *File) { f.OwnOK = false }))
	add("self.files", "error", Unknown, Critical, file(func(f *File) { f.Err = "x" }))
	add("self.files", "none", Skip, Critical, func(s *SelfObservation) { s.Files = nil })
	add("self.files", "not looked at", Unknown, Critical, func(s *SelfObservation) { s.FilesErr = "x" })
	ca := func(do func(*CA)) func(*SelfObservation) { return func(s *SelfObservation) { do(s.CA) } }
	add("self.ca", "others read", Fail, Critical, ca(func(c *CA) { c.Key.Mode = 0o644 }))
	add("self.ca", "over", Fail, High, ca(func(c *CA) { c.NotAfter = now }))
	add("self.ca", "for every name", Warn, High, ca(func(c *CA) { c.Constrained = false }))
	add("self.ca", "none", Skip, Critical, ca(func(c *CA) { c.Missing = true }))
	add("self.ca", "error", Unknown, Critical, ca(func(c *CA) { c.Err = "x" }))
	add("self.ca", "not looked at", Unknown, Critical, func(s *SelfObservation) { s.CA = nil })
	trust := func(do func(*TrustStore)) func(*SelfObservation) { return func(s *SelfObservation) { do(&s.Trust[0]) } }
	add("self.trust", "an old one", Fail, High, trust(func(s *TrustStore) { s.Current = false }))
	add("self.trust", "not", Warn, Low, trust(func(s *TrustStore) { s.Trusted = false }))
	add("self.trust", "error", Unknown, High, trust(func(s *TrustStore) { s.Err = "x" }))
	add("self.trust", "none", Skip, High, func(s *SelfObservation) { s.Trust = nil })
	add("self.trust", "not looked at", Unknown, High, func(s *SelfObservation) { s.TrustErr = "x" })
	add("self.policy", "weaker", Warn, Medium, func(s *SelfObservation) { s.Weaker = []Weaker{{Key: "min_tls", Source: "c:1"}} })
	add("self.policy", "much weaker", Warn, High, func(s *SelfObservation) { s.Weaker = []Weaker{{Key: "route", Source: "c:1", Severity: High}} })
	add("self.policy", "not looked at", Unknown, Medium, func(s *SelfObservation) { s.WeakerErr = "x" })
	tor := func(do func(*TorState)) func(*SelfObservation) { return func(s *SelfObservation) { do(s.Tor) } }
	add("self.tor", "down", Fail, High, tor(func(s *TorState) { s.Running = false }))
	add("self.tor", "old", Fail, High, tor(func(s *TorState) { s.Status = "obsolete" }))
	add("self.tor", "shared", Fail, High, tor(func(s *TorState) { s.Isolated = false }))
	add("self.tor", "open", Fail, High, tor(func(s *TorState) { s.Open = []string{"0.0.0.0:9050"} }))
	add("self.tor", "starting", Warn, High, tor(func(s *TorState) { s.Bootstrapped = 50 }))
	add("self.tor", "status not known", Unknown, High, tor(func(s *TorState) { s.Status = "" }))
	add("self.tor", "error", Unknown, High, tor(func(s *TorState) { s.Err = "x" }))
	add("self.tor", "not looked at", Unknown, High, func(s *SelfObservation) { s.Tor = nil })
	add("self.tor", "not used", Skip, High, tor(func(s *TorState) { s.Used = false }))
	add("self.clock", "late", Fail, Medium, func(s *SelfObservation) { s.Clock.Offset = -2 * time.Minute })
	add("self.clock", "error", Unknown, Medium, func(s *SelfObservation) { s.Clock.Err = "x" })
	add("self.clock", "not compared", Unknown, Medium, func(s *SelfObservation) { s.Clock = nil })
	return all
}

func egressChanges() []change {
	var all []change
	for i, way := range []string{"dns", "tcp", "udp", "socks"} {
		to := func(out Outcome) func(*Observation) {
			return func(o *Observation) { o.Egress.Attempts[i].Outcome = out }
		}
		all = append(all, change{"egress." + way, "out", to(GotOut), Fail, Critical}, change{"egress." + way, "not tried", to(NotTried), Unknown, Critical},
			change{"egress." + way, "no such way", to(NoSuchWay), Skip, Critical},
			change{"egress." + way, "no attempt", func(o *Observation) { o.Egress.Attempts = slices.Delete(o.Egress.Attempts, i, i+1) }, Unknown, Critical})
	}
	return all
}
