package audit

import (
	"crypto/x509"
	"time"

	"xmpp-gw/internal/ct"
	"xmpp-gw/policy"
)

// Observation is what was seen of one target. Fields that are nil or zero were not
// looked at, or could not be seen; then the Err beside them says why, if there was
// a try.
type Observation struct {
	Domain string    // normalised; an onion address for an onion target
	Via    string    // the route, as policy writes it
	At     time.Time // when it began

	// OwnRoots: an authority that the owner named counts too. No public log knows what
	// it issues.
	OwnRoots bool

	DNS       *DNS
	HostMeta  *HostMeta
	Endpoints []Endpoint
	Onion     *Onion
	Login     *Login

	// Self and Egress are what `check --self` and `check --egress` look at; Domain
	// is empty then.
	Self   *SelfObservation
	Egress *EgressObservation
}

// Service is what an endpoint is for.
type Service string

// The services.
const (
	C2S Service = "c2s"
	S2S Service = "s2s"
)

// Security is the DNSSEC standing of an answer (RFC 4035 §4.3).
type Security string

// The standings. Empty is not looked at.
const (
	Secure        Security = "secure"
	Insecure      Security = "insecure"
	Bogus         Security = "bogus"
	Indeterminate Security = "indeterminate"
)

// Answer is one DNS question and what came.
type Answer struct {
	Name, Type string
	Security   Security
	Why        string // of Insecure, Bogus and Indeterminate
	Err        string // no answer at all, and why
	Missing    bool   // the name or the type does not exist
	CNAME      bool   // an alias stood in the way
	Records    []string
}

// SRV is one SRV record and where it leads.
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string
	Addresses              Answer // A and AAAA of the target together
}

// DNS is what the domain's zone says.
type DNS struct {
	// SRV by label: "_xmpp-client._tcp", "_xmpps-client._tcp", "_xmpp-server._tcp",
	// "_xmpps-server._tcp".
	SRV     map[string]Answer
	Records map[string][]SRV
	Address Answer            // A and AAAA of the domain itself
	CAA     Answer            // the closest ones (RFC 8659 §3)
	TLSA    map[string]Answer // by "PORT HOST"
}

// HostMeta is what XEP-0156 found.
type HostMeta struct {
	XMLErr, JSONErr         string
	XMLMissing, JSONMissing bool     // the web server answered that there is none
	XMLLinks, JSONLinks     []string // websocket and BOSH links
	Native                  bool     // it has the "xmpp" object of XEP-0487
}

// Endpoint is one place where the server answers, or should.
type Endpoint struct {
	At      policy.Endpoint
	Service Service
	Source  string // "SRV", "host-meta", "default port", "asked for"
	// Err is why there was no connection; Code is the SOCKS reply (0xF0…) if that
	// is what failed.
	Err  string
	Code byte
	Left bool // nobody looked, and Err says why

	Plain  *Stream // before TLS; nil for direct TLS
	Secure *Stream // inside TLS
	TLS    *TLS

	Injection    *Injection
	UnknownHost  *Stream // opened for a domain that does not exist
	Preauth      *Preauth
	HTTP         string // first line of the answer to an HTTP request, "" for none
	HTTPTried    bool   // an HTTP request was sent
	HTTPClosed   bool   // and the connection ended behind the answer
	Registration *Registration

	// Witness is the leaf's key (tlsauth.SPKI) over a second circuit; WitnessErr why
	// it was not seen. Both empty: nobody looked.
	Witness, WitnessErr string
}

// Stream is what a stream's opening showed.
type Stream struct {
	Err               string
	From, ID          string
	Version           string
	Lang              string
	Features          []string // "NAMESPACE NAME" in order
	StartTLS          string   // "", "offered" or "required"
	Mechanisms, SASL2 []string
	Bindings          []string // XEP-0440
	FAST              bool
	Dialback          bool
	Register          bool
	Limits            *AdvertisedLimits
	CapsNode, CapsVer string // XEP-0115; the second is a hash of features and contacts
	Error             string // stream error condition
	Elsewhere         string // see-other-host, or another place of a redirect
}

