package tlsauth

import "crypto/x509"

// XMPPAddrs are the XMPP addresses that a certificate names (RFC 6120 §13.7.1.4),
// as they are written there. That somebody signed them is for the caller to check.
func XMPPAddrs(cert *x509.Certificate) []string { return namesOf(cert).xmpp }

// SRVNames are the services of a certificate (RFC 4985 §2), as they stand in it:
// "_xmpp-client.example.org".
func SRVNames(cert *x509.Certificate) []string { return namesOf(cert).srv }
