package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/control"
	"xmpp-gw/server/invite"
)

// welcome says whose accounts the node has and, while there is none, how to make
// the first one.
func (d *daemon) welcome(ctx context.Context) {
	if d.node == nil {
		return
	}
	d.console.line("node", "the accounts of %s live here; nothing about them goes out", d.node.domain)
	if others := d.node.elsewhere(ctx); others != "" {
		d.console.warn("the store has accounts of %s too, which are not served; they are kept, and are back when that is the domain under [node]", others)
	}
	some, err := d.node.db.ListAccounts(ctx, d.node.domain, "", 1)
	if err != nil || len(some) > 0 {
		return
	}
	if d.node.registration == "open" {
		d.console.line("", "there is no account yet: make one with a client, at %s", d.node.domain)
		return
	}
	d.console.line("", "there is no account yet: `xmpp-gw account add NAME` makes one here")
	if d.node.registration == "closed" {
		return
	}
	if os.Getenv("JOURNAL_STREAM") != "" { // the link is a secret, and others read the journal
		d.console.line("", "`xmpp-gw account invite` prints a link with which a client makes one")
		return
	}
	uri, err := d.node.firstInvitation(ctx)
	if err != nil {
		d.console.fail(&problem{what: "there is no invitation for the first account", why: err.Error(), err: err})
		return
	}
	if code, err := encodeQR(uri); err == nil && d.console.terminal {
		d.console.above(func() { d.console.ui.printf("%s", code.text(d.console.ui.outColour)) })
	}
	d.console.line("", "or open this link in a client (it works once): %s", uri)
}

// elsewhere names the domains of accounts in the store that the node does not serve:
// the configuration had another one.
func (n *node) elsewhere(ctx context.Context) string {
	all, err := n.db.AccountDomains(ctx)
	if err != nil {
		return ""
	}
	return strings.Join(slices.DeleteFunc(all, n.server.Hosts), ", ")
}

// firstInvitation is a link for the first account: the one of an earlier start
// where that can still be used.
func (n *node) firstInvitation(ctx context.Context) (string, error) {
	list, err := n.db.ListInvites(ctx, n.domain, address.Address{})
	if err != nil {
		return "", err
	}
	for _, i := range list {
		if i.Inviter.IsZero() && i.Account && i.Uses > 0 && i.Local == "" && time.Until(i.Expires) > 24*time.Hour {
			return invite.URI(i), nil
		}
	}
	made, err := accountDesk{n}.Invite(ctx, control.Invitation{})
	return made.URI, err
}