// AdvertisedLimits are XEP-0478's.
type AdvertisedLimits struct{ MaxBytes, IdleSeconds int64 }

// TLS is what an endpoint's TLS can do.
type TLS struct {
	Err string // why no handshake came about
	// Versions by name: "1.0" … "1.3"; the value is "" where the version is
	// accepted, otherwise how it was refused.
	Versions map[string]string
	// Accepted are the cipher suites by version, as IANA names them; only classes
	// that matter are tried (see package probe). Untried are classes for which no
	// answer came, "VERSION, CLASS".
	Accepted map[string][]string
	Untried  []string
	Group    string // that of the best handshake
	PQ       bool   // X25519MLKEM768 is taken
	ALPN     string // what was selected when "xmpp-client" or "xmpp-server" was offered
	Chain    []*x509.Certificate
	ChainErr string // why it does not lead to a root
	// Verified is a way from the leaf to a root, with what was not shown of it; nil if
	// there is none.
	Verified []*x509.Certificate
	NameErr  string // why the leaf is not for the domain
	Identity string // the name that fits
	SCTs     []SCT
	Staple   string // "", "good", "revoked", "unknown" or an error
	Exporter bool   // tls-exporter can be had
	AsksCert bool   // it asked for our certificate, as SASL EXTERNAL needs
}

// SCT is a signed certificate timestamp, and what it is worth.
type SCT = ct.SCT

// Injection is what came of sending XML behind <starttls/> in the same write.
type Injection struct {
	Err        string
	Accepted   bool   // what was injected was answered inside TLS
	AfterClear string // XML that came in the clear behind <proceed/>
}

// Preauth is what a stranger can make the server hold.
type Preauth struct {
	Bytes   int           // sent in one element when the server ended it, or in all
	Time    time.Duration // how long one could be silent until the server ended it; zero: it did not
	Limited bool          // the server ended it for the bytes
	Err     string
}

// Registration is what in-band registration says.
type Registration struct {
	Err             string
	Offered         bool
	Fields          []string
	Captcha, Invite bool
	Instructions    string
}

// Onion is what the Tor network says of an onion address.
type Onion struct {
	Address  string
	Code     byte // the SOCKS reply of the first try
	Reached  bool
	Clearnet []string // names outside .onion that the service showed, and where
	Twin     string   // its clearnet domain, if it is known
	TwinSame *bool    // same software and contacts, as far as strangers see
	// TwinDiffers is what is not the same, TwinProof what shows that they belong
	// together, TwinErr why they could not be compared.
	TwinDiffers        []string
	TwinProof, TwinErr string
	// Err is why the first try failed, if it did.
	Err string
	// FirstKey and SecondKey are the SPKI over two circuits; both empty: nobody
	// looked twice.
	FirstKey, SecondKey string
}

// Login is what was seen with an account.
type Login struct {
	Err       string
	Mechanism string
	Binding   string
	// Downgrade says what came of a login whose channel binding was wrong on
	// purpose: "refused" is good.
	Downgrade string
	// Hidden says what came of a login that claimed to be offered no channel binding
	// where the server does offer it: "refused" is good, as is "noticed": the hash
	// of XEP-0474 told us.
	Hidden string
	// Protection is what came of XEP-0474: "verified", "absent" or "wrong".
	Protection string
	Features   []string // of the stream after the login: "NAMESPACE NAME"
	Location   string   // where stream management would have us resume
	Server     Disco
	Account    Disco
	Components map[string]Disco // the items of the server, by address
	Private    bool             // private storage answers (XEP-0049 §3), which not all servers tell
	Software   string           // XEP-0092
	// SoftwareErr is why it is not known what the server says of its software.
	SoftwareErr string
	Contacts    []string
	Services    []string // hosts that upload slots and XEP-0215 name
	Untold      []string // services that are there and did not tell their hosts, and why
}

// Disco is an answer to disco#info and disco#items.
type Disco struct {
	Err        string
	Identities []string // "CATEGORY/TYPE"
	Features   []string
	Items      []string
}
