package tlsauth

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/dane"
	"xmpp-gw/policy"
)

// verifier judges one connection. Its zero value refuses.
type verifier struct {
	domain   string // the account's domain: A-labels, lower case
	decision policy.Decision
	endpoint policy.Endpoint
	roots    *x509.CertPool // nil: the system's
	extra    *x509.CertPool // the domain's own authority; nil: none
	pins     *PinStore
	clock    func() time.Time
	cert     *tls.Certificate // for the server to see; nil: none
	records  []dane.Record    // the TLSA records that decide; none: a certificate does
	hosts    []string         // whose records these are

	list *ct.List // of the logs that count

	now      time.Time
	identity string
	way      []*x509.Certificate // from the certificate to the authority that proves it; nil: something else does
	own      bool                // that authority is the domain's own
	noLogs   string              // why the logs need not be asked
	noLook   string              // why no second look is needed
	spki     string
	pin      PinState
	hold     bool // the key is not to be remembered
	logs     Fact // what the public logs say
	seen     Fact // what a second look saw
	warnings []string

	objections []string
}

// newVerifier refuses a decision that does not say everything.
func newVerifier(o Options) (*verifier, error) {
	d := o.Decision
	domain, err := policy.NormalizeDomain(d.Target.Domain)
	v := &verifier{domain: domain, decision: d, endpoint: o.Endpoint, roots: o.Roots, pins: o.Pins, list: o.Logs, clock: o.Now}
	if v.clock == nil {
		v.clock = time.Now
	}
	if v.list == nil {
		v.list = ct.BuiltIn()
	}
	v.now = v.clock()
	no := func(why, hint string) error {
		return v.refuse("TLS to the server of "+v.domain+" was not started", why, hint)
	}
	incomplete := func(what string) error {
		return no("the settings do not say "+what, "this is a fault of the gateway; please report it")
	}
	switch {
	case err != nil:
		v.domain = "the account"
		return nil, no("its domain cannot be used: "+err.Error(), "check the account's address")
	case d.TLS == policy.TLSUnset || d.TLS > policy.TLSOnion:
		return nil, incomplete("what proves it (tls)")
	case d.MinTLS != tls.VersionTLS12 && d.MinTLS != tls.VersionTLS13:
		return nil, incomplete("the lowest version (min_tls)")
	case d.PQ == policy.PQUnset || d.PQ > policy.PQRequire:
		return nil, incomplete("whether the key exchange is post-quantum (pq)")
	case d.Pin == policy.PinUnset || d.Pin > policy.PinTOFUStrict:
		return nil, incomplete("whether keys are remembered (pin)")
	case d.SCT == policy.SCTUnset || d.SCT > policy.SCTRequire:
		return nil, incomplete("whether logs must have seen its certificate (sct)")
	case d.Witness == policy.WitnessUnset || d.Witness > policy.WitnessAlways:
		return nil, incomplete("whether its key is looked at twice (witness)")
	case o.Endpoint.Transport != policy.STARTTLS && o.Endpoint.Transport != policy.DirectTLS && o.Endpoint.Transport != policy.WebSocket:
		return nil, incomplete("how it speaks TLS")
	case v.wantsTLSA() && (o.TLSA == nil || len(o.TLSA.Records) == 0 && o.TLSA.Missing == ""): // nobody looked
		return nil, incomplete("which TLSA records it has")
	case d.TLS == policy.TLSPin && len(d.Pins) == 0:
		return nil, no(`tls = "pin" is set and no pin is`, `add pins = ["sha256/…"] to `+v.section())
	case d.TLS == policy.TLSOnion && !v.decision.OnionProves(v.endpoint):
		return nil, no(`tls = "onion" is set, and it was not reached over Tor at an onion address that the settings name`,
			"set onion in "+v.section()+` or tls = "verify"`)
	case v.strict() && o.Pins == nil:
		return nil, no(`pin = "tofu-strict" is set and no keys are remembered`, "check the state directory")
	}
	if v.wantsTLSA() {
		v.records, v.hosts = dane.Usable(o.TLSA.Records), o.TLSA.Hosts
		if len(v.records) > 0 && len(v.hosts) == 0 {
			return nil, incomplete("whose TLSA records these are")
		}
		if len(v.records) == 0 && d.TLS == policy.TLSDANEOnly {
			return nil, v.noTLSA(o.TLSA)
		}
	}
	for _, p := range d.Pins {
		if err := CheckPin(p); err != nil {
			return nil, no(err.Error(), "correct pins in "+v.section())
		}
	}
	if d.CAFile != "" {
		if v.extra, err = readRoots(d.CAFile); err != nil {
			return nil, v.refuse("the certificate authority of "+v.domain+" cannot be used", err.Error(), "correct ca in "+v.section())
		}
	}
	return v, nil
}

// lenient reports whether the owner wants to be told of a server that does not meet
// the stricter demands, rather than to be kept from it.
func (v *verifier) lenient() bool { return v.decision.Mode == policy.Report }

