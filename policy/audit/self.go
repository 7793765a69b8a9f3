package audit

import (
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"
)

// SelfObservation is what was seen of this machine's set-up. A nil part was not
// looked at.
type SelfObservation struct {
	Listeners []Listener
	Files     []File
	CA        *CA
	Trust     []TrustStore
	Weaker    []Weaker
	Settings  bool // settings were compared with the defaults
	Logins    []LoginMode
	Tor       *TorState
	Clock     *Clock

	// What could not be looked at, and why.
	ListenersErr, FilesErr, TrustErr, WeakerErr string
}

// Listener is one place where this machine accepts connections for the gateway or
// its node.
type Listener struct {
	Address string // HOST:PORT or unix:PATH
	Kind    string // "c2s", "c2s-tls", "s2s", "metrics", …
	TLS     string // "required", "optional" or "none"
	Needed  string // the setting that asks for it beyond loopback; "" if none does
}

// loopback reports whether nobody but this machine can connect.
func (l Listener) loopback() bool {
	if strings.HasPrefix(l.Address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(l.Address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// remedy is what keeps others from it: a line of the configuration, or of the socket's
// unit where systemd opened it.
func (l Listener) remedy() map[string]string {
	at, ok := map[string]string{
		"c2s":     `[listen] c2s = ["127.0.0.1:5222", "[::1]:5222"]; client_tls = "required"`,
		"c2s-tls": `[listen] c2s_tls = ["127.0.0.1:5223", "[::1]:5223"]`,
		"metrics": `[listen] metrics = "127.0.0.1:9522", without metrics_public`,
	}[l.Kind]
	if !ok {
		at = "let it listen at 127.0.0.1 or [::1]"
	}
	return fix("", "", at+"; the same for ListenStream= of a socket unit")
}

// File is a file or directory that matters.
type File struct {
	Path   string
	Is     string      // "configuration", "onion key", …
	Mode   fs.FileMode // permission bits as they are
	Max    fs.FileMode // permission bits that are well
	Owner  string
	OwnOK  bool // the owner is we, or root
	Secret bool
	Kept   bool   // another program may keep it, so that its owner may be another
	Err    string // it could not be looked at
}

// CA is the authority behind the client leg.
type CA struct {
	Err         string
	Missing     bool // there is none: it is made when it is needed
	Key         File
	NotAfter    time.Time
	Constrained bool // it can issue for this machine's use alone (RFC 5280 §4.2.1.10)
}

// TrustStore is one store that may trust the authority.
type TrustStore struct {
	Store   string // "system", "firefox", …
	Trusted bool
	Current bool // it is the authority in use that is trusted
	Err     string
}

// Weaker is a setting that is weaker than the default.
type Weaker struct {
	Key, Value, Default string
	Source              string // FILE:LINE
	Severity            Severity
}

// LoginMode is who logs in at the servers of a part of the configuration.
type LoginMode struct {
	For    string // "all domains", or a domain
	Mode   string // "originate", "relay" or "passthrough"
	Source string // where that stands
}

// TorState is what is known of the tor in use.
type TorState struct {
	Used         bool // a route goes through it
	Err          string
	Running      bool
	Version      string
	Status       string // "recommended", "new", "obsolete", "unrecommended", … (control-spec, status/version/current)
	Bootstrapped int    // percent
	Isolated     bool   // streams with other SOCKS credentials get other circuits
	Open         []string
}

// Clock is how far this machine's clock is from Tor's consensus.
type Clock struct {
	Offset time.Duration
	How    string // what it was compared with
	Err    string
}

const maxClockOffset = time.Minute

func selfChecks() []question {
	return []question{
		{"self.listen", "nothing listens beyond this machine without TLS and need", Critical, "RFC 7590 §3.1", fix("", "", `[listen] c2s = ["127.0.0.1:5222", "[::1]:5222"]; client_tls = "required"`), askListen},
		{"self.files", "files are ours, and others cannot read secrets", Critical, "docs/security.md", fix("", "", "chmod go-rwx FILE; chown to the user that runs xmpp-gw"), askFiles},
		{"self.ca", "the local authority's key is safe", Critical, "RFC 5280 §4.2.1.10", fix("", "", "xmpp-gw trust remove; delete the authority's files; xmpp-gw trust install"), askCA},
		{"self.trust", "clients can trust the local authority", High, "RFC 6120 §13.7.2", fix("", "", "xmpp-gw trust install"), askTrust},
		{"self.policy", "no setting is weaker than the default", Medium, "docs/security.md", fix("", "", "take the line out of the configuration; `xmpp-gw policy explain DOMAIN` shows what holds then"), askWeaker},
		{"self.tor", "tor runs, is current, and keeps accounts apart", High, "tor(1), IsolateSOCKSAuth", fix("", "", `update tor; or [tor] mode = "managed"`), askTor},
		{"self.clock", "the clock is right within a minute", Medium, "dir-spec §3", fix("", "", "timedatectl set-ntp true"), askClock},
	}
}

const thisMachine = "this machine"

func askListen(j *judge) {
	s := j.Self
	if s.ListenersErr != "" {
		j.unknown(thisMachine, "%s", s.ListenersErr)
	} else if len(s.Listeners) == 0 {
		j.skip(thisMachine, "nothing listens")
	}
	for _, l := range s.Listeners {
		target := l.Kind + " " + l.Address
		switch beyond := !l.loopback(); {
		case beyond && l.TLS == "none" && l.Needed != "": // numbers, such as those of metrics
			j.fail(target, "others can connect, and there is no TLS; %s asks for that", l.Needed).at(High).Fix = l.remedy()
		case beyond && l.TLS == "none":
			j.fail(target, "others can connect, and there is no TLS").Fix = l.remedy()
		case beyond && l.TLS != "required":
			j.fail(target, "others can connect, and TLS is %s", l.TLS).at(High).Fix = l.remedy()
		case beyond && l.Needed == "":
			j.warn(target, "others can connect, and try passwords").at(High).Fix = l.remedy()
		case beyond:
			j.pass(target, "TLS %s; %s", l.TLS, l.Needed)
		default:
			j.pass(target, "this machine only; TLS %s", l.TLS)
		}
	}
}

// verdict judges one file; why is what is wrong with it.
func (f File) verdict() (v Verdict, why string) {
	switch {
	case f.Err != "":
		return Unknown, f.Err
	case !f.OwnOK && !f.Kept:
		return Fail, fmt.Sprintf("it belongs to %s", f.Owner)
	case f.Mode.Perm()&^f.Max.Perm() != 0:
		return Fail, fmt.Sprintf("mode %04o, and %04o is enough", f.Mode.Perm(), f.Max.Perm())
	case !f.OwnOK:
		return Warn, fmt.Sprintf("mode %04o; it belongs to %s, who can be in your place", f.Mode.Perm(), f.Owner)
	}
	return Pass, fmt.Sprintf("mode %04o", f.Mode.Perm())
}

// remedy is the command that puts it right.
func (f File) remedy() map[string]string {
	switch {
	case f.Err != "":
		return nil
	case !f.OwnOK && f.Kept:
		return fix("", "", "well, if that is the program that renews it; else sudo chown OWNER "+f.Path+" (the user that runs xmpp-gw)")
	case !f.OwnOK:
		return fix("", "", "sudo chown OWNER "+f.Path+" (the user that runs xmpp-gw)")
	}
	return fix("", "", fmt.Sprintf("chmod %03o %s", f.Mode.Perm()&f.Max.Perm(), f.Path))
}

func askFiles(j *judge) {
	s := j.Self
	if s.FilesErr != "" {
		j.unknown(thisMachine, "%s", s.FilesErr)
	} else if len(s.Files) == 0 {
		j.skip(thisMachine, "there are no files yet")
	}
	for _, f := range s.Files {
		v, why := f.verdict()
		said := j.say(f.Path, v, "%s: %s", f.Is, why)
		said.Fix = f.remedy()
		switch {
		case v == Warn:
			said.at(Medium)
		case !f.Secret:
			said.at(High)
		}
	}
}

func askCA(j *judge) {
	c := j.Self.CA
	switch {
	case c == nil:
		j.unknown(thisMachine, "it was not looked at")
		return
	case c.Missing:
		j.skip(thisMachine, "there is no authority yet")
		return
	}
	v, why := c.Key.verdict()
	if c.Err != "" && (c.Key.Path == "" || v != Fail) { // a bad key is one whatever its certificate is
		j.unknown(thisMachine, "%s", c.Err)
		return
	}
	switch left := c.NotAfter.Sub(j.At); {
	case v != Pass:
		j.say(c.Key.Path, v, "%s", why).Fix = c.Key.remedy()
	case left <= 0:
		j.fail(c.Key.Path, "it ended on %s", c.NotAfter.UTC().Format(time.DateOnly)).at(High)
	case !c.Constrained:
		j.warn(c.Key.Path, "whoever steals it can issue for every name").at(High).Fix = fix("", "",
			`bind it to your domains: [default] route = "block", and a section with a route for each of them; then xmpp-gw trust install`)
	default:
		j.pass(c.Key.Path, "%s, until %s", why, c.NotAfter.UTC().Format(time.DateOnly))
	}
}

func askTrust(j *judge) {
	s := j.Self
	if s.TrustErr != "" {
		j.unknown(thisMachine, "%s", s.TrustErr)
	} else if len(s.Trust) == 0 {
		j.skip(thisMachine, "there is no trust store")
	}
	for _, t := range s.Trust {
		switch {
		case t.Err != "":
			j.unknown(t.Store, "%s", t.Err)
		case t.Trusted && !t.Current:
			j.fail(t.Store, "it trusts an authority of ours that is no longer in use")
		case !t.Trusted:
			j.warn(t.Store, "it does not trust the authority: clients will ask, or refuse").at(Low)
		default:
			j.pass(t.Store, "trusted")
		}
	}
}

func askWeaker(j *judge) {
	s := j.Self
	if s.WeakerErr != "" || !s.Settings {
		j.unknown(thisMachine, "not compared with the defaults %s", s.WeakerErr)
		return
	}
	for _, w := range s.Weaker {
		f := j.warn(w.Source, "%s = %s; the default is %s", w.Key, w.Value, w.Default)
		if w.Severity != Info {
			f.at(w.Severity)
		}
	}
	if len(s.Weaker) == 0 {
		j.pass(thisMachine, "none is")
	}
}

func askTor(j *judge) {
	t := j.Self.Tor
	switch {
	case t == nil:
		j.unknown(thisMachine, "it was not looked at")
	case !t.Used:
		j.skip(thisMachine, "no route goes through Tor")
	case t.Err != "":
		j.unknown(thisMachine, "%s", t.Err)
	case !t.Running:
		j.fail(thisMachine, "it does not run")
	case t.Status == "obsolete" || t.Status == "unrecommended":
		j.fail(thisMachine, "version %s is %s", t.Version, t.Status)
	case !t.Isolated:
		j.fail(thisMachine, "accounts may share a circuit (IsolateSOCKSAuth is off)")
	case len(t.Open) > 0:
		j.fail(thisMachine, "ports that others can use: %s", list(t.Open, ""))
	case t.Bootstrapped < 100:
		j.warn(thisMachine, "version %s, %d%% ready", t.Version, t.Bootstrapped)
	case t.Status == "":
		j.unknown(thisMachine, "whether version %s is current is not known", t.Version)
	default:
		j.pass(thisMachine, "version %s, %s", t.Version, t.Status)
	}
}

func askClock(j *judge) {
	c := j.Self.Clock
	switch {
	case c == nil:
		j.unknown(thisMachine, "it was not compared")
	case c.Err != "":
		j.unknown(thisMachine, "%s", c.Err)
	case c.Offset.Abs() > maxClockOffset:
		j.fail(thisMachine, "%s off%s", c.Offset.Round(time.Second), c.how())
	default:
		j.pass(thisMachine, "%s off%s", c.Offset.Round(time.Second), c.how())
	}
}

func (c *Clock) how() string {
	if c.How == "" {
		return ""
	}
	return ": " + c.How
}

// notes say who logs in, which the owner must know of in any case.
func (s *SelfObservation) notes() (notes []string) {
	for _, l := range s.Logins {
		what := map[string]string{
			"originate":   "the gateway logs in, and sees stanzas and passwords",
			"relay":       "the client logs in, and the gateway sees stanzas",
			"passthrough": "the client logs in inside its own TLS, and the gateway sees nothing",
		}[l.Mode]
		notes = append(notes, Clean(fmt.Sprintf("%s: %s (%s; %s)", l.For, l.Mode, what, l.Source)))
	}
	return notes
}
