package resolve

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const (
	xrdHead = "<?xml version='1.0' encoding='utf-8'?><XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>"
	rel     = "urn:xmpp:alt-connections:websocket"
	webAt   = "wss://" + anOnion + "/ws"
	webIs   = "[wss://" + anOnion + ":443/ws]"
)

// web is a web server for example.test, behind a dialer that nothing else is.
type web struct {
	*httptest.Server
	asked    []string // HOST:PORT of each dial
	requests []string
	delay    atomic.Int64
}

func newWeb(t *testing.T, names []string, pages map[string]string) (*web, HostMeta) {
	t.Helper()
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Leaf(lab.CALeaf{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	w := &web{}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(w.delay.Load()))
		w.requests = append(w.requests, r.URL.Path)
		if len(r.Header["User-Agent"]) > 0 || len(r.Cookies()) > 0 {
			t.Errorf("headers %v", r.Header)
		}
		page, ok := pages[r.URL.Path]
		if to, moved := strings.CutPrefix(page, "-> "); moved {
			http.Redirect(rw, r, to, http.StatusFound)
			return
		}
		if !ok {
			http.NotFound(rw, r)
			return
		}
		fmt.Fprint(rw, page)
	}))
	w.TLS = serverTLS(cert)
	w.StartTLS()
	t.Cleanup(w.Close)
	return w, HostMeta{Roots: ca.Pool(), Dial: dialTo(func(ctx context.Context, address string) (net.Conn, error) {
		w.asked = append(w.asked, address)
		return new(net.Dialer).DialContext(ctx, "tcp", w.Listener.Addr().String())
	})}
}

