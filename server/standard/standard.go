// Package standard is the full set of features of the bundled server, wired:
//
//	st, err := store.Open(ctx, "sqlite:node.db", store.Options{})
//	…
//	srv, err := server.New(ctx, server.Config{
//		Domains: []string{"example.org"},
//		TLS:     certificates,
//		Store:   st,
//		Modules: standard.Modules(st, standard.Options{}),
//	})
//	…
//	err = srv.Serve(listener, server.STARTTLS)
//
// Who wants less, or something of their own among it, lists modules as this package
// does: it is one function to read.
package standard

import (
	"cmp"
	"context"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/admin"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/blocking"
	"xmpp-gw/server/caps"
	"xmpp-gw/server/carbons"
	"xmpp-gw/server/certificates"
	"xmpp-gw/server/clientstate"
	"xmpp-gw/server/disco"
	"xmpp-gw/server/entitytime"
	"xmpp-gw/server/invite"
	"xmpp-gw/server/lastactivity"
	"xmpp-gw/server/offline"
	"xmpp-gw/server/pep"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/private"
	"xmpp-gw/server/registration"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/store"
	"xmpp-gw/server/vcard"
	"xmpp-gw/server/version"
)

// Options are the choices of an operator. The zero value is right for a node.
type Options struct {
	// Software is the name that strangers are told, [DefaultSoftware] for "".
	// SoftwareVersion is told with it; the default is not to.
	Software, SoftwareVersion string
	// Contacts are URIs by which the operator is reached, by kind; see
	// [disco.Options].
	Contacts map[string][]string

	// ArchiveDefault is what is archived of an account that has set nothing:
	// [archive.Always] for "".
	ArchiveDefault archive.Choice
	// ArchiveRetention is how long, zero for ever.
	ArchiveRetention time.Duration

	// Offline bounds the messages that wait.
	Offline offline.Limits
	// Roster bounds contact lists.
	Roster roster.Limits
	// Blocking bounds block lists.
	Blocking blocking.Limits

	// Registration is who can make an account from a client: nobody, by default.
	// Invitations are for accounts where it is not closed, else for contacts alone.
	Registration registration.Options
	Invitations  invite.Options
	// Shutdown is what an administrator's command to end the server does; nil: there
	// is no such command.
	Shutdown func()

	// PublicVCards shows vCards and avatars to strangers too, not only to those who
	// see somebody's presence.
	PublicVCards bool
	// LastActivity tells contacts since when somebody is away (XEP-0012).
	LastActivity bool
}

// DefaultSoftware is a name that tells nothing.
const DefaultSoftware = "XMPP server"

// capsNode is what the server's capabilities (XEP-0115 §4) stand under. It is
// generic as well.
const capsNode = "urn:xmpp:server"

// Modules makes the modules, in the order in which they look at stanzas. They are
// for one server.
func Modules(st store.Store, o Options) []server.Module {
	o.Software = cmp.Or(o.Software, DefaultSoftware)
	contacts := roster.New(o.Roster)

	// Capabilities tell personal eventing when it is known what a client wants, and
	// personal eventing asks them what that is.
	var events *pep.PEP
	clients := caps.New(func(ctx context.Context, s *server.Session) { events.Known(ctx, s) })
	events = pep.New(st, contacts, clients)
	contacts.Approved(events.Approved)
	blocks := blocking.New(o.Blocking, contacts)
	events.HideFrom(blocks.Blocked)

	commands := adhoc.New()
	if o.Invitations.Names == nil {
		o.Invitations.Names = o.Registration.Names.Check
	}
	invitations := invite.New(st, o.Invitations).Module(contacts, commands, o.Registration.Mode != registration.Closed)

	modules := []server.Module{
		// First, so that the rest does not see what is blocked.
		blocks,
		// A guest's token goes before the question to the owner.
		invitations,
		// It has a hand in what presence says.
		vcard.New(st, vcard.Options{Public: o.PublicVCards, Contacts: contacts, Avatars: events}),
		// Presence is known to those behind it.
		contacts,
		// Before those that copy and keep messages: what they have bears the
		// archive's ID.
		archive.New(st, archive.Options{Default: o.ArchiveDefault, Retention: o.ArchiveRetention, Contacts: contacts}),
		carbons.New(),
		offline.New(o.Offline),
		clientstate.New(),

		disco.New(disco.Options{Software: o.Software, Node: capsNode, Contacts: o.Contacts, Subscriptions: contacts}),
		clients,
		events,

		registration.New(invitations, o.Registration),
		certificates.New(st),
		commands,
		admin.New(commands, admin.Options{Shutdown: o.Shutdown}),

		private.New(st),
		ping.New(),
		version.New(o.Software, o.SoftwareVersion),
		entitytime.New(),
	}
	if o.LastActivity {
		modules = append(modules, lastactivity.New(st, contacts))
	}
	return modules
}
