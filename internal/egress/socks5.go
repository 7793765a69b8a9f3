package egress

import (
	"errors"
	"fmt"
	"io"
)

// The SOCKS5 numbers of RFC 1928 and RFC 1929 that a client needs.
const (
	socksVersion = 0x05

	methodNone     = 0x00
	methodPassword = 0x02
	methodRefused  = 0xFF

	passwordVersion = 0x01

	commandConnect = 0x01

	addressIPv4 = 0x01
	addressName = 0x03
	addressIPv6 = 0x04
)

// replyCode is a reply of the proxy other than success, as an error.
type replyCode byte

func (c replyCode) Error() string { return fmt.Sprintf("SOCKS reply %02X", byte(c)) }

// Failures of the proxy itself, before it tried the destination.
var (
	errNotSOCKS = errors.New("what listens there does not speak SOCKS5")
	errMethod   = errors.New("the proxy takes neither of the ways to log in that were offered")
	errPassword = errors.New("the proxy does not accept the username and password")
)

// greet agrees on version and login with the proxy (RFC 1928 §3, RFC 1929 §2).
//
// With an isolation only username/password is offered: a proxy that chose "no
// authentication" would put two accounts on one circuit without a word.
func greet(rw io.ReadWriter, iso Isolation) error {
	method := byte(methodNone)
	if iso != (Isolation{}) {
		method = methodPassword
		if iso.User == "" || len(iso.User) > 255 || len(iso.Password) > 255 {
			return errors.New("SOCKS username or password is empty or longer than 255 bytes")
		}
	}
	if _, err := rw.Write([]byte{socksVersion, 1, method}); err != nil {
		return err
	}
	var b [2]byte
	if _, err := io.ReadFull(rw, b[:]); err != nil {
		return err
	}
	switch {
	case b[0] != socksVersion:
		return errNotSOCKS
	case b[1] == methodRefused:
		return errMethod
	case b[1] != method:
		return errNotSOCKS // it chose what was not offered
	case method == methodNone:
		return nil
	}

	login := append([]byte{passwordVersion, byte(len(iso.User))}, iso.User...)
	login = append(append(login, byte(len(iso.Password))), iso.Password...)
	if _, err := rw.Write(login); err != nil {
		return err
	}
	if _, err := io.ReadFull(rw, b[:]); err != nil {
		return err
	}
	if b[0] != passwordVersion {
		return errNotSOCKS
	}
	if b[1] != 0 {
		return errPassword
	}
	return nil
}

// connect asks the proxy for a connection to dst.
func connect(rw io.ReadWriter, dst destination) error { return request(rw, commandConnect, dst) }

// request gives the proxy a command and reads the reply to its last byte and no
// further: what follows belongs to the destination (RFC 1928 §4 and §6). A reply
// that is not success is a replyCode.
func request(rw io.ReadWriter, command byte, dst destination) error {
	req := []byte{socksVersion, command, 0}
	switch {
	case !dst.ip.IsValid():
		// The name goes as it is: only the far end of the route resolves it.
		req = append(append(req, addressName, byte(len(dst.host))), dst.host...)
	case dst.ip.Is4():
		req = append(append(req, addressIPv4), dst.ip.AsSlice()...)
	default:
		req = append(append(req, addressIPv6), dst.ip.AsSlice()...)
	}
	req = append(req, byte(dst.port>>8), byte(dst.port))
	if _, err := rw.Write(req); err != nil {
		return err
	}

	var head [4]byte // version, reply, reserved, address type
	if n, err := io.ReadFull(rw, head[:]); err != nil {
		// Some proxies hang up behind the code of a failure.
		if n >= 2 && head[0] == socksVersion && head[1] != 0 {
			return replyCode(head[1])
		}
		return err
	}
	if head[0] != socksVersion {
		return errNotSOCKS
	}
	if head[1] != 0 {
		return replyCode(head[1])
	}
	size := 0
	switch head[3] {
	case addressIPv4:
		size = 4
	case addressIPv6:
		size = 16
	case addressName:
		var n [1]byte
		if _, err := io.ReadFull(rw, n[:]); err != nil {
			return err
		}
		size = int(n[0])
	default:
		return errNotSOCKS
	}
	bound := make([]byte, size+2) // the proxy's own end, of no use here
	_, err := io.ReadFull(rw, bound)
	return err
}