// object is for a server that falls short of a stricter demand: one whose lack is no
// proof that somebody is in the middle (min_tls, pq, tofu-strict and the like). It
// is e, which refuses the server, or, with mode = "report", nil and an objection.
// What proves the server is never judged here.
func (v *verifier) object(e *Error) error {
	if !v.lenient() {
		return e
	}
	v.objections = append(v.objections, Reason(e))
	return nil
}

func (v *verifier) refuse(what, why, hint string) *Error {
	return &Error{Kind: ErrSettings, What: what, Why: why, Hint: hint}
}

// verify is called by crypto/tls with the server's certificates, before anything
// of ours but the ClientHello was sent, and before the server has proved that it
// has the key: nothing is remembered here.
func (v *verifier) verify(state tls.ConnectionState) error {
	if v.domain == "" || len(state.PeerCertificates) == 0 {
		return v.refuse("the server was not accepted", "it showed no certificate", "")
	}
	if state.Version < v.offered() {
		return v.tooOld(nil)
	}
	if state.Version < v.decision.MinTLS {
		if err := v.object(v.tooOld(nil)); err != nil {
			return err
		}
	}
	if v.decision.PQ == policy.PQRequire && state.CurveID != tls.X25519MLKEM768 {
		if err := v.object(v.notPostQuantum(nil)); err != nil {
			return err
		}
	}
	// A server that selects nothing does not know ALPN; one that selects something
	// else is another service (RFC 7301 §3.2).
	if p := state.NegotiatedProtocol; p != "" && p != alpn(v.endpoint.Transport) {
		return &Error{Kind: ErrALPN, What: "the server of " + v.domain + " speaks another protocol here",
			Why: "it chose " + printable(p, 32), Hint: hintPort}
	}
	leaf := state.PeerCertificates[0]
	v.spki = SPKI(leaf)
	if err := v.checkPins(); err != nil {
		return err
	}
	switch {
	case v.decision.TLS == policy.TLSPin:
		v.identity = "pin"
		return nil
	case v.decision.OnionProves(v.endpoint):
		v.identity = "onion"
		return nil
	}
	var err error
	switch {
	case v.wantsTLSA() && len(v.records) > 0:
		v.identity, err = v.fits(leaf, state.PeerCertificates[1:])
	case v.decision.TLS == policy.TLSVerify || v.decision.TLS == policy.TLSDANE:
		v.identity, err = v.certified(leaf, state.PeerCertificates[1:])
	default:
		err = v.refuse("the server of "+v.domain+" was not accepted", "nothing proved it", "")
	}
	if err != nil {
		return err
	}
	// Once more after the handshake; here so that a stranger does not get to see
	// our certificate.
	if err := v.compare(); err != nil {
		return err
	}
	return v.logged(state)
}

// checkPins demands one of the keys that the owner listed, if there is a list:
// in place of a certificate (tls = "pin") or beside it.
func (v *verifier) checkPins() error {
	if len(v.decision.Pins) == 0 {
		return nil
	}
	if !slices.Contains(v.decision.Pins, v.spki) {
		return &Error{Kind: ErrPin, What: "the server of " + v.domain + " has another key than the pinned",
			Why:  "it shows " + v.spki + ": either it has a new one, or somebody is in the middle",
			Hint: "ask its operator over another way than this one; if they confirm the key, add it to pins in " + v.section()}
	}
	v.pin = PinConfigured
	return nil
}

// certified demands a certificate of a trusted authority with the account's
// domain in it, and says which name that is (RFC 6120 §13.7.2.1, RFC 9525 §6).
func (v *verifier) certified(leaf *x509.Certificate, more []*x509.Certificate) (string, error) {
	has := namesOf(leaf)
	chains, err := v.chains(leaf, more, has)
	if err != nil {
		return "", v.chainError(leaf, err)
	}
	form, name := has.match(v.domain, "xmpp-client")
	if form == "" {
		return "", v.nameError(has)
	}
	if !v.mayBe(form, chains) {
		return "", v.chainError(leaf, x509.CertificateInvalidError{Cert: leaf, Reason: x509.CANotAuthorizedForThisName})
	}
	v.way = chains[0]
	return form + " " + printable(name, 260), nil
}

// nameError is a certificate without a name that counts.
func (v *verifier) nameError(has names) *Error {
	e := &Error{Kind: ErrName, What: "the certificate of the server of " + v.domain + " is for another name", Why: "it is for " + has.list(),
		Hint: "check the domain; if it is right, this is another server than it says, or its operator needs a certificate for " + v.domain}
	if has.empty() {
		e.Why = "it has no names that count (a common name does not)"
	}
	return e
}

// mayBe reports whether one of the chains may name the domain in this form.
func (v *verifier) mayBe(form string, chains [][]*x509.Certificate) bool {
	return form == formDNS || form == formIP || slices.ContainsFunc(chains, func(c []*x509.Certificate) bool { return mayName(c[1:], v.domain) })
}

