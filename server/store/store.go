// Package store is what the bundled server keeps: accounts, rosters, messages.
//
// [Store] is the seam. It is made of small interfaces, one a feature, so that a
// feature asks for the one it needs; [Open] gives the implementation over SQL
// (SQLite in a file or in memory, PostgreSQL), and both databases pass the same
// tests.
//
//	s, err := store.Open(ctx, "sqlite:node.db", store.Options{})
//	if err != nil {
//		return err // damaged, full, read-only, of a newer version: a sentence
//	}
//	defer s.Close()
//
// A write that returned is on disk. Writes that come at the same time share one
// transaction (group commit), so many of them cost little more than one.
//
// Owners are bare addresses. XML is kept as bytes that stand alone: an element
// with all its namespace declarations, as for a stream whose default namespace
// is jabber:client.
package store

import (
	"context"
	"errors"
	"io"
	"time"

	"xmpp-gw/internal/address"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrFull     = errors.New("the limit is reached")
)

// Store is everything that is kept. All methods may be called concurrently.
type Store interface {
	Accounts
	Rosters
	Blocks
	Offline
	Archive
	Documents
	Items
	Invites
	Tokens
	Certificates
	io.Closer
	// Check reads the database through and reports what is damaged.
	Check(ctx context.Context) error
}

// Account is one account, without its secrets.
type Account struct {
	Address  address.Address // bare
	Admin    bool            // may use ad-hoc administration (XEP-0133)
	Disabled bool            // cannot log in; its data stays
	Created  time.Time
	LastSeen time.Time // end of its last session, zero for never
}

