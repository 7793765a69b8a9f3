package lab

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// SOCKSRequest is one connection that a SOCKSServer was asked for, or that
// ended before it asked.
type SOCKSRequest struct {
	Target   string // HOST:PORT as asked for; empty when the client never got so far
	Name     bool   // asked by name (RFC 1928 §5, address type 3), not by number
	User     string // of RFC 1929; empty without login
	Password string
	Reply    byte // the reply code that was sent
}

// SOCKSPhase is a point in a SOCKS5 exchange.
type SOCKSPhase int

// The phases at which a server can be told to hang.
const (
	SOCKSNever   SOCKSPhase = iota
	SOCKSHello              // never answers the greeting
	SOCKSLogin              // never answers the username and password
	SOCKSConnect            // never answers the request
)

// SOCKSFault is what a SOCKSServer does wrong. The zero value is an honest
// server.
type SOCKSFault struct {
	Code        byte       // refuse every request with this reply code
	Hang        SOCKSPhase // take what comes and never answer
	RejectLogin bool       // answer the login with failure
	NoLogin     bool       // refuse clients that offer only username/password
	Raw         []byte     // send these bytes in place of the first answer, then hang up
	RawReply    []byte     // send these bytes in place of the reply, then hang up
	DieAfter    int        // cut a connection after so many bytes toward the client; 0: never
}

// SOCKSServer is a SOCKS5 proxy for tests. It resolves only the names of its
// table, which nobody else knows: a connection that arrives went through it.
//
// It passes for a Tor: the question by which one is recognised, RESOLVE of a
// number (Tor's socks-extensions §2), gets Tor's answer and is no request.
type SOCKSServer struct {
	listener net.Listener

	mu       sync.Mutex
	table    map[string]string
	steer    func(SOCKSRequest) string
	fault    SOCKSFault
	requests []SOCKSRequest
	conns    map[net.Conn]struct{}
	closed   bool
	wg       sync.WaitGroup
}

// SOCKSStart listens on a TCP address ("127.0.0.1:0") or, for network "unix",
// on a path. The table maps HOST:PORT, as asked for, to a local address:
// IP:PORT or unix:/PATH; what is not in it gets reply 04.
func SOCKSStart(network, address string, table map[string]string) (*SOCKSServer, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	s := &SOCKSServer{listener: l, table: map[string]string{}, conns: map[net.Conn]struct{}{}}
	for k, v := range table {
		s.table[strings.ToLower(k)] = v
	}
	s.wg.Add(1)
	go s.accept()
	return s, nil
}

// Addr is the server's address: IP:PORT or unix:/PATH.
func (s *SOCKSServer) Addr() string {
	if s.listener.Addr().Network() == "unix" {
		return "unix:" + s.listener.Addr().String()
	}
	return s.listener.Addr().String()
}

// Map adds a line to the table, or replaces it.
func (s *SOCKSServer) Map(target, local string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table[strings.ToLower(target)] = local
}

// Steer lets f say where a request leads, in place of the table: to a local address,
// or with "" to where the table says. It sees whose circuit it is, and is called from
// the connections' own goroutines.
func (s *SOCKSServer) Steer(f func(SOCKSRequest) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steer = f
}

// SetFault changes what the server does wrong with connections from now on.
func (s *SOCKSServer) SetFault(f SOCKSFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Requests are the connections so far, in order of their end of negotiation.
func (s *SOCKSServer) Requests() []SOCKSRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]SOCKSRequest(nil), s.requests...)
}

// Open is the number of connections from clients that are open now.
func (s *SOCKSServer) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close ends the server and all its connections, and waits for them.
func (s *SOCKSServer) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.wg.Wait()
	return err
}

func (s *SOCKSServer) accept() {
	defer s.wg.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			conn.Close()
			return
		}
		s.conns[conn] = struct{}{}
		fault := s.fault
		s.wg.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.wg.Done()
			s.serve(conn, fault)
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		}()
	}
}

// serve runs one connection.
func (s *SOCKSServer) serve(conn net.Conn, fault SOCKSFault) {
	var req SOCKSRequest
	upstream, err := s.negotiate(conn, fault, &req)
	if err == errSOCKSResolved {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()
	if err != nil {
		return
	}
	// Only now, so that a client that has the reply finds its request recorded.
	conn.Write([]byte{5, req.Reply, 0, 1, 0, 0, 0, 0, 0, 0})
	if upstream == nil {
		return
	}
	defer upstream.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(upstream, conn)
		socksCloseWrite(upstream)
	}()
	if fault.DieAfter > 0 {
		io.CopyN(conn, upstream, int64(fault.DieAfter))
		upstream.Close()
		conn.Close()
	} else {
		io.Copy(conn, upstream)
		socksCloseWrite(conn)
	}
	<-done
}

