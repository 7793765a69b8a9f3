// Package certificates lets an account's owner say which client certificates log in
// to it (XEP-0257), besides the password or instead of it.
package certificates

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"unicode/utf8"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// NS is the namespace of the certificates.
const NS = "urn:xmpp:saslcert:1"

// Limits of one account.
const (
	maxCertificates = 32
	maxBytes        = 8 << 10 // of one, in DER
	maxName         = 100     // characters
)

// Storage is what the module needs of the store.
type Storage interface {
	store.Certificates
	DeleteTokens(ctx context.Context, owner address.Address) error
}

// New makes the module.
func New(s Storage) server.Module { return &module{storage: s} }

type module struct {
	storage Storage
	server  *server.Server
	adding  sync.Mutex // a name is looked for, and then taken
}

func (*module) Name() string { return "certificates" }

func (m *module) Setup(r *server.Registry) error {
	m.server = r.Server()
	r.Feature(server.AtServer|server.AtAccount, NS)
	for name, h := range map[string]func(context.Context, *server.IQ, address.Address) ([]byte, error){
		"append": m.add, "items": m.list, "disable": m.disable, "revoke": m.revoke,
	} {
		r.IQ(server.AtServer|server.AtAccount, NS, name, own(name != "items", h))
	}
	return nil
}

// own lets owners alone ask, for themselves.
func own(change bool, h func(context.Context, *server.IQ, address.Address) ([]byte, error)) server.IQHandler {
	return func(ctx context.Context, q *server.IQ) ([]byte, error) {
		switch {
		case q.Session == nil,
			!q.Owner.IsZero() && q.Owner != q.Session.Owner(),
			q.To.Domain != "" && q.To.Domain != q.Session.Owner().Domain:
			return nil, server.ErrForbidden
		case (q.Type == "set") != change:
			return nil, server.ErrBadRequest
		}
		return h(ctx, q, q.Session.Owner())
	}
}

// manages reports a client that may change the list: with a password, or with a
// certificate that is on it with that right (XEP-0257 §2.1). One that was taken off
// while its client stayed has lost the right as well.
func (m *module) manages(q *server.IQ, kept []store.Certificate) error {
	with, ok := q.Session.Certificate()
	if !ok {
		return nil
	}
	for _, c := range kept {
		if c.Fingerprint == with && !c.NoManage {
			return nil
		}
	}
	return server.ErrForbidden.Because("The certificate with which this client logged in may not change the list.")
}

// name reads the name that the owner has given a certificate.
func name(n *xmppstream.Node) (string, error) {
	text := strings.TrimSpace(n.ChildText(NS, "name"))
	if text == "" || utf8.RuneCountInString(text) > maxName {
		return "", server.ErrBadRequest.Because("A certificate needs a name of at most 100 characters.")
	}
	return text, nil
}

// add adds a certificate (XEP-0257 §2.1).
func (m *module) add(ctx context.Context, q *server.IQ, owner address.Address) ([]byte, error) {
	label, err := name(q.Payload)
	if err != nil {
		return nil, err
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(q.Payload.ChildText(NS, "x509cert")), ""))
	if err != nil || len(der) == 0 {
		return nil, server.ErrBadRequest.Because("The certificate is not in Base64.")
	}
	if len(der) > maxBytes {
		return nil, server.ErrNotAcceptable.Because("The certificate is too large.")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, server.ErrNotAcceptable.Because("This is no X.509 certificate in DER.")
	}
	if m.server.Now().After(c.NotAfter) { // §3: nobody can log in with it
		return nil, server.ErrNotAcceptable.Because("The certificate has expired.")
	}
	m.adding.Lock()
	defer m.adding.Unlock()
	kept, err := m.storage.Certificates(ctx, owner)
	if err != nil {
		return nil, err
	}
	if err := m.manages(q, kept); err != nil {
		return nil, err
	}
	fingerprint := sha256.Sum256(der)
	for _, k := range kept {
		if k.Name == label {
			return nil, server.ErrConflict.Because("There is a certificate of this name.")
		}
		if k.Fingerprint == fingerprint {
			return nil, server.ErrConflict.Because("This certificate is there already, under another name.")
		}
	}
	err = m.storage.PutCertificate(context.WithoutCancel(ctx), owner, store.Certificate{
		Name: label, Fingerprint: fingerprint, DER: der, Added: m.server.Now(),
		NoManage: q.Payload.Child(NS, "no-cert-management") != nil,
	}, maxCertificates)
	if errors.Is(err, store.ErrFull) {
		return nil, server.ErrResourceConstraint.Because("There are as many certificates as an account may have; remove some.")
	}
	return nil, err
}

