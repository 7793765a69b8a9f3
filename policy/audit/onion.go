package audit

import (
	"fmt"
	"slices"
	"strings"

	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
)

// Tor's own replies on a SOCKS port with ExtendedErrors (tor(1), SocksPort).
const (
	noDescriptor  = 0xF0
	badDescriptor = 0xF1
	noIntro       = 0xF2
	noRendezvous  = 0xF3
	needsAuth     = 0xF4
	wrongAuth     = 0xF5
	badAddress    = 0xF6
	introTimeout  = 0xF7

	generalFailure = 0x01 // the service is there, and the server behind it is not
	refused        = 0x05 // the service has no such port
)

func onionChecks() []question {
	desc := fix("", "", "see that the service's tor runs and its clock is right: xmpp-gw status; else journalctl -u tor")
	reach := fix(prosodyReach, ejabberdReach, "see that the server runs and listens where HiddenServicePort leads")
	return []question{
		{"onion.desc", "the onion service is published", High, "rend-spec-v3 §2.2", desc, askDescriptor},
		{"onion.reach", "the onion service can be reached", High, "rend-spec-v3 §3.3", reach, askReach},
		{"onion.auth", "client authorization lets us in", High, "rend-spec-v3 §2.1", fix("", "", "ask the operator for a key, and add it: xmpp-gw onion auth add"), askOnionAuth},
		{"onion.deanon", "the onion service does not tell who runs it", High, "rend-spec-v3 §5",
			fix(prosodyDeanon, ejabberdDeanon, ""), askDeanon},
		{"onion.twin", "the clearnet twin shows the same software and contacts", Info, "rend-spec-v3 §5", nil, askTwin},
		{"witness.key", "the key over a second circuit is the same", High, "RFC 6120 §13.7.2",
			fix("", "", "compare the key with that on the server itself; if they differ, somebody stands in between on one of the ways"), askWitness},
	}
}

// service gives what Tor said; nil when that was said to be unknown or not to apply.
func (j *judge) service() *Onion {
	switch {
	case j.Onion == nil && !j.onion():
		j.skip(j.Domain, "it is no onion address")
	case j.Onion == nil:
		j.unknown(j.Domain, "it was not tried")
	default:
		return j.Onion
	}
	return nil
}

// why says why the service was not reached, where no reply of Tor's own does.
func (o *Onion) why() string {
	said := list(keep([]string{o.Err}, notEmpty), "it is not known why")
	if o.Code == 0 {
		return said
	}
	return fmt.Sprintf("SOCKS reply %02X, %s", o.Code, said)
}

func askDescriptor(j *judge) {
	o := j.service()
	if o == nil {
		return
	}
	switch {
	case o.Reached:
		j.pass(o.Address, "found")
	case o.Code == noDescriptor:
		j.fail(o.Address, "F0: the Tor network has no descriptor for it")
	case o.Code == badDescriptor:
		j.fail(o.Address, "F1: its descriptor is invalid")
	case o.Code == badAddress:
		j.fail(o.Address, "F6: this is no onion address")
	case o.Code > noDescriptor && o.Code <= introTimeout || o.Code == generalFailure || o.Code == refused:
		j.pass(o.Address, "found (SOCKS reply %02X)", o.Code)
	default:
		j.unknown(o.Address, "%s", o.why())
	}
}

func askReach(j *judge) {
	o := j.service()
	if o == nil {
		return
	}
	words := map[byte]string{
		noIntro: "F2: it is not at its introduction points", noRendezvous: "F3: it could not be met", introTimeout: "F7: it did not answer in time",
		generalFailure: "01: the service is there, and the server behind it is not", refused: "05: the service has no such port",
		noDescriptor: "F0: it is not published", badDescriptor: "F1: its descriptor is invalid", badAddress: "F6: this is no onion address",
	}
	switch why, failed := words[o.Code]; {
	case o.Reached:
		j.pass(o.Address, "reached")
	case failed:
		j.fail(o.Address, "%s", why)
	case o.Code == needsAuth || o.Code == wrongAuth:
		j.unknown(o.Address, "%02X: it is for those with a key", o.Code)
	default:
		j.unknown(o.Address, "%s", o.why())
	}
}

func askOnionAuth(j *judge) {
	o := j.service()
	if o == nil {
		return
	}
	switch {
	case o.Code == wrongAuth:
		j.fail(o.Address, "F5: our key is not, or no longer, one of those that it accepts")
	case o.Code == needsAuth:
		j.fail(o.Address, "F4: it asks for a key, and we have none, or a withdrawn one")
	case o.Reached:
		j.pass(o.Address, "no key is needed, or ours is accepted")
	default:
		j.unknown(o.Address, "it could not be reached: %s", o.why())
	}
}

