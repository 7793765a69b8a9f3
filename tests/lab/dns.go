package lab

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// DNSZone is a table of what a DNSServer knows: the records of each name,
// without owner and time to live ("SRV 0 5 5222 xmpp.example.test.",
// "A 127.0.0.1", "CNAME other.test."). A name that is only the end of others
// exists and has no records; all else does not exist.
type DNSZone map[string][]string

// DNSFault is what a DNSServer does wrong. The zero value is an honest server.
type DNSFault struct {
	Empty         bool          // no records, whatever the zone says
	Rcode         int           // answer with this response code and no records
	Silent        bool          // read the query and never answer
	Delay         time.Duration // answer later
	Hangup        bool          // close the connection in place of an answer
	Once          bool          // close the connection behind the answer
	Truncate      bool          // set TC, with no records (TCP included)
	Referral      bool          // an empty answer from a server that does not recurse
	OtherName     bool          // records of another name than the one asked for
	OtherQuestion bool          // the answer to another question
	OtherID       bool          // an answer with an id that nobody used
	Lie           []string      // these records in place of the zone's
	Flood         int           // so many SRV records, as far as they fit in a message
	Raw           []byte        // these bytes in place of the message (its length is right)
}

// DNSQuery is one query that a DNSServer got.
type DNSQuery struct {
	Name   string // in lower case, without final dot
	Type   string // "SRV", "A" …
	Over   string // "udp", "tcp" or "tls"
	Size   int    // of the whole message
	Padded bool   // it has EDNS0 padding (RFC 7830)
}

// DNSServer is an authoritative DNS server on loopback, over TCP and UDP on one
// port and over TLS on another. Above its zone stands a root that is signed, with a
// key of the server's own ([DNSServer.Section]), and under which no domain is: to
// DNSSEC all that it says is insecure.
type DNSServer struct {
	tcp, tls net.Listener // tls is nil without a certificate
	udp      net.PacketConn
	root     *SignedTree

	mu      sync.Mutex
	zone    map[string][]dns.RR
	faults  map[string]DNSFault
	queries []DNSQuery
	dialed  int
	conns   map[net.Conn]struct{}
	closed  chan struct{}
	wg      sync.WaitGroup
}

// DNSStart serves zone. With a tls.Config it also serves DNS over TLS.
func DNSStart(zone DNSZone, conf *tls.Config) (*DNSServer, error) {
	s := &DNSServer{zone: map[string][]dns.RR{}, faults: map[string]DNSFault{}, root: SignTree(time.Now()),
		conns: map[net.Conn]struct{}{}, closed: make(chan struct{})}
	for name, lines := range zone {
		rrs, err := dnsRecords(name, lines)
		if err != nil {
			return nil, err
		}
		s.zone[dnsKey(name)] = rrs
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.wg.Add(2)
	go s.accept(s.tcp, "tcp")
	go s.serveUDP()
	if conf != nil {
		l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.tls = l
		s.wg.Add(1)
		go s.accept(l, "tls")
	}
	return s, nil
}

// listen takes a port that is free for both TCP and UDP.
func (s *DNSServer) listen() error {
	var last error
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			s.tcp, s.udp = l, u
			return nil
		}
		l.Close()
		last = err
	}
	return last
}

// Addr is IP:PORT of DNS over TCP and UDP.
func (s *DNSServer) Addr() string { return s.tcp.Addr().String() }

// TCP is the server as the configuration spells it.
func (s *DNSServer) TCP() string { return "tcp://" + s.Addr() }

// TLS is the server over TLS as the configuration spells it, to be verified by
// name, or by its address when name is empty.
func (s *DNSServer) TLS(name string) string {
	if name != "" {
		name = "#" + name
	}
	return "tls://" + s.tls.Addr().String() + name
}

// Section is the [dns] section of a gateway that reaches this server as server
// ("tcp://HOST:PORT") and trusts its root, whose key goes to a file in dir.
func (s *DNSServer) Section(server, dir string) (string, error) { return s.root.Section(server, dir) }

