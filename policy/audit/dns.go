package audit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"xmpp-gw/policy"
)

// maxSRV is more SRV records than any service needs.
const maxSRV = 32

// What to do with a zone as a whole.
const (
	signZone  = "sign the zone, and hand its DS record to the parent zone (the registrar)"
	renewZone = "renew the zone's signatures, and see that the parent's DS record names a key in use: delv DOMAIN shows where it breaks"
)

func dnsChecks() []question {
	srv := func(id, label, asks string, rare bool, reference, port string) question {
		return question{id, asks, Medium, reference,
			fix(map[string]string{"5223": prosodyDirect, "5270": prosodyDirectServers}[port], map[string]string{"5223": ejabberdDirect, "5270": ejabberdDirectServers}[port],
				"zone: "+label+".DOMAIN. 3600 IN SRV 5 1 "+port+" HOST.  ; HOST has A or AAAA, and is no CNAME"),
			func(j *judge) { askSRV(j, label, rare) }}
	}
	return []question{
		srv("dns.srv.c2s", "_xmpp-client._tcp", "SRV for clients with STARTTLS leads somewhere", false, "RFC 6120 §3.2.1", "5222"),
		srv("dns.srv.c2s-tls", "_xmpps-client._tcp", "SRV for clients with direct TLS leads somewhere", true, "XEP-0368 §3", "5223"),
		srv("dns.srv.s2s", "_xmpp-server._tcp", "SRV for servers with STARTTLS leads somewhere", false, "RFC 6120 §3.2.1", "5269"),
		srv("dns.srv.s2s-tls", "_xmpps-server._tcp", "SRV for servers with direct TLS leads somewhere", true, "XEP-0368 §3", "5270"),
		{"dns.hostmeta", "host-meta names the WebSocket, over TLS only", Low, "XEP-0156 §2",
			fix(prosodyHostMeta, ejabberdHostMeta, ""), askHostMeta},
		{"dns.dnssec", "the domain's DNS is signed, and the signatures hold", High, "RFC 4035 §5", fix("", "", signZone), askDNSSEC},
		{"dane.tlsa", "TLSA records match the server's key", High, "RFC 7673 §3",
			fix("", "", "zone: _PORT._tcp.HOST. 3600 IN TLSA 3 1 1 SHA256-OF-THE-KEY  ; in a signed zone; another for the next key before it is used"), askTLSA},
		{"caa.present", "CAA says who may issue certificates", Medium, "RFC 8659 §4",
			fix("", "", `zone: DOMAIN. 3600 IN CAA 128 issue "letsencrypt.org"  ; or whoever issues yours; in a signed zone`), askCAA},
		{"caa.accounturi", "CAA binds issuing to one account and method", Medium, "RFC 8657 §3",
			fix("", "", `zone: DOMAIN. 3600 IN CAA 128 issue "letsencrypt.org; validationmethods=dns-01; accounturi=https://acme-v02.api.letsencrypt.org/acme/acct/NUMBER"  ; in place of other issue records; in a signed zone`), askCAAAccount},
	}
}