// Keys is what the server keeps of a password for one SCRAM hash (RFC 5802 §3).
type Keys struct {
	Hash       string // "SHA-1", "SHA-256" or "SHA-512"
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// Accounts keeps who has an account. A missing account is ErrNotFound.
type Accounts interface {
	// CreateAccount fails with ErrExists. No keys make an account that only a
	// certificate can log in to.
	CreateAccount(ctx context.Context, a Account, keys []Keys) error
	Account(ctx context.Context, owner address.Address) (Account, error)
	// AccountKeys is empty for an account without a password.
	AccountKeys(ctx context.Context, owner address.Address) ([]Keys, error)
	// SetAccountKeys replaces the keys and forgets all tokens, at once.
	SetAccountKeys(ctx context.Context, owner address.Address, keys []Keys) error
	// LacksKeys reports whether some account of a domain has keys, but none for this
	// hash, as one that came from another server may.
	LacksKeys(ctx context.Context, domain, hash string) (bool, error)
	SetAdmin(ctx context.Context, owner address.Address, admin bool) error
	SetDisabled(ctx context.Context, owner address.Address, disabled bool) error
	// SetLastSeen notes when accounts were there last. Those that are gone are left out.
	SetLastSeen(ctx context.Context, at map[address.Address]time.Time) error
	// DeleteAccount removes the account and all that it owns, at once or not at all.
	DeleteAccount(ctx context.Context, owner address.Address) error
	// ListAccounts gives the accounts of a domain in the order of their local
	// parts, at most max, beginning behind the local part after.
	ListAccounts(ctx context.Context, domain, after string, max int) ([]Account, error)
}

// Subscription is who sees whose presence (RFC 6121 §2.1.2.5).
type Subscription uint8

// The subscriptions, as bits: the owner's to the contact, and the contact's to the owner.
const (
	SubNone Subscription = 0
	SubTo   Subscription = 1
	SubFrom Subscription = 2
	SubBoth Subscription = SubTo | SubFrom
)

// RosterItem is what an account knows of a contact, in the roster or not.
type RosterItem struct {
	Contact  address.Address // bare, or a domain
	Name     string
	Groups   []string
	Sub      Subscription
	Ask      bool // the owner's request waits for the contact ("Pending Out")
	Approved bool // subscription pre-approval (RFC 6121 §3.4)
	// Request is the contact's presence of type subscribe while it waits for the
	// owner ("Pending In"), else nil.
	Request []byte
	// InRoster is false for a contact that the owner does not see in the roster,
	// such as a stranger whose request waits.
	InRoster bool
	// Version is the roster version of the item's last change.
	Version uint64
}

// Roster is a whole roster.
type Roster struct {
	Version uint64
	Items   []RosterItem
	// Removed are the contacts that left the roster, with the version at which
	// they did: what roster versioning pushes (RFC 6121 §2.6). They may be
	// forgotten after a while; Since is the oldest version from which Items and
	// Removed together tell everything that changed.
	Removed []RosterItem
	Since   uint64
}

// Rosters keeps contacts.
type Rosters interface {
	Roster(ctx context.Context, owner address.Address) (Roster, error)
	// PutRosterItem writes the item whole under a new version, which it returns.
	// It fails with ErrFull beyond max items.
	PutRosterItem(ctx context.Context, owner address.Address, item RosterItem, max int) (uint64, error)
	// DeleteRosterItem returns ErrNotFound if there is none.
	DeleteRosterItem(ctx context.Context, owner, contact address.Address) (uint64, error)
}

// Blocks keeps block lists (XEP-0191): bare and full addresses and domains.
type Blocks interface {
	Blocks(ctx context.Context, owner address.Address) ([]address.Address, error)
	AddBlocks(ctx context.Context, owner address.Address, blocked []address.Address, max int) error
	RemoveBlocks(ctx context.Context, owner address.Address, blocked []address.Address) error
	ClearBlocks(ctx context.Context, owner address.Address) error
}

// OfflineMessage is a message that waits for its addressee.
type OfflineMessage struct {
	ID  int64 // ascending
	At  time.Time
	Raw []byte
}

// Offline keeps messages for accounts that have no session (XEP-0160), and those
// that were acknowledged to their sender while their addressee has not yet
// acknowledged them (XEP-0198).
type Offline interface {
	// PushOffline returns the message's ID, or ErrFull when max messages or
	// maxBytes bytes would be exceeded.
	PushOffline(ctx context.Context, owner address.Address, at time.Time, raw []byte, max, maxBytes int) (int64, error)
	// OfflineMessages gives at most max messages behind the ID after, oldest first.
	OfflineMessages(ctx context.Context, owner address.Address, after int64, max int) ([]OfflineMessage, error)
	CountOffline(ctx context.Context, owner address.Address) (int, error)
	DeleteOffline(ctx context.Context, owner address.Address, ids ...int64) error
	// ExpireOffline removes what is older, and says how much it was.
	ExpireOffline(ctx context.Context, before time.Time) (int, error)
}

// ArchiveEntry is one message of an account's archive (XEP-0313).
type ArchiveEntry struct {
	// ID is unique within the archive and never used again. IDs are in the order
	// in which entries were added.
	ID   string
	At   time.Time
	With address.Address // the other side, full where that is known
	Raw  []byte
}

// ArchiveQuery selects entries. Zero fields do not restrict.
type ArchiveQuery struct {
	With       address.Address // bare: any resource
	Start, End time.Time       // inclusive
	AfterID    string          // not itself
	BeforeID   string
	IDs        []string // exactly these
	// Max is the size of the page; Backwards takes the page from the end. Its
	// entries are oldest first all the same.
	Max       int
	Backwards bool
	// MaxBytes ends the page before its entries are larger together; one entry it
	// has in any case.
	MaxBytes int
	// Total asks for the number of all that match, which costs.
	Total bool
	// Page position, RSM (XEP-0059): entries after or before this ID.
	PageAfter, PageBefore string
}

// ArchivePage is the answer to a query.
type ArchivePage struct {
	Entries  []ArchiveEntry
	Complete bool // nothing lies beyond this page in the direction of paging
	Total    int  // -1 unless asked for
	First    int  // index of the first entry among all that match, -1 unless asked for
}

// Archive keeps message histories.
type Archive interface {
	// Archive adds entries, each to the archive of its owner, and returns at once
	// with their IDs, which need no disk. done is closed when they are on disk or
	// have failed; then err tells which.
	Archive(ctx context.Context, entries []ArchiveAppend) (ids []string, done Pending)
	// QueryArchive returns ErrNotFound if AfterID, BeforeID, PageAfter, PageBefore
	// or one of IDs does not exist (XEP-0313 §4.3: item-not-found).
	QueryArchive(ctx context.Context, owner address.Address, q ArchiveQuery) (ArchivePage, error)
	// ArchiveEnds gives the first and the last entry, nil for an empty archive.
	ArchiveEnds(ctx context.Context, owner address.Address) (first, last *ArchiveEntry, err error)
	// ExpireArchive removes what is older from the archives of all accounts.
	ExpireArchive(ctx context.Context, before time.Time) (int, error)
}

// ArchiveAppend is an entry to add; its ID is given by the store.
type ArchiveAppend struct {
	Owner address.Address
	At    time.Time
	With  address.Address
	Raw   []byte
}

// Pending is a write that others may wait for.
type Pending interface {
	// Done is closed when the write is on disk or has failed.
	Done() <-chan struct{}
	// Err waits for Done and says why it failed, nil if it did not.
	Err() error
}

// Documents keeps one document of an account by kind and key: private XML
// storage (XEP-0049), the vCard (XEP-0054), archive preferences (XEP-0313 §7).
type Documents interface {
	Document(ctx context.Context, owner address.Address, kind, key string) ([]byte, error)
	// PutDocument fails with ErrFull when the account would have more than max
	// documents of that kind.
	PutDocument(ctx context.Context, owner address.Address, kind, key string, raw []byte, max int) error
	DeleteDocument(ctx context.Context, owner address.Address, kind, key string) error
	// ListDocuments gives the keys of a kind, in order.
	ListDocuments(ctx context.Context, owner address.Address, kind string) ([]string, error)
}

// Item is one item of a personal eventing node (XEP-0163).
type Item struct {
	ID        string
	Publisher address.Address
	At        time.Time
	Raw       []byte // the payload, nil for none
}

// Node is one personal eventing node.
type Node struct {
	Name   string
	Config []byte // its form (XEP-0060 §8.2) as XML, nil for the defaults
}

// LastItem is the newest item of a node.
type LastItem struct {
	Owner address.Address
	Node  Node
	Item  Item
}

// Items keeps personal eventing nodes and their items.
type Items interface {
	Nodes(ctx context.Context, owner address.Address) ([]Node, error)
	Node(ctx context.Context, owner address.Address, node string) (Node, error)
	// PutNode makes a node or gives it another configuration; ErrFull beyond max nodes.
	PutNode(ctx context.Context, owner address.Address, n Node, max int) error
	DeleteNode(ctx context.Context, owner address.Address, node string) error
	// PutItem adds or replaces an item and removes the oldest beyond keep.
	PutItem(ctx context.Context, owner address.Address, node string, it Item, keep int) error
	// Items gives the newest max items, newest first; or those of the IDs.
	Items(ctx context.Context, owner address.Address, node string, ids []string, max int) ([]Item, error)
	// LastItems gives the newest item of each of these nodes of each of these
	// owners, in the order of the owners, whatever number of them there is. Nodes
	// that do not exist or have no item are left out.
	LastItems(ctx context.Context, owners []address.Address, nodes []string) ([]LastItem, error)
	DeleteItem(ctx context.Context, owner address.Address, node, id string) error
	PurgeItems(ctx context.Context, owner address.Address, node string) error
	// ItemBytes is how long the payloads of an owner's items are together.
	ItemBytes(ctx context.Context, owner address.Address) (int64, error)
}

// Invite lets somebody make an account or a contact (XEP-0401, XEP-0379).
type Invite struct {
	Token   string
	Domain  string
	Inviter address.Address // bare; zero for the operator
	Local   string          // the name that is kept for the guest, "" for any
	Account bool            // an account may be made with it
	Contact bool            // the inviter becomes a contact
	Created time.Time
	Expires time.Time
	Uses    int // how often it can still be used
}

// Invites keeps invitations.
type Invites interface {
	CreateInvite(ctx context.Context, i Invite) error
	Invite(ctx context.Context, token string) (Invite, error)
	// UseInvite takes one use away, at once or not at all; ErrNotFound when there
	// is none left or it has expired at now.
	UseInvite(ctx context.Context, token string, now time.Time) (Invite, error)
	// ReturnInvite gives one use back that came to nothing.
	ReturnInvite(ctx context.Context, token string) error
	// ListInvites gives an inviter's, or those of all inviters of the domain for
	// a zero inviter.
	ListInvites(ctx context.Context, domain string, inviter address.Address) ([]Invite, error)
	DeleteInvite(ctx context.Context, token string) error
}

// Token is a FAST token (XEP-0484).
type Token struct {
	ClientID  string // the user agent's id
	Mechanism string // "HT-SHA-256-EXPR", …
	Secret    []byte
	Issued    time.Time
	Expires   time.Time
	Count     uint64 // the highest replay counter seen
}

// Tokens keeps FAST tokens: at most two per account and client, the current and
// the one before.
type Tokens interface {
	Tokens(ctx context.Context, owner address.Address, clientID string) ([]Token, error)
	// PutTokens replaces all tokens of that client; none removes them. Without the
	// account it fails with ErrNotFound.
	PutTokens(ctx context.Context, owner address.Address, clientID string, tokens []Token) error
	// DeleteTokens removes those of all clients, as after a password change.
	DeleteTokens(ctx context.Context, owner address.Address) error
}

// Certificate is a client certificate that an account accepts (XEP-0257).
type Certificate struct {
	Name        string
	Fingerprint [32]byte // SHA-256 of the DER bytes
	DER         []byte
	NoManage    bool // the holder may not change the list
	Added       time.Time
}

// Certificates keeps client certificates.
type Certificates interface {
	Certificates(ctx context.Context, owner address.Address) ([]Certificate, error)
	// PutCertificate replaces one of the same name; ErrFull beyond max.
	PutCertificate(ctx context.Context, owner address.Address, c Certificate, max int) error
	DeleteCertificate(ctx context.Context, owner address.Address, name string) error
	// CertificateOwners says which accounts accept a certificate.
	CertificateOwners(ctx context.Context, fingerprint [32]byte) ([]address.Address, error)
}
