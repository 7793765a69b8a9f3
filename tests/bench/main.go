// Command bench measures the gateway from outside and prints one line a figure:
//
//	BENCH name value unit
//
// Figures that depend on the machine are ratios, taken in one run against a
// relay that does the least possible: io.Copy between the same two TLS legs, in
// a process of its own as the gateway is. Client and server are the same for
// both and live in this process. The way through an onion service, on a private
// Tor network, is compared with the same client and its own SOCKS support.
//
//	go run ./tests/bench -gateway bin/xmpp-gw
package main

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"time"
)

func main() {
	gateway := flag.String("gateway", "bin/xmpp-gw", "the gateway's binary")
	rounds := flag.Int("rounds", 7, "rounds of each comparison; the median counts")
	sessions := flag.Int("sessions", 2000, "idle sessions to hold")
	profile := flag.Duration("only-load", 0, "send messages through the gateway for this long and measure nothing (to profile it)")
	onlyOnion := flag.Bool("only-onion", false, "measure the way through an onion service alone")
	onlyCheck := flag.Bool("only-check", false, "measure a full check of one server alone, and print what it waits for")
	copyRelay := flag.String("copy-relay", "", "be the io.Copy relay to this address (used by the program itself)")
	dir := flag.String("dir", "", "directory of the certificates (used by the program itself)")
	flag.Parse()
	if *copyRelay != "" {
		check(runCopyRelay(*copyRelay, *dir))
		return
	}
	if *onlyCheck {
		check(measureCheck(1, true))
		return
	}
	b, err := newGrounds(*gateway)
	check(err)
	defer b.Close()
	if *profile > 0 {
		check(b.load(*profile))
		return
	}
	if *onlyOnion {
		check(b.throughOnion(*gateway, *rounds))
		return
	}
	check(engine(*rounds))
	check(b.throughput(*rounds))
	check(b.latency(*rounds))
	check(b.idle(*sessions))
	check(b.throughOnion(*gateway, *rounds))
	check(measureCheck(*rounds, false))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func report(name string, value float64, unit string) {
	fmt.Printf("BENCH %s %.3g %s\n", name, value, unit)
}

func median[T float64 | time.Duration](v []T) T {
	s := append([]T(nil), v...)
	sort.Slice(s, func(i, j int) bool { return s[i] < s[j] })
	return s[len(s)/2]
}

// message is a chat message of 340 bytes.
var message = func() []byte {
	head := "<message xmlns='jabber:client' to='juliet@bench.example/balcony' from='romeo@bench.example/orchard' type='chat' id='5f6b1c0e-b6ae-4e3f-8a29-6f1f9c5c9a11'><body>"
	tail := "</body><request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
	text := "Neither, fair saint, if either thee dislike. My life were better ended by their hate, than death prorogued, wanting of thy love."
	m := head + text
	return []byte(m[:340-len(tail)] + tail)
}()

// burst is as many messages as fit in one TLS record.
var burst = func() []byte {
	var b []byte
	for len(b)+len(message) <= 16<<10 {
		b = append(b, message...)
	}
	return b
}()