// chains finds the ways from the server's certificate to the domain's own
// authority, or else to one of the others. Nothing is fetched for that: it would
// tell who talks to whom.
func (v *verifier) chains(leaf *x509.Certificate, more []*x509.Certificate, has names) ([][]*x509.Certificate, error) {
	opts := x509.VerifyOptions{
		Intermediates: x509.NewCertPool(),
		CurrentTime:   v.now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range more {
		opts.Intermediates.AddCert(c)
	}
	leaf = readable(leaf, has)
	if v.extra != nil {
		opts.Roots = v.extra
		chains, err := leaf.Verify(opts)
		var unknown x509.UnknownAuthorityError
		if err == nil || !errors.As(err, &unknown) {
			v.own = err == nil
			return chains, err
		}
	}
	opts.Roots = v.roots
	return leaf.Verify(opts)
}

// readable is leaf for crypto/x509, which takes a critical list of nothing but
// otherNames for one that nobody has read. We have. The certificate is shared by all
// connections to the server, so it is a copy that says so.
func readable(leaf *x509.Certificate, has names) *x509.Certificate {
	isSAN := func(id asn1.ObjectIdentifier) bool { return id.Equal(oidSAN) }
	if len(has.srv)+len(has.xmpp) == 0 || !slices.ContainsFunc(leaf.UnhandledCriticalExtensions, isSAN) {
		return leaf
	}
	read := *leaf
	read.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), isSAN)
	return &read
}

// mayName applies the authorities' constraints on DNS names (RFC 5280
// §4.2.1.10) to a domain that stands in a name of another form. By the letter
// they do not reach that, and so an authority that is held to its own domains
// could name any other in an XmppAddr.
func mayName(authorities []*x509.Certificate, domain string) bool {
	under := func(base string) bool {
		base = strings.TrimPrefix(strings.ToLower(base), ".")
		return base == "" || domain == base || strings.HasSuffix(domain, "."+base)
	}
	for _, ca := range authorities {
		if slices.ContainsFunc(ca.ExcludedDNSDomains, under) ||
			len(ca.PermittedDNSDomains) > 0 && !slices.ContainsFunc(ca.PermittedDNSDomains, under) {
			return false
		}
	}
	return true
}

// strict reports whether another key than the remembered one ends it. Against a
// key that the owner listed, or an address that is a key, what was seen before
// says nothing.
func (v *verifier) strict() bool {
	return v.decision.Pin == policy.PinTOFUStrict && len(v.decision.Pins) == 0 && !v.decision.OnionProves(v.endpoint)
}

// compare refuses another key than the remembered one, where it should.
func (v *verifier) compare() error {
	if !v.strict() || v.lenient() { // remember tells of it then
		return nil
	}
	seen, _, err := v.pins.Seen(v.domain)
	if err != nil {
		return v.noPins(err)
	}
	if len(seen.Keys) > 0 && !slices.Contains(seen.Keys, v.spki) {
		return v.keyChanged(seen)
	}
	return nil
}

// remember compares the server's key with those that were seen before, and keeps
// it.
func (v *verifier) remember() error {
	if v.decision.Pin == policy.PinOff || v.pins == nil || v.pin == PinConfigured {
		return nil
	}
	if v.hold {
		v.pin = PinNew
		if len(v.remembered()) == 0 {
			v.pin = PinFirst
		}
		return nil // witness has told of it
	}
	state, before, err := v.pins.meet(v.domain, v.spki, v.now, !v.strict())
	v.pin = state
	switch {
	case state == PinNew && v.strict():
		return v.object(v.keyChanged(before))
	case err != nil && v.strict():
		return v.object(v.noPins(err))
	case err != nil:
		v.warnings = append(v.warnings, "the key of the server of "+v.domain+" could not be compared or remembered: "+err.Error())
	case state == PinNew && !v.decision.OnionProves(v.endpoint):
		v.warnings = append(v.warnings, "the server of "+v.domain+" has a new key, "+v.spki+before.since()+
			": most likely its operator replaced it; somebody in the middle with a certificate of their own would look the same")
	}
	return nil
}

func (v *verifier) keyChanged(before Seen) *Error {
	return &Error{Kind: ErrKeyChanged, What: "the server of " + v.domain + " has another key than before",
		Why:  "its key " + v.spki + " was never seen here" + before.since() + ": its operator replaced it, or somebody is in the middle",
		Hint: "ask its operator over another way than this one; if they confirm the key, add it to the line of " + v.domain + " in " + v.pins.Path()}
}

func (v *verifier) noPins(err error) *Error {
	return &Error{Kind: ErrKeyChanged, What: "the key of the server of " + v.domain + " could not be compared with the one seen before",
		Why: err.Error(), Hint: `that is demanded by pin = "tofu-strict"`, Err: err}
}
