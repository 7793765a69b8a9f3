package xmppstream

// Conditions of RFC 6120 §4.9.3 that this package reports or that its users send.
const (
	BadFormat             = "bad-format"
	BadNamespacePrefix    = "bad-namespace-prefix"
	ConnectionTimeout     = "connection-timeout"
	HostGone              = "host-gone"
	HostUnknown           = "host-unknown"
	ImproperAddressing    = "improper-addressing"
	InternalServerError   = "internal-server-error"
	InvalidNamespace      = "invalid-namespace"
	NotAuthorized         = "not-authorized"
	NotWellFormed         = "not-well-formed"
	PolicyViolation       = "policy-violation"
	RemoteConnFailed      = "remote-connection-failed"
	Reset                 = "reset"
	ResourceConstraint    = "resource-constraint"
	RestrictedXML         = "restricted-xml"
	SystemShutdown        = "system-shutdown"
	UndefinedCondition    = "undefined-condition"
	UnsupportedEncoding   = "unsupported-encoding"
	UnsupportedFeature    = "unsupported-feature"
	UnsupportedStanzaType = "unsupported-stanza-type"
	UnsupportedVersion    = "unsupported-version"
)

// Error is a fault in what the peer sent. Condition is the stream error to answer with
// (RFC 6120 §4.9.3), Text says what was wrong without repeating any of the peer's bytes.
type Error struct {
	Condition string
	Text      string
}

func (e *Error) Error() string { return "xmpp stream: " + e.Condition + ": " + e.Text }

func malformed(text string) error  { return &Error{NotWellFormed, text} }
func restricted(text string) error { return &Error{RestrictedXML, text} }
func overLimit(text string) error  { return &Error{PolicyViolation, text} }
