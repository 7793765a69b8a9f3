package server

// Counts says how many clients a server has.
type Counts struct {
	Connections int // logged in or not
	Sessions    int // bound ones, also those that wait to be resumed
	Waiting     int // of them, those that have no connection now
}

// Counts counts them.
func (s *Server) Counts() Counts {
	var c Counts
	s.mu.Lock()
	c.Connections = len(s.links)
	s.mu.Unlock()
	for _, one := range s.table.all() {
		c.Sessions++
		if one.waiting() {
			c.Waiting++
		}
	}
	return c
}
