package server

import "xmpp-gw/internal/address"

// Address is an XMPP address (RFC 7622), normalised, and compared with ==.
type Address = address.Address

// ParseAddress reads an address and normalises it.
func ParseAddress(s string) (Address, error) { return address.Parse(s) }