// SetFault changes what the server does wrong with queries for name, or with
// all queries for which nothing else is set when name is empty.
func (s *DNSServer) SetFault(name string, f DNSFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[dnsKey(name)] = f
}

// SetRecords replaces the records of a name. It panics on a line that is no
// record, as that is a mistake in the test.
func (s *DNSServer) SetRecords(name string, lines ...string) {
	rrs, err := dnsRecords(name, lines)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[dnsKey(name)] = rrs
}

// Queries are the queries so far.
func (s *DNSServer) Queries() []DNSQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]DNSQuery(nil), s.queries...)
}

// Connections is the number of TCP and TLS connections so far.
func (s *DNSServer) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialed
}

// Open is the number of connections that are open now.
func (s *DNSServer) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close ends the server and its connections, and waits for them.
func (s *DNSServer) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.closed)
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	err := errors.Join(s.tcp.Close(), s.udp.Close())
	if s.tls != nil {
		err = errors.Join(err, s.tls.Close())
	}
	s.wg.Wait()
	return err
}

func dnsKey(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// dnsRecords reads the lines of a zone.
func dnsRecords(name string, lines []string) ([]dns.RR, error) {
	var rrs []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(dns.Fqdn(name) + " 60 IN " + line)
		if err != nil || rr == nil {
			return nil, fmt.Errorf("zone: %s: %q is no record: %v", name, line, err)
		}
		rrs = append(rrs, rr)
	}
	return rrs, nil
}

func (s *DNSServer) accept(l net.Listener, over string) {
	defer s.wg.Done()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		select {
		case <-s.closed:
			s.mu.Unlock()
			conn.Close()
			return
		default:
		}
		s.dialed++
		s.conns[conn] = struct{}{}
		s.wg.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.wg.Done()
			s.serveStream(conn, over)
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		}()
	}
}

// serveStream answers the queries of one connection, each as soon as it can
// (RFC 7766 §6.2.1.1), so that a delayed one does not hold up the next.
func (s *DNSServer) serveStream(conn net.Conn, over string) {
	var writing sync.Mutex
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		wire := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, wire); err != nil {
			return
		}
		pending.Add(1)
		go func() {
			defer pending.Done()
			answer, hangup := s.answer(wire, over)
			if answer != nil {
				writing.Lock()
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
				writing.Unlock()
			}
			if hangup {
				conn.Close()
			}
		}()
	}
}

// serveUDP answers datagrams. Faults hold here too.
func (s *DNSServer) serveUDP() {
	defer s.wg.Done()
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer, _ := s.answer(append([]byte(nil), buf[:n]...), "udp"); answer != nil {
			s.udp.WriteTo(answer, from)
		}
	}
}

// answer makes the reply to a query: nil for none, and whether to hang up.
func (s *DNSServer) answer(wire []byte, over string) (reply []byte, hangup bool) {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil || len(q.Question) != 1 {
		return nil, true
	}
	name := dnsKey(q.Question[0].Name)
	s.mu.Lock()
	s.queries = append(s.queries, DNSQuery{Name: name, Type: dns.TypeToString[q.Question[0].Qtype],
		Over: over, Size: len(wire), Padded: dnsPadded(q)})
	fault, ok := s.faults[name]
	if !ok {
		fault = s.faults[""]
	}
	r := s.lookup(q)
	s.mu.Unlock()

	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-s.closed:
			return nil, true
		}
	}
	switch {
	case fault.Silent:
		return nil, false
	case fault.Hangup:
		return nil, true
	case fault.Raw != nil:
		return fault.Raw, false
	}
	fault.spoil(q, r)
	for {
		b, err := r.Pack()
		if err == nil && len(b) <= dns.MaxMsgSize {
			return b, fault.Once
		}
		if len(r.Answer) == 0 {
			return nil, true
		}
		r.Answer = r.Answer[:len(r.Answer)*9/10]
	}
}

