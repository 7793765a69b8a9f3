package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
)

// value is a TOML value with the directory that relative paths start from.
type value struct {
	kind string // "a string", "a number", "true or false", "a list", "something else"
	text string
	list []value
	dir  string
}

// hint is an error with advice.
type hint struct {
	error
	advice string
}

func hinted(what, advice string) error { return hint{fmt.Errorf("%s", what), advice} }

func (v value) want(kind string) error {
	if v.kind != kind {
		return fmt.Errorf("it must be %s, not %s", kind, v.kind)
	}
	return nil
}

func (v value) str() (string, error) { return v.text, v.want("a string") }

func (v value) strings() ([]string, error) {
	if err := v.want("a list"); err != nil {
		return nil, err
	}
	list := make([]string, 0, len(v.list))
	for _, e := range v.list {
		s, err := e.str()
		if err != nil {
			return nil, fmt.Errorf("each element of the list: %w", err)
		}
		list = append(list, s)
	}
	return list, nil
}

func (v value) texts(to *[]string) (err error) {
	*to, err = v.strings()
	return err
}

func (v value) oneOf(to *string, choices ...string) error {
	s, err := v.str()
	if err != nil {
		return err
	}
	if !slices.Contains(choices, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(choices, ", "))
	}
	*to = s
	return nil
}

func (v value) number(to *int, low, high int) error {
	if err := v.want("a number"); err != nil {
		return err
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
	if err != nil || n < int64(low) || n > int64(high) {
		return fmt.Errorf("%s is not a whole number from %d to %d", v.text, low, high)
	}
	*to = int(n)
	return nil
}

func (v value) seconds(to *time.Duration, low, high int) error {
	var n int
	if err := v.number(&n, low, high); err != nil {
		return err
	}
	*to = time.Duration(n) * time.Second
	return nil
}

func (v value) boolean(to *bool) error {
	if err := v.want("true or false"); err != nil {
		return err
	}
	*to = v.text == "true"
	return nil
}

func (v value) path(to *string) error {
	s, err := v.str()
	if err != nil {
		return err
	}
	if s != "" && !filepath.IsAbs(s) {
		s = filepath.Join(v.dir, s)
	}
	*to = s
	return nil
}

func (v value) addresses(to *[]string) error {
	list, err := v.strings()
	if err != nil {
		return err
	}
	for i, a := range list {
		if list[i], err = v.address(a); err != nil {
			return err
		}
	}
	*to = list
	return nil
}

func (v value) optionalAddress(to *string) error {
	s, err := v.str()
	if err != nil || s == "" {
		*to = ""
		return err
	}
	*to, err = v.address(s)
	return err
}

// address checks IP:PORT, localhost:PORT or unix:PATH. Other names would have to
// be resolved, which this program does not do for its own listeners.
func (v value) address(s string) (string, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return "", fmt.Errorf("%q names no path", s)
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(v.dir, path)
		}
		return "unix:" + path, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", hinted(fmt.Sprintf("%q is no address", s), "write IP:PORT or unix:PATH")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q has no port from 0 to 65535", s)
	}
	if host != "localhost" && net.ParseIP(host) == nil {
		return "", hinted(fmt.Sprintf("%q is a name", host), "write an IP address, localhost or unix:PATH")
	}
	return s, nil
}

func (v value) dnsServers(to *[]string) error {
	list, err := v.strings()
	if err != nil {
		return err
	}
	if _, err := resolve.ParseServers(list); err != nil {
		return err
	}
	*to = list
	return nil
}

// socksURL reads the url of a [socks.NAME] section.
func (v value) socksURL() (*url.URL, error) {
	s, err := v.str()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, hinted("the url cannot be read", "write socks5://[USER:PASSWORD@]IP:PORT")
	case u.Scheme != "socks5" && u.Scheme != "socks5h" && u.Scheme != "socks5+unix":
		return nil, hinted(fmt.Sprintf("the scheme %q is not SOCKS5", u.Scheme), "write socks5://[USER:PASSWORD@]IP:PORT")
	case u.Scheme == "socks5+unix" && !filepath.IsAbs(u.Path):
		return nil, hinted("the url names no absolute path", "write socks5+unix:///PATH")
	case u.Scheme != "socks5+unix" && (net.ParseIP(u.Hostname()) == nil && u.Hostname() != "localhost" || !isPort(u.Port())):
		return nil, hinted("the url names no IP address and port", "write socks5://[USER:PASSWORD@]IP:PORT; the name of a proxy would have to be looked up outside the route")
	case u.Scheme != "socks5+unix" && strings.Trim(u.Path, "/") != "":
		return nil, hinted("the url has a path", "write socks5://[USER:PASSWORD@]IP:PORT")
	case len(u.User.Username()) > 255:
		return nil, errors.New("the user name has more than 255 bytes (RFC 1929 §2)")
	}
	if password, _ := u.User.Password(); len(password) > 255 {
		return nil, errors.New("the password has more than 255 bytes (RFC 1929 §2)")
	}
	return u, nil
}

// literal reads one TOML value.
func literal(toml string) value {
	var p unstable.Parser
	p.Reset([]byte("v = " + toml))
	if !p.NextExpression() {
		return value{kind: "something else"}
	}
	return valueOf(p.Expression().Value(), "")
}

func valueOf(n *unstable.Node, dir string) value {
	v := value{text: string(n.Data), dir: dir}
	switch n.Kind {
	case unstable.String:
		v.kind = "a string"
	case unstable.Integer:
		v.kind = "a number"
	case unstable.Bool:
		v.kind = "true or false"
	case unstable.Array:
		v.kind = "a list"
		for it := n.Children(); it.Next(); {
			v.list = append(v.list, valueOf(it.Node(), dir))
		}
	default:
		v.kind = "something else"
	}
	return v
}

// endpoint reads an endpoint of the server. An onion address must be a whole one.
func (v value) endpoint(text string) (policy.Endpoint, error) {
	e, err := policy.ParseEndpoint(text)
	if err == nil && e.Onion() {
		err = policy.CheckOnion(e.Host)
	}
	return e, err
}

func (v value) endpoints() ([]policy.Endpoint, error) {
	texts, err := v.strings()
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, hinted("the list is empty", "leave the key out to ask DNS")
	}
	list := make([]policy.Endpoint, len(texts))
	for i, text := range texts {
		if list[i], err = v.endpoint(text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// onion reads an endpoint that is an onion address; starttls:// may be left out.
func (v value) onion() (policy.Endpoint, error) {
	text, err := v.str()
	if err != nil {
		return policy.Endpoint{}, err
	}
	if !strings.Contains(text, "://") {
		text = "starttls://" + text
	}
	e, err := v.endpoint(text)
	if err == nil && !e.Onion() {
		err = hinted(fmt.Sprintf("%q is not an onion address", e.Host), "other hosts go into endpoints")
	}
	return e, err
}

func (v value) pins() ([]string, error) {
	list, err := v.strings()
	if err == nil && len(list) == 0 {
		err = hinted("the list is empty", "leave the key out")
	}
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if err := policy.CheckPin(p); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// file reads the path of a file that a domain needs.
func (v value) file(t target, to *policy.Value[string]) error {
	to.Source = t.source
	err := v.path(&to.V)
	if err == nil && to.V == "" {
		err = errors.New("it names no file")
	}
	return err
}

// isPort reports whether s is a port that can be connected to.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