func TestHostMeta(t *testing.T) {
	const xmlPath, jsonPath = "/.well-known/host-meta", "/.well-known/host-meta.json"
	link := "<Link rel='" + rel + "' href='" + webAt + "'/></XRD>"
	jrd := `{"links":[{"rel":"` + rel + `","href":"` + webAt + `"}]}`
	for name, x := range map[string]struct {
		names  []string
		pages  map[string]string
		want   string
		failed bool
	}{
		"XML":                   {pages: map[string]string{xmlPath: xrdHead + link}, want: webIs},
		"JSON":                  {pages: map[string]string{jsonPath: jrd}, want: webIs},
		"JSON behind bad XML":   {pages: map[string]string{xmlPath: "<html>", jsonPath: jrd}, want: webIs},
		"neither":               {want: "[]"},
		"both are garbage":      {pages: map[string]string{xmlPath: "<html>", jsonPath: "<html>"}, want: "[]", failed: true},
		"moved within":          {pages: map[string]string{xmlPath: "-> /meta.xml", "/meta.xml": xrdHead + link}, want: webIs},
		"moved in circles":      {pages: map[string]string{xmlPath: "-> /.well-known/host-meta"}, want: "[]"},
		"moved away":            {pages: map[string]string{xmlPath: "-> https://evil.test/meta.xml", jsonPath: "-> http://example.test/meta.xml", "/meta.xml": xrdHead + link}, want: "[]"},
		"too large":             {pages: map[string]string{xmlPath: xrdHead + strings.Repeat(" ", maxHostMeta) + link, jsonPath: strings.Repeat(" ", maxHostMeta) + jrd}, want: "[]", failed: true},
		"another's certificate": {names: []string{"evil.test"}, pages: map[string]string{xmlPath: xrdHead + link}, want: "[]", failed: true},
	} {
		if x.names == nil {
			x.names = []string{"example.test"}
		}
		w, h := newWeb(t, x.names, x.pages)
		got, err := h.Onions(t.Context(), "example.test")
		if fmt.Sprint(got) != x.want || (err != nil) != x.failed {
			t.Errorf("%s: %v, %v; want %s", name, got, err, x.want)
		}
		for _, a := range w.asked {
			if a != "example.test:443" {
				t.Errorf("%s: dialled %s", name, a)
			}
		}
	}
	_, h := newWeb(t, []string{"example.test"}, nil)
	h.Dial = dialTo(func(context.Context, string) (net.Conn, error) { t.Error("dialled"); return nil, errors.New("no") })
	for _, domain := range []string{anOnion, "192.0.2.1", "localhost", "a/b"} {
		if _, err := h.Onions(t.Context(), domain); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

func TestHostMetaLinks(t *testing.T) {
	for body, want := range map[string]string{
		"": "[]",
		"<Link rel='" + rel + "' href='" + webAt + "'/><Link rel='" + rel + "' href='" + webAt + "'/>": webIs,
		"<Link rel='" + rel + "' href='ws://" + anOnion + "/ws'/>":                                     "[]", // XEP-0156 §2.2
		"<Link rel='" + rel + "' href='wss://example.test/ws'/>":                                       "[]",
		"<Link rel='" + rel + "' href='wss://b" + anOnion[1:] + "/ws'/>":                               "[]",
		"<Link rel='urn:xmpp:alt-connections:xbosh' href='" + webAt + "'/>":                            "[]",
		"<Link xmlns='' rel='" + rel + "' href='" + webAt + "'/>":                                      "[]",
		"<Property><Link rel='" + rel + "' href='" + webAt + "'/></Property>":                          "[]",
		"<!-- a remark --><Link href='" + webAt + "' rel='" + rel + "'><Title/></Link>":                webIs,
	} {
		if got, err := ParseHostMeta([]byte(xrdHead + body + "</XRD>")); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v; want %s", body, got, err, want)
		}
	}
	for _, text := range []string{"", "<html/>", xrdHead, xrdHead + "</XRD><XRD/>", "<!DOCTYPE a [<!ENTITY b 'c'>]>" + xrdHead + "</XRD>", xrdHead + "&b;</XRD>", xrdHead + strings.Repeat("<a>", 20)} {
		if got, err := ParseHostMeta([]byte(text)); err == nil || got != nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Onions come first, the web server is asked beside DNS and waited for a bounded
// time, and only where the route is Tor.
func TestDiscoverLinks(t *testing.T) {
	other := policy.Endpoint{Transport: policy.WebSocket, Host: anOnion, Port: 443, Path: "/ws"}
	clear := SRV{Target: "a.test", Port: 5222}
	onion := SRV{Target: anOnion, Port: 5222, Priority: 9}
	failed := errors.New("SERVFAIL")
	for name, x := range map[string]struct {
		records []SRV
		err     error
		o       Options
		links   []policy.Endpoint
		slow    bool
		want    string
		kind    error
	}{
		"onion first":             {records: []SRV{clear, onion}, want: "[starttls://" + anOnion + ":5222 starttls://a.test:5222]"},
		"links behind it":         {records: []SRV{clear}, links: []policy.Endpoint{other}, want: "[" + other.String() + " starttls://a.test:5222]"},
		"no records":              {links: []policy.Endpoint{other}, want: "[" + other.String() + " starttls://example.test:5222]"},
		"DNS is silent":           {err: failed, links: []policy.Endpoint{other}, want: "[" + other.String() + "]"},
		"both are silent":         {err: failed, kind: failed},
		"slow web":                {records: []SRV{clear}, links: []policy.Endpoint{other}, slow: true, want: "[starttls://a.test:5222]"},
		"only onions":             {records: []SRV{clear, onion}, o: Options{OnionOnly: true}, want: "[starttls://" + anOnion + ":5222]"},
		"only onions, and none":   {records: []SRV{clear}, o: Options{OnionOnly: true}, kind: ErrNoService},
		"a mistyped onion in DNS": {records: []SRV{clear, {Target: "b" + anOnion[1:], Port: 5222}}, want: "[starttls://a.test:5222]"},
	} {
		x.o.Onion, x.o.Patience = true, 100*time.Millisecond
		x.o.Links = func(ctx context.Context, domain string) []policy.Endpoint {
			if domain != "example.test" {
				t.Errorf("links of %s", domain)
			}
			if x.slow {
				time.Sleep(300 * time.Millisecond)
			}
			return x.links
		}
		dns := table{"_xmpp-client._tcp.example.test": {x.records, x.err}, "_xmpps-client._tcp.example.test": {nil, x.err}}
		got, err := Discover(t.Context(), dns, "example.test", x.o)
		if x.kind != nil {
			if !errors.Is(err, x.kind) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		} else if err != nil || fmt.Sprint(got) != x.want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, x.want)
		}
		x.o.Onion, x.o.OnionOnly = false, false
		x.o.Links = func(context.Context, string) []policy.Endpoint { t.Error("asked by another route"); return nil }
		for _, e := range must(Discover(t.Context(), dns, "example.test", x.o)) {
			if e.Onion() {
				t.Errorf("%s: %s by another route", name, e)
			}
		}
	}
}

func must[T any](v T, _ error) T { return v }

// What a web server said is remembered, a fetch that a login did not wait for too.
func TestLinksAreRemembered(t *testing.T) {
	w, h := newWeb(t, []string{"example.test"}, map[string]string{"/.well-known/host-meta.json": `{"links":[{"rel":"` + rel + `","href":"` + webAt + `"}]}`})
	var l Links
	ask := l.Over(h, "circuit a")
	w.delay.Store(int64(100 * time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range 3 {
		if got := ask(ctx, "example.test"); fmt.Sprint(got) != webIs {
			t.Fatal(got)
		}
	}
	if len(w.requests) != 2 || len(w.asked) != 1 {
		t.Errorf("requests %v on connections %v", w.requests, w.asked)
	}
	other := l.Over(h, "circuit b")
	if got := other(t.Context(), "example.test"); fmt.Sprint(got) != webIs || len(w.requests) != 2 {
		t.Errorf("what is proven is not known to the other circuit: %v, requests %v", got, w.requests)
	}

	// Whoever is at the end of one circuit cuts it. The other one is none of theirs.
	var tried atomic.Int32
	cut := h
	cut.Dial = dialTo(func(context.Context, string) (net.Conn, error) { tried.Add(1); return nil, errors.New("down") })
	for range 2 {
		if got := l.Over(cut, "circuit a")(t.Context(), "example2.test"); got != nil {
			t.Error(got)
		}
	}
	if n := tried.Load(); n != 1 {
		t.Errorf("tried %d times", n)
	}
	if l.Over(cut, "circuit b")(t.Context(), "example2.test"); tried.Load() != 2 {
		t.Error("the failure of one circuit is that of another")
	}
	if k := l.known[asked{"circuit a", "example2.test"}]; k.until.IsZero() || time.Until(k.until) > keepFailure {
		t.Error("a failure is remembered for too long, or not at all")
	}
}

// FuzzHostMeta: nothing but whole onion addresses inside TLS comes out, and what
// the XML says is what encoding/xml's own reading of the whole tree says.
func FuzzHostMeta(f *testing.F) {
	f.Add([]byte(xrdHead + "<Link rel='" + rel + "' href='" + webAt + "'/></XRD>"))
	f.Add([]byte(`{"links":[{"rel":"` + rel + `","href":"` + webAt + `?a=%20"}]}`))
	f.Add([]byte("<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'><x:Link xmlns:x='y'/></XRD>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		type linkOf struct{ Rel, Href string }
		var links []linkOf
		got, err := ParseHostMeta(text)
		if err == nil {
			var doc struct {
				XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
				Links   []struct {
					Rel  string `xml:"rel,attr"`
					Href string `xml:"href,attr"`
				} `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 Link"`
			}
			if err := xml.Unmarshal(text, &doc); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			for _, l := range doc.Links {
				links = append(links, linkOf{l.Rel, l.Href})
			}
		} else if got, err = ParseHostMetaJSON(text); err != nil {
			if got != nil {
				t.Fatalf("%q: %v with %v", text, got, err)
			}
			return
		} else {
			var doc struct{ Links []linkOf }
			_ = json.Unmarshal(text, &doc)
			links = doc.Links
		}
		if len(got) > MaxRecords {
			t.Fatalf("%d endpoints", len(got))
		}
		for _, e := range got {
			if e.Transport != policy.WebSocket || policy.CheckOnion(e.Host) != nil || e.Port == 0 {
				t.Fatalf("%q: %s", text, e)
			}
			found := false
			for _, l := range links {
				own, err := policy.ParseEndpoint(l.Href)
				found = found || err == nil && own == e && l.Rel == relWebSocket
			}
			if !found {
				t.Fatalf("%q: %s is no link of it", text, e)
			}
		}
	})
}

// dialTo is a dialer that is a function of the address.
type dialTo func(ctx context.Context, address string) (net.Conn, error)

func (d dialTo) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return d(ctx, address)
}

func serverTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}
