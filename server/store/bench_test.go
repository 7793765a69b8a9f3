//go:build unix

package store

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"xmpp-gw/internal/address"
)

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkArchive is the archive of a busy node: messages between 2,000
// accounts, each kept for both. One iteration is one message, that is two rows.
// The figure that counts is cpu-µs/row.
func BenchmarkArchive(b *testing.B) {
	accounts := make([]address.Address, 2000)
	for i := range accounts {
		accounts[i] = address.Address{Local: fmt.Sprintf("user%04d", i), Domain: "capulet.example", Resource: "balcony-4711"}
	}
	body := strings.Repeat("a rose by any other name ", 8)
	for _, e := range engines(b) {
		for _, rate := range []int{0, 1000, 5000} { // messages a second; 0: as fast as it goes
			b.Run(fmt.Sprintf("%s/rate=%d", e.name, rate), func(b *testing.B) {
				d := e.open(b)
				ctx := context.Background()
				var last Pending
				raw := make([]byte, 0, 1024)
				began, start := cpu(), time.Now()
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					from, to := accounts[(i*7919)%2000], accounts[(i*104729+i/2000)%2000]
					raw = fmt.Appendf(raw[:0], `<message xmlns="jabber:client" id="m%d" type="chat" from="%s" to="%s"><body>%s</body></message>`, i, from, to, body)
					now := time.Now()
					_, last = d.Archive(ctx, []ArchiveAppend{{from, now, to, raw}, {to, now, from, raw}})
					if rate > 0 && i%10 == 9 {
						time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
					}
				}
				if err := last.Err(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64((cpu()-began).Microseconds())/float64(2*b.N), "cpu-µs/row")
				b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msg/s")
			})
		}
	}
}
