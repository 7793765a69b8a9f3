package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
)

// runCopyRelay is what the gateway is compared with: TLS on both legs and
// io.Copy between them. It prints its address and serves until it is killed.
func runCopyRelay(upstream, dir string) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"))
	if err != nil {
		return err
	}
	roots, err := loadRoots(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			up, err := tls.Dial("tcp", upstream, &tls.Config{RootCAs: roots, ServerName: domain, MinVersion: tls.VersionTLS13})
			if err != nil {
				_ = c.Close()
				return
			}
			go half(up, c)
			half(c, up)
		}()
	}
}

func half(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_ = dst.Close()
}
