package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"slices"
	"strings"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// What an account is shown, and strangers are not.

const (
	nsInfo    = "http://jabber.org/protocol/disco#info"  // XEP-0030 §3
	nsItems   = "http://jabber.org/protocol/disco#items" // XEP-0030 §4
	nsVersion = "jabber:iq:version"                      // XEP-0092
	nsContact = "http://jabber.org/network/serverinfo"   // XEP-0157 §2
	nsPrivate = "jabber:iq:private"                      // XEP-0049 §3
	nsUpload  = "urn:xmpp:http:upload:0"                 // XEP-0363 §4
	nsService = "urn:xmpp:extdisco:"                     // XEP-0215 §2, with "1" or "2"

	maxItems    = 16  // of the server that are asked what they are
	maxFeatures = 256 // of one answer that are kept
)

// visit logs in, looks around and leaves. It gives the state of the connection if
// the login was bound to it.
func (r *run) visit(ctx context.Context, s spot, seen *audit.Login) (*tls.ConnectionState, error) {
	e, err := r.enter(ctx, s)
	if err != nil {
		return nil, err
	}
	defer e.close()
	out, err := e.authenticate(ctx, r)
	if errors.Is(err, saslauth.ErrDowngrade) && e.hashed {
		seen.Protection = "wrong"
	}
	if err != nil {
		return nil, err
	}
	seen.Mechanism, seen.Binding, seen.Protection = out.Mechanism, out.Binding, "absent"
	if out.Hashed {
		seen.Protection = "verified"
	}
	if seen.Features, err = e.begin(ctx, out.Protocol); err != nil {
		return nil, err
	}
	defer e.end()
	seen.Server.Err, seen.Account.Err = noAnswer, noAnswer
	if err := e.look(ctx, r.account.String(), seen); err != nil {
		return nil, err
	}
	if !out.Plus {
		return nil, nil
	}
	return e.state, nil
}

// look asks, in four rounds, everything that an account may.
func (e *entry) look(ctx context.Context, account string, seen *audit.Login) error {
	domain := policy.DisplayDomain(e.domain) // as it stands in addresses
	if err := e.ask(ctx,
		&question{to: domain, kind: "get", payload: query(nsInfo), answer: func(n *xmppstream.Node, why string) {
			readInfo(&seen.Server, n, why)
			seen.Contacts = contacts(n.Child(nsInfo, "query"))
		}},
		&question{to: account, kind: "get", payload: query(nsInfo), answer: func(n *xmppstream.Node, why string) { readInfo(&seen.Account, n, why) }},
		&question{to: domain, kind: "get", payload: query(nsItems), answer: func(n *xmppstream.Node, why string) {
			seen.Server.Items = items(n)
			if why == noAnswer {
				untold(seen, "items of the server", why)
			}
		}},
		&question{to: domain, kind: "get", payload: query(nsVersion), answer: func(n *xmppstream.Node, why string) {
			seen.Software = software(n.Child(nsVersion, "query"))
			if why == noAnswer {
				seen.SoftwareErr = why
			}
		}},
		// Of a kind that nobody keeps, so that there is nothing to see.
		&question{kind: "get", payload: "<query xmlns='" + nsPrivate + "'><none xmlns='urn:xmpp:none'/></query>", answer: func(n *xmppstream.Node, why string) {
			seen.Private = n.Child(nsPrivate, "query") != nil
		}},
	); err != nil {
		return err
	}

	seen.Components = map[string]audit.Disco{}
	var questions []*question
	for _, item := range seen.Server.Items {
		// An item elsewhere is another server's, which would learn of us.
		if len(questions) == maxItems || !strings.HasSuffix(item, "."+domain) {
			continue
		}
		questions = append(questions, &question{to: item, kind: "get", payload: query(nsInfo), answer: func(n *xmppstream.Node, why string) {
			var d audit.Disco
			readInfo(&d, n, why)
			seen.Components[item] = d
		}})
	}
	for _, version := range []string{"2", "1"} {
		if ns := nsService + version; slices.Contains(seen.Server.Features, ns) {
			questions = append(questions, &question{to: domain, kind: "get", payload: "<services xmlns='" + ns + "'/>", answer: func(n *xmppstream.Node, why string) {
				untold(seen, "external services", why)
				for _, s := range children(n.Child(ns, "services")) {
					addService(seen, s.Attr("host"))
				}
			}})
			break
		}
	}
	if err := e.ask(ctx, questions...); err != nil {
		return err
	}
	if err := e.slot(ctx, seen); err != nil {
		return err
	}
	return e.location(ctx, seen)
}

// query is a question's payload.
func query(ns string) string { return "<query xmlns='" + ns + "'/>" }