// lookup is the honest answer; the caller holds the lock.
func (s *DNSServer) lookup(q *dns.Msg) *dns.Msg {
	r := new(dns.Msg)
	r.SetReply(q)
	r.Authoritative, r.RecursionAvailable, r.Compress = true, true, true
	if q.IsEdns0() != nil {
		r.SetEdns0(1232, false)
	}
	name, qtype := q.Question[0].Name, q.Question[0].Qtype
	if r := s.rootAnswer(q); r != nil {
		return r
	}
	for range 8 {
		rrs, ok := s.zone[dnsKey(name)]
		if !ok && !s.above(dnsKey(name)) {
			r.Rcode = dns.RcodeNameError
			return r
		}
		alias := ""
		for _, rr := range rrs {
			if t := rr.Header().Rrtype; t == qtype || t == dns.TypeCNAME {
				rr = dns.Copy(rr)
				rr.Header().Name = name // as spelled in the question: Tor's exits check the case
				r.Answer = append(r.Answer, rr)
				if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
					alias = c.Target
				}
			}
		}
		if alias == "" {
			return r
		}
		name = alias
	}
	return r
}

// rootAnswer is what the root says of its keys, and of those of the domains below
// it; nil for other questions.
func (s *DNSServer) rootAnswer(q *dns.Msg) *dns.Msg {
	name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	switch {
	case name == "." && qtype == dns.TypeDNSKEY:
		r, _ := s.root.Exchange(context.Background(), q)
		return r
	case name == "." || qtype != dns.TypeDS || dns.CountLabel(name) > 1:
		return nil
	}
	// There is a domain of whatever name, and it is not signed (RFC 4470).
	r := new(dns.Msg).SetReply(q)
	r.RecursionAvailable = true
	r.SetEdns0(1232, true)
	gap := &dns.NSEC{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300},
		NextDomain: `\000.` + name, TypeBitMap: []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}}
	r.Ns = []dns.RR{gap, s.root.Zone(".").Sign([]dns.RR{gap}, nil)}
	return r
}

// above reports whether a name of the zone ends in name.
func (s *DNSServer) above(name string) bool {
	for k := range s.zone {
		if strings.HasSuffix(k, "."+name) {
			return true
		}
	}
	return false
}

// spoil turns an honest reply into what the fault asks for.
func (f DNSFault) spoil(q, r *dns.Msg) {
	name := q.Question[0].Name
	if f.Lie != nil {
		r.Rcode = dns.RcodeSuccess
		r.Answer, _ = dnsRecords(name, f.Lie)
	}
	if f.Flood > 0 {
		r.Rcode, r.Answer = dns.RcodeSuccess, nil
		for i := range f.Flood {
			r.Answer = append(r.Answer, &dns.SRV{
				Hdr:      dns.RR_Header{Name: name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 60},
				Priority: uint16(f.Flood - i), Port: 5222, Target: fmt.Sprintf("h%d.", i)})
		}
	}
	if f.OtherName {
		for _, rr := range r.Answer {
			rr.Header().Name = "other." + name
		}
	}
	if f.OtherQuestion {
		r.Question[0].Name = "other." + name
		for _, rr := range r.Answer {
			rr.Header().Name = "other." + name
		}
	}
	if f.OtherID {
		r.Id++
	}
	if f.Truncate {
		r.Truncated, r.Answer = true, nil
	}
	if f.Rcode != 0 {
		r.Rcode, r.Answer = f.Rcode, nil
	}
	if f.Empty || f.Referral {
		r.Rcode, r.Answer = dns.RcodeSuccess, nil
	}
	if f.Referral {
		r.Authoritative, r.RecursionAvailable = false, false
	}
}

// dnsPadded reports whether a query carries the padding option.
func dnsPadded(q *dns.Msg) bool {
	opt := q.IsEdns0()
	if opt == nil {
		return false
	}
	for _, o := range opt.Option {
		if o.Option() == dns.EDNS0PADDING {
			return true
		}
	}
	return false
}
