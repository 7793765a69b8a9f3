package resolve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"xmpp-gw/policy"
)

const (
	nsXRD = "http://docs.oasis-open.org/ns/xri/xrd-1.0"
	// relWebSocket marks a link to a WebSocket for XMPP (XEP-0156 §2.1).
	relWebSocket = "urn:xmpp:alt-connections:websocket"

	// maxHostMeta bounds the document, maxWebHeader the head of an answer.
	maxHostMeta  = 64 << 10
	maxWebHeader = 16 << 10
	// maxLinks is how many links of a document are looked at.
	maxLinks = 64
	// maxSame is how many redirects within the domain are followed.
	maxSame = 2
)

// HostMeta asks domains' web servers for WebSockets at onion addresses (XEP-0156
// §2). It resolves no name: dial gets the domain as it is, and its answer is worth
// something only because TLS proves the domain.
type HostMeta struct {
	Dial  proxy.ContextDialer
	Roots *x509.CertPool // nil: the system's
}

// Onions gives the onion endpoints that the host-meta of a domain (in A-labels)
// links to, none and no error where it links to none. Only wss:// links count
// (XEP-0156 §2.2), and those to other hosts are left out.
//
// The XML form, which every domain with the one must have, is asked for first and
// the JSON form on the same connection if there are no links in that.
func (h HostMeta) Onions(ctx context.Context, domain string) ([]policy.Endpoint, error) {
	if !asksHostMeta(domain) {
		return nil, notAsked()
	}
	client, done := h.client(domain)
	defer done()
	found, err := fetchOnions(ctx, client, hostMetaXML(domain), ParseHostMeta)
	if err == nil && len(found) > 0 || err != nil && !errors.Is(err, errDocument) {
		return found, err
	}
	more, jsonErr := fetchOnions(ctx, client, hostMetaXML(domain)+".json", ParseHostMetaJSON)
	if err != nil && jsonErr != nil {
		return nil, err
	}
	return more, nil
}

// client asks the domain's web server and no other. Done closes what it left open.
func (h HostMeta) client(domain string) (c *http.Client, done func()) {
	transport := &http.Transport{
		DialContext: h.Dial.DialContext,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := h.Dial.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			tc := tls.Client(conn, &tls.Config{ServerName: domain, RootCAs: h.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
			if err := tc.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, fmt.Errorf("TLS: %w", err)
			}
			return tc, nil
		},
		MaxResponseHeaderBytes: maxWebHeader,
		DisableCompression:     true,
		MaxIdleConns:           1,
		IdleConnTimeout:        5 * time.Second,
	}
	return &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		// Off the domain, somebody else would speak for it.
		if r.URL.Scheme != "https" || r.URL.Host != domain || len(via) > maxSame {
			return http.ErrUseLastResponse
		}
		return nil
	}}, transport.CloseIdleConnections
}

// errDocument is a web server that answered with something else.
var errDocument = errors.New("host-meta cannot be used")

// hostMetaXML is where the XML form is (RFC 6415 §2); the JSON form has ".json" behind it.
func hostMetaXML(domain string) string { return "https://" + domain + "/.well-known/host-meta" }

// fetchOnions reads one document. That there is none is no error.
func fetchOnions(ctx context.Context, client *http.Client, url string, parse func([]byte) ([]policy.Endpoint, error)) ([]policy.Endpoint, error) {
	text, err := fetch(ctx, client, url)
	if err != nil || text == nil {
		return nil, err
	}
	return parse(text)
}

// fetch reads one document, nil if there is none.
func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header["User-Agent"] = nil // nobody's business
	answer, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxHostMeta+1))
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode != http.StatusOK:
		return nil, nil
	case len(text) > maxHostMeta:
		return nil, fmt.Errorf("%w: it has more than %d bytes", errDocument, maxHostMeta)
	}
	return text, nil
}

// Link is one link of a host-meta document, as it is written there.
type Link struct{ Rel, Href string }

// ErrNoHostMeta is a domain whose web server has no such document.
var ErrNoHostMeta = errors.New("there is no host-meta")

// Documents is what a domain's host-meta says, in each of its forms.
type Documents struct {
	XML, JSON       []Link
	XMLErr, JSONErr error // ErrNoHostMeta for one that is not there
	Native          bool  // the JSON form has the "xmpp" object of XEP-0487 §3
}