// children are those of a node that may be missing.
func children(n *xmppstream.Node) []*xmppstream.Node {
	if n == nil {
		return nil
	}
	return n.Children
}

// readInfo reads an answer to disco#info.
func readInfo(d *audit.Disco, n *xmppstream.Node, why string) {
	d.Err = why
	for _, c := range children(n.Child(nsInfo, "query")) {
		switch {
		case c.Is(nsInfo, "identity") && len(d.Identities) < maxKept:
			d.Identities = append(d.Identities, clip(c.Attr("category")+"/"+c.Attr("type")))
		case c.Is(nsInfo, "feature") && len(d.Features) < maxFeatures:
			d.Features = append(d.Features, clip(c.Attr("var")))
		}
	}
}

// items are the addresses in an answer to disco#items.
func items(n *xmppstream.Node) []string {
	var out []string
	for _, c := range children(n.Child(nsItems, "query")) {
		if address := strings.ToLower(clip(c.Attr("jid"))); address != "" && len(out) < maxKept && !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out
}

// contacts are the addresses of the form in a server's disco#info (XEP-0157 §2).
func contacts(info *xmppstream.Node) []string {
	var out []string
	for _, form := range children(info) {
		if !form.Is(nsForms, "x") || formType(form) != nsContact {
			continue
		}
		for _, f := range form.Children {
			if !f.Is(nsForms, "field") || f.Attr("var") == "FORM_TYPE" {
				continue
			}
			for _, v := range f.Children {
				if text := clip(strings.TrimSpace(v.Text)); v.Is(nsForms, "value") && text != "" && len(out) < maxKept {
					out = append(out, text)
				}
			}
		}
	}
	return out
}

// formType is what a data form is for (XEP-0068 §3.1).
func formType(form *xmppstream.Node) string {
	for _, f := range form.Children {
		if f.Is(nsForms, "field") && f.Attr("var") == "FORM_TYPE" {
			return f.ChildText(nsForms, "value")
		}
	}
	return ""
}

// software is NAME VERSION (SYSTEM).
func software(n *xmppstream.Node) string {
	if n == nil {
		return ""
	}
	text := strings.TrimSpace(n.ChildText(nsVersion, "name") + " " + n.ChildText(nsVersion, "version"))
	if system := strings.TrimSpace(n.ChildText(nsVersion, "os")); system != "" {
		text += " (" + system + ")"
	}
	return clip(text)
}

// slot asks the first service for uploads where one byte would go (XEP-0363 §5), and
// sends nothing there.
func (e *entry) slot(ctx context.Context, seen *audit.Login) error {
	at := ""
	for _, item := range seen.Server.Items {
		if slices.Contains(seen.Components[item].Features, nsUpload) {
			at = item
			break
		}
	}
	if slices.Contains(seen.Server.Features, nsUpload) {
		at = policy.DisplayDomain(e.domain)
	}
	if at == "" {
		return nil
	}
	return e.ask(ctx, &question{to: at, kind: "get", payload: "<request xmlns='" + nsUpload + "' filename='a.txt' size='1' content-type='text/plain'/>",
		answer: func(n *xmppstream.Node, why string) {
			untold(seen, "upload slot", why)
			for _, way := range children(n.Child(nsUpload, "slot")) {
				addService(seen, way.Attr("url"))
			}
		}})
}

// untold notes a service of which no host is known.
func untold(seen *audit.Login, what, why string) {
	if why != "" {
		seen.Untold = append(seen.Untold, what+": "+why)
	}
}

// addService notes a host that the server names, each once.
func addService(seen *audit.Login, where string) {
	if u, err := url.Parse(where); err == nil && u.Host != "" {
		where = u.Hostname()
	}
	if where = clip(where); where != "" && len(seen.Services) < maxKept && !slices.Contains(seen.Services, where) {
		seen.Services = append(seen.Services, where)
	}
}

// location asks where stream management would have the session resumed (XEP-0198
// §3). It is the last question: what is acknowledged from here on is of no use.
func (e *entry) location(ctx context.Context, seen *audit.Login) error {
	if !slices.Contains(seen.Features, xmppstream.NSSM+" sm") {
		return nil
	}
	if err := e.Send([]byte("<enable xmlns='" + xmppstream.NSSM + "' resume='true'/>")); err != nil {
		return err
	}
	return e.wait(ctx, func(n *xmppstream.Node) bool {
		if n.Is(xmppstream.NSSM, "enabled") {
			seen.Location = clip(n.Attr("location"))
		}
		return n.Is(xmppstream.NSSM, "enabled") || n.Is(xmppstream.NSSM, "failed")
	})
}
