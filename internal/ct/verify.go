package ct

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptoasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// The extensions that hold lists of timestamps (RFC 6962 §3.3).
var (
	oidSCTs     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidSCTsOCSP = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 5}
)

// Shown is what a server showed in a TLS handshake.
type Shown struct {
	Chain []*x509.Certificate // its own first; the one that signed it must be among the rest
	TLS   [][]byte            // the timestamps in the TLS extension, as crypto/tls gives them
	OCSP  []byte              // the stapled answer
}

// Check collects the timestamps that a server showed, at most 16, and says of each
// what it is worth at the time now.
func (l *List) Check(shown Shown, now time.Time) []SCT {
	if len(shown.Chain) == 0 || shown.Chain[0] == nil {
		return nil
	}
	leaf := shown.Chain[0]
	var out []SCT
	add := func(from string, raws [][]byte, entry func() ([]byte, error)) {
		for _, raw := range raws {
			if len(out) == maxSCTs {
				return
			}
			s := SCT{From: from, Raw: raw}
			l.check(&s, leaf, entry, now)
			out = append(out, s)
		}
	}
	embedded := extension(leaf.Extensions, oidSCTs)
	add(InCertificate, lists(embedded), sync.OnceValues(func() ([]byte, error) { return precertificate(shown.Chain) }))
	whole := func() ([]byte, error) { return certificate(leaf) }
	add(InTLS, shown.TLS, whole)
	// Each timestamp stands for itself, whoever signed the answer it is in.
	if r, err := ocsp.ParseResponseForCert(shown.OCSP, leaf, nil); err == nil {
		add(InOCSP, lists(extension(r.Extensions, oidSCTsOCSP)), whole)
	}
	return out
}

// lists reads the list inside an extension (RFC 6962 §3.3). What cannot be read is
// one timestamp that cannot be read.
func lists(value []byte) [][]byte {
	if value == nil {
		return nil
	}
	list, err := ParseSCTList(value)
	if err != nil {
		return [][]byte{nil}
	}
	return list
}

// ParseSCTList reads the value of an extension with timestamps: an OCTET STRING
// with a list, each with its length before it (RFC 6962 §3.3).
func ParseSCTList(value []byte) ([][]byte, error) {
	var inner, list, one cryptobyte.String
	in := cryptobyte.String(value)
	if !in.ReadASN1(&inner, cryptoasn1.OCTET_STRING) || !in.Empty() || !inner.ReadUint16LengthPrefixed(&list) || !inner.Empty() || list.Empty() {
		return nil, errors.New("malformed list of timestamps")
	}
	var out [][]byte
	for !list.Empty() {
		if !list.ReadUint16LengthPrefixed(&one) || one.Empty() {
			return nil, errors.New("malformed list of timestamps")
		}
		if len(out) <= maxSCTs {
			out = append(out, one)
		}
	}
	return out, nil
}

// parsed is a timestamp taken apart (RFC 6962 §3.2).
type parsed struct {
	id            [sha256.Size]byte
	millis        uint64
	extensions    []byte
	hash, signing uint8
	signature     []byte
}

// parse reads a timestamp of version 1.
func parse(raw []byte) (p parsed, ok bool) {
	in := cryptobyte.String(raw)
	var version uint8
	var id []byte
	var extensions, signature cryptobyte.String
	ok = in.ReadUint8(&version) && version == 0 && in.ReadBytes(&id, sha256.Size) && in.ReadUint64(&p.millis) && p.millis < 1<<52 &&
		in.ReadUint16LengthPrefixed(&extensions) && in.ReadUint8(&p.hash) && in.ReadUint8(&p.signing) &&
		in.ReadUint16LengthPrefixed(&signature) && in.Empty()
	copy(p.id[:], id)
	p.extensions, p.signature = extensions, signature
	return p, ok
}

// check fills in what s is worth. entry gives the log's entry for the certificate.
func (l *List) check(s *SCT, leaf *x509.Certificate, entry func() ([]byte, error), now time.Time) {
	p, ok := parse(s.Raw)
	if !ok {
		s.Why = "it cannot be read"
		return
	}
	s.LogID = base64.StdEncoding.EncodeToString(p.id[:])
	s.At = time.UnixMilli(int64(p.millis)).UTC()
	var known *log
	if l != nil {
		known = l.logs[p.id]
	}
	if known == nil {
		s.Why = "its log is not in " + l.name()
		return
	}
	signed, err := entry()
	if err != nil {
		s.Why = err.Error()
		return
	}
	s.Log, s.Operator, s.Retired = known.name, known.operator, known.state == stateRetired
	s.Why = known.judge(s, p, leaf, signed, now)
	s.Valid = s.Why == ""
}