// All gives the links of both forms of a domain's host-meta (in A-labels), whatever
// they lead to: for looking at, not for following.
func (h HostMeta) All(ctx context.Context, domain string) Documents {
	var d Documents
	if !asksHostMeta(domain) {
		d.XMLErr, d.JSONErr = notAsked(), notAsked()
		return d
	}
	client, done := h.client(domain)
	defer done()
	read := func(url string) ([]byte, error) {
		text, err := fetch(ctx, client, url)
		if err == nil && text == nil {
			err = ErrNoHostMeta
		}
		return text, err
	}
	var text []byte
	if text, d.XMLErr = read(hostMetaXML(domain)); d.XMLErr == nil {
		d.XML, d.XMLErr = parseXRD(text)
	}
	if text, d.JSONErr = read(hostMetaXML(domain) + ".json"); d.JSONErr == nil {
		d.JSON, d.JSONErr = parseJRD(text)
		var two struct {
			XMPP map[string]json.RawMessage `json:"xmpp"`
		}
		d.Native = json.Unmarshal(text, &two) == nil && two.XMPP != nil
	}
	return d
}

// asksHostMeta reports whether a domain may have a web server of its own.
func asksHostMeta(domain string) bool {
	_, err := netip.ParseAddr(domain)
	return err != nil && !policy.IsOnion(domain) && !isLocalhost(domain) && validHost(domain)
}

func notAsked() error {
	return &Error{Kind: ErrRefused, What: "host-meta was not asked for", Why: "that is not a domain with a web server of its own"}
}

// ParseHostMeta gives the onion endpoints of a host-meta document in XML (RFC 6415
// §3.1): the links that stand at its top.
func ParseHostMeta(text []byte) ([]policy.Endpoint, error) { return onionsOf(parseXRD(text)) }

func parseXRD(text []byte) ([]Link, error) {
	d := xml.NewDecoder(bytes.NewReader(text)) // strict; knows no other entities than XML's five
	var out []Link
	depth, rooted := 0, false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && rooted && depth == 0 {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: it is no well-formed XML", errDocument)
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: it has a document type declaration", errDocument)
		case xml.EndElement:
			depth--
		case xml.StartElement:
			depth++
			if depth > 16 || depth == 1 && (rooted || t.Name != xml.Name{Space: nsXRD, Local: "XRD"}) {
				return nil, fmt.Errorf("%w: it is no XRD document", errDocument)
			}
			rooted = true
			if depth == 2 && t.Name == (xml.Name{Space: nsXRD, Local: "Link"}) && len(out) < maxLinks {
				out = append(out, Link{plainAttr(t, "rel"), plainAttr(t, "href")})
			}
		}
	}
}

func plainAttr(t xml.StartElement, name string) string {
	i := slices.IndexFunc(t.Attr, func(a xml.Attr) bool { return a.Name == xml.Name{Local: name} })
	if i < 0 {
		return ""
	}
	return t.Attr[i].Value
}

// ParseHostMetaJSON gives the onion endpoints of a host-meta document in JSON (RFC
// 6415 Appendix A).
func ParseHostMetaJSON(text []byte) ([]policy.Endpoint, error) { return onionsOf(parseJRD(text)) }

func parseJRD(text []byte) ([]Link, error) {
	var doc struct {
		Links []struct {
			Rel  string `json:"rel"`
			Href string `json:"href"`
		} `json:"links"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%w: it is no JSON of the kind that RFC 6415 describes", errDocument)
	}
	var out []Link
	for _, l := range doc.Links[:min(len(doc.Links), maxLinks)] {
		out = append(out, Link{l.Rel, l.Href})
	}
	return out, nil
}

// onionsOf picks the endpoints that count among links.
func onionsOf(links []Link, err error) ([]policy.Endpoint, error) {
	var out []policy.Endpoint
	for _, l := range links {
		out = addLink(out, l.Rel, l.Href)
	}
	return out, err
}

// addLink appends the endpoint of a link, if it is a WebSocket inside TLS at a
// whole onion address and not there yet.
func addLink(out []policy.Endpoint, rel, href string) []policy.Endpoint {
	if rel != relWebSocket || !strings.HasPrefix(href, "wss://") || len(out) == MaxRecords {
		return out
	}
	e, err := policy.ParseEndpoint(href)
	if err != nil || !e.Onion() || policy.CheckOnion(e.Host) != nil || slices.Contains(out, e) {
		return out
	}
	return append(out, e)
}
