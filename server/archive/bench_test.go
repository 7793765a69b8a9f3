package archive_test

import (
	"context"
	"strings"
	"testing"

	"xmpp-gw/server"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// BenchmarkMessages is a hundred messages from one client to another, with the archive
// and without. The clients' own work is in it.
func BenchmarkMessages(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(map[bool]string{false: "without", true: "with"}[with], func(b *testing.B) {
			db, err := store.Open(context.Background(), "sqlite:"+b.TempDir()+"/node/node.db", store.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			modules := []server.Module{ping.New()}
			if with {
				modules = append(modules, archive.New(db, archive.Options{Contacts: contacts{}}))
			}
			s := servertest.NewWith(b, func(c *server.Config) {
				c.Store = db
				c.Limits.Stanzas, c.Limits.Bytes = -1, -1
			}, modules...)
			romeo := servertest.Online(b, s, "romeo@example.org/orchard")
			juliet := servertest.Online(b, s, "juliet@example.org/balcony")
			burst := strings.Repeat("<message to='juliet@example.org/balcony' type='chat' id='0123456789'><body>What man art thou that stumblest on my counsel?</body><request xmlns='urn:xmpp:receipts'/></message>", 100)
			for b.Loop() {
				romeo.Send(burst)
				for range 100 {
					if _, err := juliet.Next(); err != nil {
						b.Fatal(err)
					}
				}
			}
			s.Stop(b)
		})
	}
}