func askDeanon(j *judge) {
	o := j.service()
	if o == nil {
		return
	}
	if !j.onion() {
		j.skip(o.Address, "the service belongs to %s, which is no secret", j.Domain)
		return
	}
	var names, twin []string
	add := func(name, where string) {
		host := hostOf(strings.TrimPrefix(name, "*."))
		if host == "" || policy.IsOnion(host) {
			return
		}
		what := fmt.Sprintf("%s (%s)", name, where)
		if to := &names; !slices.Contains(names, what) && !slices.Contains(twin, what) {
			if within(host, o.Twin) {
				to = &twin
			}
			*to = append(*to, what)
		}
	}
	for _, c := range o.Clearnet { // "NAME, and where"
		name, _, _ := strings.Cut(c, " ")
		if within(hostOf(strings.TrimRight(name, ",:;")), o.Twin) {
			twin = append(twin, c)
		} else {
			names = append(names, c)
		}
	}
	seen, unseen := false, ""
	for i := range j.Endpoints {
		e := &j.Endpoints[i]
		if why := e.unseen(); e.Err == "" && why != "" {
			unseen = e.At.String() + ": " + why
		}
		for _, s := range []*Stream{e.Plain, e.Secure, e.UnknownHost} {
			if s != nil {
				seen = seen || s.Err == ""
				add(s.From, "from")
				add(s.Elsewhere, "redirect")
			}
		}
		if e.TLS != nil && len(e.TLS.Chain) > 0 && e.At.Onion() {
			for _, n := range e.TLS.Chain[0].DNSNames {
				add(n, "certificate")
			}
			for _, ip := range e.TLS.Chain[0].IPAddresses {
				add(ip.String(), "certificate")
			}
		}
	}
	services := "; uploads and TURN are seen with --login only"
	if l := j.Login; l != nil && l.Err == "" {
		services = ""
		add(l.Location, "stream management")
		for _, s := range l.Services {
			add(s, "upload or TURN")
		}
		for _, s := range l.Server.Items {
			add(s, "item of the server")
		}
		for _, c := range l.Contacts { // which somebody wrote down on purpose
			if _, address, ok := strings.Cut(c, "@"); ok {
				c = address
			}
			if host := hostOf(c); host != "" && !policy.IsOnion(host) {
				twin = append(twin, c+" (contact)")
			}
		}
	}
	switch {
	case len(names) > 0:
		j.fail(o.Address, "%s", list(names, ""))
	case !seen && !o.Reached:
		j.unknown(o.Address, "it could not be reached")
	case unseen != "" || !seen:
		j.unknown(o.Address, "no name outside .onion was seen, but not all was: %s", list(keep([]string{unseen}, notEmpty), "no stream"))
	case len(twin) > 0:
		j.warn(o.Address, "names of its clearnet twin, or that it tells on purpose: %s", list(twin, "")).at(Low)
	case j.Login != nil && j.Login.Err == "" && len(j.Login.Untold) > 0:
		j.unknown(o.Address, "no name outside .onion was seen, but not told were: %s", list(j.Login.Untold, ""))
	default:
		j.pass(o.Address, "no name outside .onion%s", services)
	}
}

func askTwin(j *judge) {
	o := j.service()
	switch {
	case o == nil:
	case o.Twin == "":
		j.skip(o.Address, "no clearnet twin is known")
	case o.TwinSame == nil:
		j.unknown(o.Address, "%s could not be compared: %s", o.Twin, list(keep([]string{o.TwinErr}, notEmpty), "nobody looked"))
	case *o.TwinSame && o.TwinProof != "":
		j.pass(o.Address, "as %s: %s", o.Twin, o.TwinProof)
	case *o.TwinSame:
		j.pass(o.Address, "as %s", o.Twin)
	default:
		j.warn(o.Address, "%s shows other software or contacts: %s", o.Twin, list(o.TwinDiffers, "not told what"))
	}
}

func askWitness(j *judge) {
	looked := false
	compare := func(target, first, second, why string) {
		looked = true
		switch {
		case second == "" || first == "":
			j.unknown(target, "the key could not be seen twice: %s", list(keep([]string{why}, notEmpty), "no handshake"))
		case first != second:
			j.fail(target, "first %s, then %s", first, second)
		default:
			j.pass(target, "%s", first)
		}
	}
	for i := range j.Endpoints {
		e := &j.Endpoints[i]
		if e.Witness == "" && e.WitnessErr == "" {
			continue
		}
		first := ""
		if e.TLS != nil && len(e.TLS.Chain) > 0 {
			first = tlsauth.SPKI(e.TLS.Chain[0])
		}
		compare(e.At.String(), first, e.Witness, e.WitnessErr)
	}
	if o := j.Onion; o != nil && (o.FirstKey != "" || o.SecondKey != "") {
		compare(o.Address, o.FirstKey, o.SecondKey, "")
	}
	if !looked {
		j.skip(j.Domain, "no second look was asked for")
	}
}
