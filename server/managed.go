package server

// Managed reports whether stream management is on (XEP-0198 §3): the client is told
// which of its stanzas are dealt with, and tells which it has received.
func (s *Session) Managed() bool { return s.out.managed() }
