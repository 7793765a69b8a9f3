// Package portable moves accounts between servers in the format of XEP-0227: what
// they log in with, contacts, messages that wait, private storage, vCards, block
// lists, personal eventing and archives.
//
//	err := portable.Export(ctx, st, accounts, file)
//	report, err := portable.Import(ctx, st, file, portable.ImportOptions{Hosts: srv.Hosts})
//
// Both work on the storage, and pass over it account by account: neither an export
// nor an import is ever in memory as a whole.
//
// Passwords never leave: what is exported are the keys of SCRAM, and a file with a
// password in the clear is imported as such keys.
package portable

// Namespaces of the format.
const (
	NS        = "urn:xmpp:pie:0"
	nsSCRAM   = "urn:xmpp:pie:0#scram"
	nsArchive = "urn:xmpp:pie:0#mam"
	// nsOwn is for what the format has no place for; other servers pass over it.
	nsOwn = "urn:xmpp-gw:account:0"
)

// Namespaces of what is carried.
const (
	nsClient      = "jabber:client"
	nsRoster      = "jabber:iq:roster"
	nsPrivate     = "jabber:iq:private"
	nsVCard       = "vcard-temp"
	nsBlocking    = "urn:xmpp:blocking"
	nsPrivacy     = "jabber:iq:privacy"
	nsPubSub      = "http://jabber.org/protocol/pubsub"
	nsPubSubOwner = "http://jabber.org/protocol/pubsub#owner"
	nsMAM         = "urn:xmpp:mam:2"
	nsForward     = "urn:xmpp:forward:0"
	nsDelay       = "urn:xmpp:delay"
	nsXInclude    = "http://www.w3.org/2001/XInclude"
)

// Where the modules keep documents: private storage by element, and the archive's
// preferences.
const (
	kindPrivate    = "private"
	kindArchive    = "archive"
	keyPreferences = "preferences"
)

// stampFormat is XEP-0082's, with as much of the second as there is.
const stampFormat = "2006-01-02T15:04:05.999999999Z"
