package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/ocsp"
)

// CTLog is a log of Certificate Transparency that signs whatever it is told to
// (RFC 6962). Its fields are what a list says of it.
type CTLog struct {
	Name, Operator string
	State          string // "" is "usable"
	Since          time.Time
	From, Until    time.Time // of the certificates' end; zero: any

	key *ecdsa.PrivateKey
	spk []byte
}

// NewCTLog makes a log.
func NewCTLog(operator, name string) (*CTLog, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	spk, err := x509.MarshalPKIXPublicKey(key.Public())
	return &CTLog{Name: name, Operator: operator, Since: time.Now().Add(-1000 * time.Hour), key: key, spk: spk}, err
}

// CTEntry is what a log takes in: a certificate, or one that is about to be issued.
type CTEntry struct {
	Certificate []byte            // DER; or else
	TBS         []byte            // what is to be signed, without timestamps
	IssuerHash  [sha256.Size]byte // of the key that will sign it
}

// SCT is the log's timestamp for e at the time at (RFC 6962 §3.2).
func (l *CTLog) SCT(e CTEntry, at time.Time) []byte {
	millis := uint64(at.UnixMilli())
	var signed cryptobyte.Builder
	signed.AddUint16(0) // version 1, certificate_timestamp
	signed.AddUint64(millis)
	if e.Certificate != nil {
		signed.AddUint16(0)
		signed.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.Certificate) })
	} else {
		signed.AddUint16(1)
		signed.AddBytes(e.IssuerHash[:])
		signed.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.TBS) })
	}
	signed.AddUint16(0) // no extensions
	sum := sha256.Sum256(signed.BytesOrPanic())
	signature, err := ecdsa.SignASN1(rand.Reader, l.key, sum[:])
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	id := sha256.Sum256(l.spk)
	var b cryptobyte.Builder
	b.AddUint8(0)
	b.AddBytes(id[:])
	b.AddUint64(millis)
	b.AddUint16(0)
	b.AddUint16(0x0403) // SHA-256, ECDSA
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(signature) })
	return b.BytesOrPanic()
}

// CTList is a list of logs in the public format.
func CTList(made time.Time, logs ...*CTLog) []byte {
	type object map[string]any
	var operators []object
	for _, l := range logs {
		id := sha256.Sum256(l.spk)
		state := l.State
		if state == "" {
			state = "usable"
		}
		line := object{"description": l.Name, "log_id": base64.StdEncoding.EncodeToString(id[:]), "key": base64.StdEncoding.EncodeToString(l.spk),
			"state": object{state: object{"timestamp": l.Since.UTC()}}}
		if !l.Until.IsZero() {
			line["temporal_interval"] = object{"start_inclusive": l.From.UTC(), "end_exclusive": l.Until.UTC()}
		}
		operators = append(operators, object{"name": l.Operator, "logs": []object{line}})
	}
	text, err := json.Marshal(object{"version": "1", "log_list_timestamp": made.UTC(), "operators": operators})
	if err != nil {
		panic(err) // there is nothing in it that JSON has no words for
	}
	return text
}

// SCTList is an extension's value that holds timestamps (RFC 6962 §3.3).
func SCTList(scts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, s := range scts {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s) })
		}
	})
	value, err := asn1.Marshal(b.BytesOrPanic())
	if err != nil {
		panic(err) // an OCTET STRING is never refused
	}
	return value
}

// SCTs gives the timestamps that stand in a certificate, for what is signed
// without them.
type SCTs func(CTEntry) [][]byte

// LoggedBy are timestamps of a minute ago, of these logs.
func LoggedBy(logs ...*CTLog) SCTs {
	return func(e CTEntry) [][]byte {
		var all [][]byte
		for _, l := range logs {
			all = append(all, l.SCT(e, time.Now().Add(-time.Minute)))
		}
		return all
	}
}

// embed puts the timestamps that l asks for into t: the certificate is signed once
// without them, for the logs, as an authority does (RFC 6962 §3.1).
func (l CALeaf) embed(t, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) error {
	if l.SCTs == nil {
		return nil
	}
	without, err := sign(t, parent, pub, signer)
	if err != nil {
		return err
	}
	scts := l.SCTs(CTEntry{TBS: without.RawTBSCertificate, IssuerHash: sha256.Sum256(parent.RawSubjectPublicKeyInfo)})
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: SCTList(scts...)})
	return nil
}

// CAStaple says what an OCSP answer is like. The zero value says that the
// certificate is good, for a day, signed by the authority.
type CAStaple struct {
	Status  int // ocsp.Good, ocsp.Revoked or ocsp.Unknown
	Expired bool
	Early   bool             // its day has not begun
	SCTs    [][]byte         // in its extension
	By      *tls.Certificate // signed with its key, and shown; nil: the authority's
}

// Staple is an OCSP answer for cert (RFC 6960 §4.2).
func (ca *CA) Staple(cert *x509.Certificate, s CAStaple) ([]byte, error) {
	now := time.Now()
	t := ocsp.Response{Status: s.Status, SerialNumber: cert.SerialNumber, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(24 * time.Hour)}
	switch {
	case s.Expired:
		t.ThisUpdate, t.NextUpdate = now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	case s.Early:
		t.ThisUpdate = now.Add(12 * time.Hour)
	}
	if s.Status == ocsp.Revoked {
		t.RevokedAt = now.Add(-2 * time.Hour)
	}
	if len(s.SCTs) > 0 {
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 5}, Value: SCTList(s.SCTs...)}}
	}
	if s.By == nil {
		return ocsp.CreateResponse(ca.cert, ca.cert, t, ca.key)
	}
	t.Certificate = s.By.Leaf
	return ocsp.CreateResponse(ca.cert, s.By.Leaf, t, s.By.PrivateKey.(crypto.Signer))
}