// noDNS says why there is nothing to judge; an onion address never goes to DNS
// (RFC 7686 §2).
func (j *judge) noDNS() bool {
	switch {
	case j.onion():
		j.skip(j.Domain, "an onion address is not in DNS")
	case isIP(j.Domain):
		j.skip(j.Domain, "an IP address is not in DNS")
	case isHere(j.Domain):
		j.skip(j.Domain, "a name of every machine's own is not in DNS")
	case j.DNS == nil:
		j.unknown(j.Domain, "DNS was not asked")
	default:
		return false
	}
	return true
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isHere reports whether a name is every machine's own (RFC 6761 §6.3).
func isHere(s string) bool { return s == "localhost" || strings.HasSuffix(s, ".localhost") }

// unusable says why an answer cannot be judged.
func (a Answer) unusable() string {
	switch {
	case a.Err != "":
		return a.Err
	case a.Security == Bogus:
		return "the answer is forged or broken (DNSSEC): " + a.Why
	case a.Security == Indeterminate && len(a.Records) == 0:
		return "nobody could say whether the answer is right (DNSSEC): " + a.Why
	case a.Name == "" && a.Security == "" && !a.Missing && len(a.Records) == 0:
		return "it was not asked for"
	}
	return ""
}

// offered reports whether label has a record that is not ".".
func (d *DNS) offered(label string) bool {
	return slices.ContainsFunc(d.Records[label], func(r SRV) bool { return r.Target != "." && r.Target != "" })
}

func askSRV(j *judge, label string, rare bool) {
	if j.noDNS() {
		return
	}
	a, asked := j.DNS.SRV[label]
	records := j.DNS.Records[label]
	target := label + "." + j.Domain
	if !asked {
		j.unknown(target, "it was not asked for")
		return
	}
	if why := a.unusable(); why != "" && (len(records) == 0 || a.Security == Bogus || a.Err != "") {
		j.unknown(target, "%s", why)
		return
	}
	refused := func(r SRV) bool { return r.Target == "." || r.Target == "" }
	direct := strings.Replace(label, "_xmpp-", "_xmpps-", 1)
	switch {
	case len(records) == 0 && rare:
		j.warn(target, "no record: clients and servers do not find direct TLS").at(Low)
	case len(records) == 0 && len(j.DNS.Address.Records) == 0 && j.DNS.Address.unusable() == "":
		j.fail(target, "no record, and %s has no address either", j.Domain)
	case len(records) == 0:
		j.warn(target, "no record: others fall back to the default port of %s", j.Domain).Reference = "RFC 6120 §3.2.2"
	case len(records) == 1 && refused(records[0]):
		switch {
		case rare || label == "_xmpp-server._tcp":
			j.skip(target, `the target is ".": the domain says that it does not offer this`)
		case j.DNS.offered(direct):
			j.pass(target, `the target is ".", and direct TLS is offered instead`)
		default:
			j.fail(target, `the target is ".": no client may connect`)
		}
	case slices.ContainsFunc(records, refused):
		j.fail(target, `the target "." stands beside others`).Reference = "RFC 2782"
	case len(records) > maxSRV:
		j.warn(target, "%d records; %d are more than enough, and clients give up", len(records), maxSRV)
	default:
		askTargets(j, target, records)
	}
}

// askTargets judges where SRV records lead (RFC 2782: an address record, no alias).
func askTargets(j *judge, target string, records []SRV) {
	var good, bad, aliases, unclear []string
	for _, r := range records {
		at := fmt.Sprintf("%s:%d", strings.TrimSuffix(r.Target, "."), r.Port)
		_, ip := netip.ParseAddr(strings.TrimSuffix(r.Target, "."))
		switch a := r.Addresses; {
		case ip == nil:
			bad = append(bad, at+" is an IP address, not a name")
		case r.Port == 0:
			bad = append(bad, at+" has no port")
		case a.unusable() != "":
			unclear = append(unclear, at+": "+a.unusable())
		case a.Missing || len(a.Records) == 0:
			bad = append(bad, at+" has no address")
		case a.CNAME:
			aliases = append(aliases, at+" is a CNAME")
		default:
			good = append(good, at)
		}
	}
	if len(bad) > 0 {
		j.fail(target, "%s", list(bad, ""))
	}
	if len(aliases) > 0 {
		j.warn(target, "%s", list(aliases, "")).Reference = "RFC 2782"
	}
	if len(unclear) > 0 {
		j.unknown(target, "%s", list(unclear, ""))
	}
	silent := keep(good, func(at string) bool { return j.silent(at) })
	switch {
	case len(silent) > 0:
		j.warn(target, "nobody answers at %s", list(silent, ""))
	case len(good) == len(records):
		j.pass(target, "%s", list(good, ""))
	}
}

// silent reports whether nobody answers at HOST:PORT, though the server does so
// elsewhere: then it is not our way there that is broken.
func (j *judge) silent(at string) bool {
	here := func(e Endpoint) bool { return overTCP(&e) && e.At.Address() == at && e.Err != "" && !e.Left }
	return slices.ContainsFunc(j.Endpoints, here) && slices.ContainsFunc(j.Endpoints, func(e Endpoint) bool { return e.Err == "" })
}

func askHostMeta(j *judge) {
	h := j.HostMeta
	switch {
	case h == nil && j.onion():
		j.skip(j.Domain, "an onion address needs none: its endpoints are its own")
		return
	case isHere(j.Domain):
		j.skip(j.Domain, "a name of every machine's own has no web server of its own")
		return
	case isIP(j.Domain):
		j.skip(j.Domain, "an IP address is no domain with a web server of its own")
		return
	case h == nil:
		j.unknown(j.Domain, "host-meta was not asked for")
		return
	}
	links := slices.Concat(h.XMLLinks, h.JSONLinks)
	clear := keep(links, func(l string) bool {
		scheme, _, _ := strings.Cut(strings.ToLower(l), "://")
		return scheme != "wss" && scheme != "https"
	})
	odd := keep(links, func(l string) bool {
		_, err := policy.ParseEndpoint(l)
		return err != nil && !strings.HasPrefix(l, "https://")
	})
	got := func(err string, missing bool) bool { return err == "" && !missing }
	xml, json := got(h.XMLErr, h.XMLMissing), got(h.JSONErr, h.JSONMissing)
	sorted := func(l []string) []string { l = slices.Clone(l); slices.Sort(l); return slices.Compact(l) }
	form := "XEP-0156"
	if h.Native {
		form = "XEP-0487"
	}
	switch {
	case len(clear) > 0:
		j.fail(j.Domain, "links without TLS: %s", list(clear, ""))
	case h.XMLMissing && h.JSONMissing:
		j.warn(j.Domain, "there is no host-meta: browsers do not find the WebSocket")
	case !xml && !h.XMLMissing:
		j.unknown(j.Domain, "host-meta: %s", h.XMLErr)
	case !json && !h.JSONMissing:
		j.unknown(j.Domain, "host-meta.json: %s", h.JSONErr)
	case !xml || !json:
		j.warn(j.Domain, "only one of host-meta and host-meta.json is there: %s", list(links, "no links"))
	case len(odd) > 0:
		j.warn(j.Domain, "links that cannot be used as they are: %s", list(sorted(odd), ""))
	case len(links) == 0:
		j.warn(j.Domain, "host-meta has no WebSocket or BOSH link")
	case !slices.Equal(sorted(h.XMLLinks), sorted(h.JSONLinks)):
		j.warn(j.Domain, "host-meta (%s) and host-meta.json (%s) differ", list(h.XMLLinks, "no links"), list(h.JSONLinks, "no links"))
	default:
		j.pass(j.Domain, "%s: %s", form, list(sorted(links), ""))
	}
}

// answers are all the answers that lead to the server.
func (d *DNS) answers() []Answer {
	list := []Answer{}
	for _, label := range []string{"_xmpp-client._tcp", "_xmpps-client._tcp", "_xmpp-server._tcp", "_xmpps-server._tcp"} {
		if a, ok := d.SRV[label]; ok {
			list = append(list, a)
		}
		for _, r := range d.Records[label] {
			if r.Target != "." && r.Target != "" {
				list = append(list, r.Addresses)
			}
		}
	}
	if len(list) == 0 || d.Address.Name != "" {
		list = append(list, d.Address)
	}
	for _, key := range sortedKeys(d.TLSA) {
		list = append(list, d.TLSA[key])
	}
	return list
}

func askDNSSEC(j *judge) {
	if j.noDNS() {
		return
	}
	by := map[Security][]string{}
	for _, a := range j.DNS.answers() {
		standing, name := a.Security, strings.TrimSpace(a.Name+" "+a.Type)
		if standing == "" || a.Err != "" && standing != Bogus {
			standing = Indeterminate
		}
		if why := a.Why + a.Err; why != "" {
			name += ": " + why
		}
		if !slices.Contains(by[standing], name) {
			by[standing] = append(by[standing], name)
		}
	}
	if bogus := by[Bogus]; len(bogus) > 0 {
		j.fail(j.Domain, "bogus, so that who validates finds no server: %s", list(bogus, "")).Fix = fix("", "", renewZone)
	}
	if unclear := by[Indeterminate]; len(unclear) > 0 {
		j.unknown(j.Domain, "not validated: %s", list(unclear, ""))
	}
	if insecure := by[Insecure]; len(insecure) > 0 {
		j.warn(j.Domain, "not signed, so that whoever answers first says where the server is: %s", list(insecure, "")).at(Medium)
	}
	if len(by) == 1 && len(by[Secure]) > 0 {
		j.pass(j.Domain, "secure: %s", list(by[Secure], ""))
	}
}
