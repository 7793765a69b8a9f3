package registration

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Names are the rules for names that people choose for themselves. The zero value is
// the default. Operators may give any name.
type Names struct {
	Min, Max int // characters; default 1 and 64
	// Reserved are names that nobody may choose; nil: [ReservedNames].
	Reserved []string
}

// ReservedNames are names that people take for the operator's (RFC 2142 among
// others).
func ReservedNames() []string {
	return []string{
		"abuse", "admin", "administrator", "contact", "daemon", "help", "helpdesk", "hostmaster", "info", "mail", "moderator", "news",
		"noc", "noreply", "nobody", "official", "operator", "owner", "postmaster", "register", "registration", "root", "security",
		"server", "service", "staff", "support", "sysadmin", "system", "trouble", "webmaster", "xmpp",
	}
}

// Check says why a name, normalised, may not be chosen: a sentence, "" if it may.
func (n Names) Check(local string) (why string) {
	shortest, longest, reserved := max(n.Min, 1), n.Max, n.Reserved
	if longest <= 0 {
		longest = 64
	}
	if reserved == nil {
		reserved = ReservedNames()
	}
	switch count := utf8.RuneCountInString(local); {
	case count < shortest:
		return fmt.Sprintf("The name is too short: it must have at least %d characters.", shortest)
	case count > longest:
		return fmt.Sprintf("The name is too long: it must have at most %d characters.", longest)
	case slices.Contains(reserved, local), slices.Contains(reserved, plain(local)):
		return "The name is reserved; choose another one."
	}
	return ""
}

// plain is a name without what does not catch the eye: "ad-min" looks like "admin".
func plain(local string) string {
	return strings.TrimRight(strings.NewReplacer(".", "", "-", "", "_", "").Replace(local), "0123456789")
}

// Passwords are the rules for passwords that people choose for themselves. The zero
// value is the default. That a password can be used at all is not decided here.
type Passwords struct {
	Min int // characters, default 8
}

// Check says why a password may not be chosen for a name: a sentence, "" if it may.
func (p Passwords) Check(password, local string) (why string) {
	shortest := p.Min
	if shortest <= 0 {
		shortest = 8
	}
	first, _ := utf8.DecodeRuneInString(password)
	switch {
	case utf8.RuneCountInString(password) < shortest:
		return fmt.Sprintf("The password is too short: it must have at least %d characters.", shortest)
	case strings.Trim(password, string(first)) == "":
		return "The password is one character again and again; choose another one."
	case strings.EqualFold(password, local):
		return "The password is the name; choose another one."
	}
	return ""
}