// list gives all certificates, and who is logged in with each (§2.2).
func (m *module) list(ctx context.Context, _ *server.IQ, owner address.Address) ([]byte, error) {
	kept, err := m.storage.Certificates(ctx, owner)
	if err != nil {
		return nil, err
	}
	b := []byte("<items xmlns='" + NS + "'>")
	for i := range kept {
		b = xmppstream.Escape(append(b, "<item><name>"...), kept[i].Name)
		b = base64.StdEncoding.AppendEncode(append(b, "</name><x509cert>"...), kept[i].DER)
		b = append(b, "</x509cert>"...)
		if kept[i].NoManage {
			b = append(b, "<no-cert-management/>"...)
		}
		if with := m.sessions(owner, kept[i].Fingerprint); len(with) > 0 {
			b = append(b, "<users>"...)
			for _, s := range with {
				b = append(xmppstream.Escape(append(b, "<resource>"...), s.JID().Resource), "</resource>"...)
			}
			b = append(b, "</users>"...)
		}
		b = append(b, "</item>"...)
	}
	return append(b, "</items>"...), nil
}

// sessions are those that logged in with a certificate.
func (m *module) sessions(owner address.Address, fingerprint [sha256.Size]byte) (list []*server.Session) {
	for _, s := range m.server.Sessions(owner) {
		if with, ok := s.Certificate(); ok && with == fingerprint {
			list = append(list, s)
		}
	}
	return list
}

// remove takes a certificate off the list.
func (m *module) remove(ctx context.Context, q *server.IQ, owner address.Address) (gone store.Certificate, err error) {
	label, err := name(q.Payload)
	if err != nil {
		return gone, err
	}
	kept, err := m.storage.Certificates(ctx, owner)
	if err != nil {
		return gone, err
	}
	if err := m.manages(q, kept); err != nil {
		return gone, err
	}
	for _, k := range kept {
		if k.Name == label {
			gone = k
		}
	}
	err = m.storage.DeleteCertificate(context.WithoutCancel(ctx), owner, label)
	if errors.Is(err, store.ErrNotFound) {
		err = server.ErrItemNotFound
	}
	return gone, err
}

// disable keeps a certificate from logging in from now on (§2.3).
func (m *module) disable(ctx context.Context, q *server.IQ, owner address.Address) ([]byte, error) {
	_, err := m.remove(ctx, q, owner)
	return nil, err
}

// revoked is what clients are told that were logged in with the certificate.
var revoked = &xmppstream.Error{Condition: xmppstream.NotAuthorized, Text: "The certificate with which this client logged in was revoked."}

// revoke is disable, and ends the sessions that logged in with it (§2.4). The device
// may be in other hands, with what it was given besides: tokens go as well.
func (m *module) revoke(ctx context.Context, q *server.IQ, owner address.Address) ([]byte, error) {
	gone, err := m.remove(ctx, q, owner)
	if err != nil {
		return nil, err
	}
	if err := m.storage.DeleteTokens(context.WithoutCancel(ctx), owner); err != nil {
		return nil, err
	}
	if err := q.Session.SendIn(ctx, q.Stanza.Result(nil)); err != nil {
		return nil, err
	}
	for _, s := range m.sessions(owner, gone.Fingerprint) {
		s.Close(revoked)
	}
	return nil, server.ErrAnswered
}