// judge says why a timestamp of the log does not count.
func (e *log) judge(s *SCT, p parsed, leaf *x509.Certificate, signed []byte, now time.Time) string {
	switch {
	case !e.verify(p, signed):
		return "the signature is not the log's for this certificate"
	case s.At.After(now.Add(clockSkew)):
		return "it is of the future" // RFC 6962 §3.3 has clients refuse it
	case !e.from.IsZero() && leaf.NotAfter.Before(e.from), !e.until.IsZero() && !leaf.NotAfter.Before(e.until):
		return "the log does not take certificates that end then"
	case e.state == stateRejected:
		return "the log was rejected"
	case s.Retired && s.From != InCertificate:
		return "the log was retired" // such a timestamp can be had anew at any time
	case s.Retired && !s.At.Before(e.since):
		return "the log was retired before"
	}
	return ""
}

// verify checks the log's signature (RFC 6962 §3.2).
func (e *log) verify(p parsed, entry []byte) bool {
	var b cryptobyte.Builder
	b.AddUint8(0) // version 1
	b.AddUint8(0) // certificate_timestamp
	b.AddUint64(p.millis)
	b.AddBytes(entry)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(p.extensions) })
	signed, err := b.Bytes()
	if err != nil {
		return false
	}
	const sha256Hash, rsaSigning, ecdsaSigning = 4, 1, 3 // RFC 5246 §7.4.1.4.1
	sum := sha256.Sum256(signed)
	switch key := e.key.(type) {
	case *ecdsa.PublicKey:
		return p.hash == sha256Hash && p.signing == ecdsaSigning && ecdsa.VerifyASN1(key, sum[:], p.signature)
	case *rsa.PublicKey:
		return p.hash == sha256Hash && p.signing == rsaSigning && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], p.signature) == nil
	}
	return false
}

// The kinds of a log's entry (RFC 6962 §3.1).
const (
	x509Entry    = 0
	precertEntry = 1
)

// certificate is the entry of a certificate itself.
func certificate(leaf *x509.Certificate) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint16(x509Entry)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(leaf.Raw) })
	return b.Bytes()
}

// precertificate is the entry of what the authority showed the log before it
// issued the certificate: the same without the timestamps, which could not be in
// it yet, and with the hash of the authority's key (RFC 6962 §3.2).
func precertificate(chain []*x509.Certificate) ([]byte, error) {
	issuer := Issuer(chain)
	if issuer == nil {
		return nil, errors.New("the server does not show who signed the certificate")
	}
	tbs, err := withoutSCTs(chain[0].RawTBSCertificate)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	var b cryptobyte.Builder
	b.AddUint16(precertEntry)
	b.AddBytes(sum[:])
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(tbs) })
	return b.Bytes()
}

// Issuer is the certificate of chain that signed the first one; nil if there is
// none.
func Issuer(chain []*x509.Certificate) *x509.Certificate {
	tried := 0
	for i, c := range chain {
		if i == 0 || c == nil || !bytes.Equal(c.RawSubject, chain[0].RawIssuer) {
			continue
		}
		if chain[0].CheckSignatureFrom(c) == nil {
			return c
		}
		if tried++; tried == maxIssuers {
			break
		}
	}
	return nil
}

// withoutSCTs is a TBSCertificate without the extension that holds the timestamps.
func withoutSCTs(tbs []byte) ([]byte, error) {
	malformed := errors.New("the certificate cannot be taken apart")
	in := cryptobyte.String(tbs)
	var fields cryptobyte.String
	if !in.ReadASN1(&fields, cryptoasn1.SEQUENCE) {
		return nil, malformed
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptoasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for !fields.Empty() {
			var field cryptobyte.String
			var tag cryptoasn1.Tag
			if !fields.ReadAnyASN1Element(&field, &tag) {
				b.SetError(malformed)
				return
			}
			if tag != extensionsTag {
				b.AddBytes(field)
				continue
			}
			var list cryptobyte.String
			if !field.ReadASN1(&field, extensionsTag) || !field.ReadASN1(&list, cryptoasn1.SEQUENCE) {
				b.SetError(malformed)
				return
			}
			b.AddASN1(extensionsTag, func(b *cryptobyte.Builder) {
				b.AddASN1(cryptoasn1.SEQUENCE, func(b *cryptobyte.Builder) { copyExtensions(b, list, malformed) })
			})
		}
	})
	return b.Bytes()
}

var extensionsTag = cryptoasn1.Tag(3).Constructed().ContextSpecific()

// copyExtensions writes all but the one with the timestamps.
func copyExtensions(b *cryptobyte.Builder, list cryptobyte.String, malformed error) {
	for !list.Empty() {
		var element, inside cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !list.ReadASN1Element(&element, cryptoasn1.SEQUENCE) {
			b.SetError(malformed)
			return
		}
		whole := element
		if !element.ReadASN1(&inside, cryptoasn1.SEQUENCE) || !inside.ReadASN1ObjectIdentifier(&oid) {
			b.SetError(malformed)
			return
		}
		if !oid.Equal(oidSCTs) {
			b.AddBytes(whole)
		}
	}
}

// extension is the value of an extension; nil without it.
func extension(all []pkix.Extension, id asn1.ObjectIdentifier) []byte {
	for _, e := range all {
		if e.Id.Equal(id) {
			return e.Value
		}
	}
	return nil
}
