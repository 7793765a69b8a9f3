package tests

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xmpp-gw/internal/control"
	"xmpp-gw/server/servertest"
	"xmpp-gw/tests/daemon"
)

// newNode starts a daemon with the node that comes without a configuration, and
// nothing else.
func newNode(t *testing.T, node string) *daemon.Daemon {
	t.Helper()
	return daemon.Run(t, daemon.Options{Config: "[tor]\nmode = \"off\"\n[default]\nroute = \"block\"\n[node]\n" + node})
}

// clientOf opens a stream to the daemon, inside TLS by the machine's own authority.
func clientOf(t *testing.T, d *daemon.Daemon, domain string) *servertest.Client {
	t.Helper()
	pem, err := os.ReadFile(d.CA)
	must(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the authority is none")
	}
	c := servertest.Raw(t, d.C2S)
	c.Domain = domain
	c.Open()
	c.StartTLS(&tls.Config{RootCAs: roots, ServerName: domain, MinVersion: tls.VersionTLS13})
	return c
}

// online logs in to an account with servertest's password.
func online(t *testing.T, d *daemon.Daemon, domain, local, resource string) *servertest.Client {
	t.Helper()
	c := clientOf(t, d, domain)
	c.Login(local)
	c.Bind(resource)
	return c
}

// register makes an account with an invitation, as a client does that was given the
// link.
func register(t *testing.T, d *daemon.Daemon, link, local string) {
	t.Helper()
	u, err := url.Parse(strings.TrimSpace(link))
	must(t, err)
	domain := u.Opaque[strings.LastIndexByte(u.Opaque, '@')+1:]
	_, token, ok := strings.Cut(u.RawQuery, "preauth=")
	if !ok || u.Scheme != "xmpp" {
		t.Fatalf("%q is no invitation", link)
	}
	token, _, _ = strings.Cut(token, ";")
	c := clientOf(t, d, domain)
	c.Sendf("<iq type='set' id='t' to='%s'><preauth xmlns='urn:xmpp:pars:0' token='%s'/></iq>", domain, token)
	c.Expect("<iq type='result' id='t'/>")
	c.Sendf("<iq type='set' id='r' to='%s'><query xmlns='jabber:iq:register'><username>%s</username><password>%s</password></query></iq>", domain, local, servertest.Password)
	c.Expect("<iq type='result' id='r'/>")
	c.Close()
}

// What a fresh machine is for: two people make accounts by invitation, add each
// other, chat, go offline and find their messages, also after a crash.
func TestNode(t *testing.T) {
	t.Parallel()
	d := newNode(t, "")
	// The first run says how to begin.
	first := d.Log()
	i := strings.Index(first, "xmpp:localhost?register;preauth=")
	if i < 0 || !strings.Contains(first, "`xmpp-gw account add NAME`") {
		t.Fatalf("no invitation in\n%s", first)
	}
	link, _, _ := strings.Cut(first[i:], "\n")
	register(t, d, link, "romeo")
	second, err := d.Command(t.Context(), "account invite")
	must(t, err)
	register(t, d, second, "juliet")

	romeo := online(t, d, "localhost", "romeo", "orchard")
	juliet := online(t, d, "localhost", "juliet", "balcony")
	for _, c := range []*servertest.Client{romeo, juliet} {
		c.Send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>")
		c.Drain()
	}
	romeo.Send("<presence type='subscribe' to='juliet@localhost'/>")
	juliet.Expect("<presence type='subscribe' from='romeo@localhost'/>")
	juliet.Send("<presence type='subscribed' to='romeo@localhost'/><presence type='subscribe' to='romeo@localhost'/>")
	settle := func() { // what each of them caused has reached the other
		for range 2 {
			for _, c := range []*servertest.Client{romeo, juliet} {
				c.Drain()
			}
		}
	}
	settle()
	romeo.Send("<presence type='subscribed' to='juliet@localhost'/>")
	settle()
	romeo.Send("<message to='juliet@localhost' type='chat'><body>Call me but love</body></message>")
	juliet.Expect("<message from='romeo@localhost/orchard' type='chat'><body>Call me but love</body></message>")

	if sessions := d.Sessions(t, "localhost"); len(sessions) != 2 || sessions[0].Route != "node" || sessions[0].Endpoint != "" {
		t.Errorf("status shows %+v", sessions)
	}
	if n := d.Report(t).Status.Node; n == nil || n.Domain != "localhost" || n.Sessions != 2 {
		t.Errorf("status shows the node %+v", n)
	}

	juliet.Close()
	romeo.Send("<message to='juliet@localhost' type='chat' id='o'><body>Wherefore art thou gone</body></message>")
	romeo.Drain() // it was dealt with
	must(t, d.Restart(t.Context()))
	if strings.Contains(d.Log()[len(first):], "there is no account yet") {
		t.Error("with accounts, a start asks for the first one")
	}
	juliet = online(t, d, "localhost", "juliet", "balcony")
	juliet.Send("<presence/>")
	juliet.ExpectAll("<presence from='juliet@localhost/balcony'/>",
		"<message from='romeo@localhost/orchard' type='chat' id='o'><body>Wherefore art thou gone</body><delay xmlns='urn:xmpp:delay'/></message>")
	n := juliet.Request("get", "", "<query xmlns='jabber:iq:roster'/>")
	if item := n.Child("jabber:iq:roster", "item"); item == nil || item.Attr("jid") != "romeo@localhost" || item.Attr("subscription") != "both" {
		t.Errorf("the roster is %s", n.Append(nil))
	}
}

// The commands work on a daemon that runs, and what they do holds at once.
func TestNodeAccounts(t *testing.T) {
	t.Parallel()
	d := newNode(t, "registration = \"closed\"")
	run := func(args ...string) string {
		t.Helper()
		out, err := d.Command(t.Context(), "account "+args[0], args[1:]...)
		must(t, err)
		return out
	}
	if log := d.Log(); strings.Contains(log, "preauth=") {
		t.Errorf("an invitation where registration is closed:\n%s", log)
	}
	c := control.NewClient(filepath.Join(d.Dir, "control.sock"))
	defer c.Close()
	_, err := c.AddAccount(t.Context(), control.NewAccount{JID: "romeo", Password: servertest.Password})
	must(t, err)
	romeo := online(t, d, "localhost", "romeo", "orchard")
	if list := run("list"); !strings.Contains(list, "now, 1 clients") {
		t.Errorf("the list:\n%s", list)
	}
	file := filepath.Join(d.Dir, "romeo.xml")
	run("export", "romeo", "--out", file)
	run("disable", "romeo")
	romeo.ExpectStreamError("not-authorized")
	run("enable", "romeo")
	romeo = online(t, d, "localhost", "romeo", "orchard")
	run("remove", "romeo", "--yes")
	romeo.ExpectStreamError("not-authorized")
	run("import", file)
	online(t, d, "localhost", "romeo", "orchard")
}

// A domain that is hosted never goes out, and no domain but that is hosted.
func TestNodeAlone(t *testing.T) {
	t.Parallel()
	d := newNode(t, "domain = \"home.example\"")
	c := servertest.Raw(t, d.C2S)
	c.Domain = "localhost"
	c.Send("<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
	c.Header()
	c.ExpectStreamError("policy-violation")
	if got := clientOf(t, d, "home.example").Features; got == nil {
		t.Error("the node's domain is not served")
	}
	out, err := d.Command(t.Context(), "policy explain", "home.example")
	must(t, err)
	if !strings.Contains(out, "served here") {
		t.Errorf("explain says\n%s", out)
	}
}