// negotiate is the server's half of RFC 1928 and RFC 1929 up to the reply, which
// it leaves in req. The connection is nil when the reply is a refusal.
func (s *SOCKSServer) negotiate(conn net.Conn, fault SOCKSFault, req *SOCKSRequest) (net.Conn, error) {
	hang := func() error { io.Copy(io.Discard, conn); return errors.New("told to hang") }

	methods, err := socksRead(conn, 1, 1)
	if err != nil {
		return nil, err
	}
	switch {
	case fault.Raw != nil:
		conn.Write(fault.Raw)
		return nil, errors.New("told to send other bytes")
	case fault.Hang == SOCKSHello:
		return nil, hang()
	}
	login := strings.IndexByte(string(methods), 2) >= 0
	switch {
	case login && fault.NoLogin:
		conn.Write([]byte{5, 0xFF})
		return nil, errors.New("told to refuse logins")
	case login:
		conn.Write([]byte{5, 2})
		user, err := socksRead(conn, 1, 1) // version, then a string with its length
		if err != nil {
			return nil, err
		}
		password, err := socksRead(conn, 0, 1)
		if err != nil {
			return nil, err
		}
		req.User, req.Password = string(user), string(password)
		if fault.Hang == SOCKSLogin {
			return nil, hang()
		}
		if fault.RejectLogin {
			conn.Write([]byte{1, 1})
			return nil, errors.New("told to refuse the login")
		}
		conn.Write([]byte{1, 0})
	default:
		conn.Write([]byte{5, 0})
	}

	if err := socksTarget(conn, req); err != nil {
		return nil, err
	}
	switch {
	case fault.Hang == SOCKSConnect:
		return nil, hang()
	case fault.RawReply != nil:
		conn.Write(fault.RawReply)
		return nil, errors.New("told to send other bytes")
	}
	s.mu.Lock()
	local, known := s.table[strings.ToLower(req.Target)]
	steer := s.steer
	s.mu.Unlock()
	if steer != nil {
		if to := steer(*req); to != "" {
			local, known = to, true
		}
	}
	req.Reply = fault.Code
	var upstream net.Conn
	if req.Reply == 0 && !known {
		req.Reply = 4
	}
	if req.Reply == 0 {
		network, address := "tcp", local
		if path, ok := strings.CutPrefix(local, "unix:"); ok {
			network, address = "unix", path
		}
		if upstream, err = net.Dial(network, address); err != nil {
			req.Reply = 5
		}
	}
	return upstream, nil
}

// socksRead skips bytes and reads a string that has its length before it.
func socksRead(r io.Reader, skip, size int) ([]byte, error) {
	head := make([]byte, skip+size)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	b := make([]byte, head[skip])
	_, err := io.ReadFull(r, b)
	return b, err
}

// errSOCKSResolved is a request that was a question, and has its answer.
var errSOCKSResolved = errors.New("resolved")

// socksTarget reads the request.
func socksTarget(r io.ReadWriter, req *SOCKSRequest) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	const connect, resolve = 1, 0xF0
	if head[0] != 5 || head[1] != connect && head[1] != resolve {
		return errors.New("neither CONNECT nor RESOLVE of SOCKS5")
	}
	host := ""
	switch head[3] {
	case 1, 4:
		b := make([]byte, map[byte]int{1: 4, 4: 16}[head[3]])
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		ip, _ := netip.AddrFromSlice(b)
		host = ip.String()
	case 3:
		b, err := socksRead(r, 0, 1)
		if err != nil {
			return err
		}
		host, req.Name = string(b), true
	default:
		return errors.New("unknown address type")
	}
	port := make([]byte, 2)
	if _, err := io.ReadFull(r, port); err != nil {
		return err
	}
	req.Target = net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port))))
	if head[1] == resolve {
		ip, err := netip.ParseAddr(host)
		if err != nil || !ip.Is4() {
			return errors.New("RESOLVE of a name")
		}
		r.Write(append(append([]byte{5, 0, 0, 1}, ip.AsSlice()...), 0, 0))
		return errSOCKSResolved
	}
	return nil
}

// socksCloseWrite passes on the end of one direction.
func socksCloseWrite(c net.Conn) {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		h.CloseWrite()
	}
}
