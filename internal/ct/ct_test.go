package ct

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"xmpp-gw/tests/lab"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ground is an authority and four logs of three operators.
type ground struct {
	t          *testing.T
	ca         *lab.CA
	a, b, c, d *lab.CTLog // c is of b's operator
}

func newGround(t *testing.T) *ground {
	ca, err := lab.NewCA()
	check(t, err)
	g := &ground{t: t, ca: ca}
	for _, l := range []struct {
		to             **lab.CTLog
		operator, name string
	}{{&g.a, "one", "a"}, {&g.b, "two", "b"}, {&g.c, "two", "c"}, {&g.d, "three", "d"}} {
		*l.to, err = lab.NewCTLog(l.operator, l.name)
		check(t, err)
	}
	return g
}

func (g *ground) leaf(l lab.CALeaf) *x509.Certificate {
	g.t.Helper()
	cert, err := g.ca.Leaf(l)
	check(g.t, err)
	return cert.Leaf
}

// list is of all logs but d.
func (g *ground) list() *List {
	g.t.Helper()
	l, err := ParseList(lab.CTList(time.Now(), g.a, g.b, g.c))
	check(g.t, err)
	return l
}

func (g *ground) chain(leaf *x509.Certificate) []*x509.Certificate {
	return []*x509.Certificate{leaf, g.ca.Certificate()}
}

// whole is the entry of a certificate itself.
func whole(c *x509.Certificate) lab.CTEntry { return lab.CTEntry{Certificate: c.Raw} }

func TestPlaces(t *testing.T) {
	g := newGround(t)
	now := time.Now()
	for name, shown := range map[string]Shown{
		InCertificate: {Chain: g.chain(g.leaf(lab.CALeaf{Names: []string{"a.test"}, SCTs: lab.LoggedBy(g.a, g.b)}))},
		InTLS: func() Shown {
			leaf := g.leaf(lab.CALeaf{Names: []string{"a.test"}})
			return Shown{Chain: g.chain(leaf), TLS: lab.LoggedBy(g.a, g.b)(whole(leaf))}
		}(),
		InOCSP: func() Shown {
			leaf := g.leaf(lab.CALeaf{Names: []string{"a.test"}})
			staple, err := g.ca.Staple(leaf, lab.CAStaple{SCTs: lab.LoggedBy(g.a, g.b)(whole(leaf))})
			check(t, err)
			return Shown{Chain: g.chain(leaf), OCSP: staple}
		}(),
	} {
		scts := g.list().Check(shown, now)
		if len(scts) != 2 {
			t.Fatalf("%s: %d timestamps", name, len(scts))
		}
		for i, s := range scts {
			if want := []string{"a", "b"}[i]; !s.Valid || s.Log != want || s.From != name || s.Why != "" || s.LogID == "" || now.Sub(s.At) > 2*time.Minute {
				t.Errorf("%s: %+v", name, s)
			}
		}
		if v := Judge(shown.Chain[0], scts); v.Missing != "" || strings.Join(v.Logs, " ") != "a b" {
			t.Errorf("%s: %+v", name, v)
		}
		// Without a list nothing is known, and nothing passes.
		for _, none := range []*List{nil, {}} {
			if v := Judge(shown.Chain[0], none.Check(shown, now)); v.Missing == "" || len(v.Unclear) != 2 {
				t.Errorf("%s, no list: %+v", name, v)
			}
		}
	}
}

func TestWrong(t *testing.T) {
	g := newGround(t)
	minuteAgo := func() time.Time { return time.Now().Add(-time.Minute) }
	embedded := func(log *lab.CTLog, change func(*lab.CTEntry, *time.Time)) lab.SCTs {
		return func(e lab.CTEntry) [][]byte {
			at := minuteAgo()
			change(&e, &at)
			return [][]byte{log.SCT(e, at)}
		}
	}
	same := func(*lab.CTEntry, *time.Time) {}
	const forged = "the signature is not the log's for this certificate"
	for name, c := range map[string]struct {
		scts  lab.SCTs
		tls   bool // in the TLS extension instead
		logs  func()
		alone bool // the server shows its own certificate only
		why   string
	}{
		"right":                 {scts: embedded(g.a, same)},
		"signature of no log":   {scts: func(e lab.CTEntry) [][]byte { s := g.a.SCT(e, minuteAgo()); s[len(s)-1] ^= 1; return [][]byte{s} }, why: forged},
		"another certificate":   {scts: embedded(g.a, func(e *lab.CTEntry, _ *time.Time) { e.TBS = g.leaf(lab.CALeaf{}).RawTBSCertificate }), why: forged},
		"another issuer":        {scts: embedded(g.a, func(e *lab.CTEntry, _ *time.Time) { e.IssuerHash = sha256.Sum256([]byte("x")) }), why: forged},
		"as if it were whole":   {scts: embedded(g.a, func(e *lab.CTEntry, _ *time.Time) { e.Certificate = e.TBS }), why: forged},
		"time was changed":      {scts: func(e lab.CTEntry) [][]byte { s := g.a.SCT(e, minuteAgo()); s[40] ^= 1; return [][]byte{s} }, why: forged},
		"signing was changed":   {scts: func(e lab.CTEntry) [][]byte { s := g.a.SCT(e, minuteAgo()); s[44] = 1; return [][]byte{s} }, why: forged},
		"of the future":         {scts: embedded(g.a, func(_ *lab.CTEntry, at *time.Time) { *at = time.Now().Add(time.Hour) }), why: "it is of the future"},
		"clocks differ":         {scts: embedded(g.a, func(_ *lab.CTEntry, at *time.Time) { *at = time.Now().Add(time.Minute) })},
		"unknown log":           {scts: embedded(g.d, same), why: "its log is not in the list of " + time.Now().UTC().Format(time.DateOnly)},
		"issuer not shown":      {scts: embedded(g.a, same), alone: true, why: "the server does not show who signed the certificate"},
		"garbage":               {scts: func(lab.CTEntry) [][]byte { return [][]byte{[]byte("garbage")} }, why: "it cannot be read"},
		"something behind it":   {scts: func(e lab.CTEntry) [][]byte { return [][]byte{append(g.a.SCT(e, minuteAgo()), 0)} }, why: "it cannot be read"},
		"version 2":             {scts: func(e lab.CTEntry) [][]byte { s := g.a.SCT(e, minuteAgo()); s[0] = 1; return [][]byte{s} }, why: "it cannot be read"},
		"ends too late":         {scts: embedded(g.a, same), logs: func() { g.a.From, g.a.Until = time.Now().Add(-48*time.Hour), time.Now() }, why: "the log does not take certificates that end then"},
		"ends too early":        {scts: embedded(g.a, same), logs: func() { g.a.From, g.a.Until = time.Now().Add(48*time.Hour), time.Now().Add(72*time.Hour) }, why: "the log does not take certificates that end then"},
		"retired before":        {scts: embedded(g.a, same), logs: func() { g.a.State, g.a.Since = "retired", time.Now().Add(-time.Hour) }, why: "the log was retired before"},
		"retired since":         {scts: embedded(g.a, same), logs: func() { g.a.State, g.a.Since = "retired", time.Now() }},
		"retired, in TLS":       {scts: embedded(g.a, same), tls: true, logs: func() { g.a.State, g.a.Since = "retired", time.Now() }, why: "the log was retired"},
		"rejected":              {scts: embedded(g.a, same), logs: func() { g.a.State = "rejected" }, why: "the log was rejected"},
		"only looked at so far": {scts: embedded(g.a, same), logs: func() { g.a.State = "pending" }, why: "its log is not in the list of " + time.Now().UTC().Format(time.DateOnly)},
	} {
		g.a.State, g.a.Since, g.a.From, g.a.Until = "", minuteAgo(), time.Time{}, time.Time{}
		if c.logs != nil {
			c.logs()
		}
		shown := Shown{}
		if c.tls {
			leaf := g.leaf(lab.CALeaf{Names: []string{"a.test"}})
			shown = Shown{Chain: g.chain(leaf), TLS: c.scts(whole(leaf))}
		} else {
			shown.Chain = g.chain(g.leaf(lab.CALeaf{Names: []string{"a.test"}, SCTs: c.scts}))
		}
		if c.alone {
			shown.Chain = shown.Chain[:1]
		}
		scts := g.list().Check(shown, time.Now())
		if len(scts) != 1 || scts[0].Why != c.why || scts[0].Valid != (c.why == "") {
			t.Errorf("%s: %+v, want why %q", name, scts, c.why)
		}
	}
}

// A timestamp is for one certificate: the authority's other ones do not get it.
func TestNotAnothers(t *testing.T) {
	g := newGround(t)
	logged := g.leaf(lab.CALeaf{Names: []string{"a.test"}, SCTs: lab.LoggedBy(g.a, g.b)})
	stolen := func(lab.CTEntry) [][]byte {
		list, err := ParseSCTList(extension(logged.Extensions, oidSCTs))
		check(t, err)
		return list
	}
	other := g.leaf(lab.CALeaf{Names: []string{"a.test"}, SCTs: stolen})
	if v := Judge(other, g.list().Check(Shown{Chain: g.chain(other)}, time.Now())); len(v.Wrong) != 2 || v.Missing == "" {
		t.Errorf("%+v", v)
	}
	// A certificate that only has the issuer's name did not sign it.
	imposter, err := lab.NewCA()
	check(t, err)
	fake := *imposter.Certificate()
	fake.RawSubject = g.ca.Certificate().RawSubject
	if got := Issuer([]*x509.Certificate{logged, &fake, g.ca.Certificate()}); got != g.ca.Certificate() {
		t.Error("the issuer was not found by its signature")
	}
	if Issuer([]*x509.Certificate{logged, &fake}) != nil {
		t.Error("an issuer by name alone")
	}
}

func TestJudge(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	short := &x509.Certificate{NotBefore: now, NotAfter: now.Add(180 * day)}
	long := &x509.Certificate{NotBefore: now, NotAfter: now.Add(181 * day)}
	good := func(log, operator string) SCT { return SCT{Log: log, Operator: operator, Valid: true} }
	old := func(log, operator string) SCT {
		return SCT{Log: log, Operator: operator, Valid: true, Retired: true}
	}
	a1, a2, b, c := good("a1", "a"), good("a2", "a"), good("b", "b"), good("c", "c")
	for name, x := range map[string]struct {
		leaf *x509.Certificate
		scts []SCT
		why  string
	}{
		"two":                   {short, []SCT{a1, b}, ""},
		"none":                  {short, nil, "no log vouches for it: the server shows no timestamp of any"},
		"one":                   {short, []SCT{a1}, "1 of 2 logs that are needed: a1"},
		"the same twice":        {short, []SCT{a1, a1}, "1 of 2 logs that are needed: a1"},
		"one operator":          {short, []SCT{a1, a2}, "all logs are of one operator: a1, a2"},
		"two for a long life":   {long, []SCT{a1, b}, "2 of 3 logs that are needed: a1, b"},
		"three":                 {long, []SCT{a1, a2, b}, ""},
		"three operators":       {long, []SCT{c, b, a1}, ""},
		"one was retired":       {short, []SCT{a1, old("b", "b")}, ""},
		"all were retired":      {short, []SCT{old("a", "a"), old("b", "b")}, "all logs have been retired: a, b"},
		"wrong beside right":    {short, []SCT{a1, b, {Log: "x", Why: "no"}}, ""},
		"wrong":                 {short, []SCT{a1, {Log: "x", Why: "no"}, {Log: "x", Why: "no"}}, "1 of 2 logs that are needed: a1; not counted: x: no"},
		"unclear":               {short, []SCT{{}, {Valid: true}, {Why: "odd"}}, "no log vouches for it; cannot be told: its log is not known; odd"},
		"many that are wrong":   {short, []SCT{{Log: "1"}, {Log: "2"}, {Log: "3"}, {Log: "4"}, {Log: "5"}}, "no log vouches for it; not counted: 1: it is wrong; 2: it is wrong; 3: it is wrong; 2 more"},
		"no log's word is ours": {short, []SCT{{Log: "a", Operator: "a"}, {Log: "b", Operator: "b"}}, "no log vouches for it; not counted: a: it is wrong; b: it is wrong"},
	} {
		if got := Judge(x.leaf, x.scts).Why(); got != x.why {
			t.Errorf("%s: %q, want %q", name, got, x.why)
		}
	}
}

func TestList(t *testing.T) {
	g := newGround(t)
	right := string(lab.CTList(time.Date(2026, 6, 14, 1, 2, 3, 0, time.UTC), g.a, g.b))
	l, err := ParseList([]byte(right))
	check(t, err)
	if len(l.logs) != 2 || l.Made() != "2026-06-14" {
		t.Errorf("%d logs, made on %q", len(l.logs), l.Made())
	}
	if l, err := ParseList([]byte(strings.Replace(right, `"logs"`, `"tiled_logs"`, 1))); err != nil || len(l.logs) != 2 {
		t.Errorf("tiled logs: %v", err)
	}
	other, err := lab.NewCTLog("one", "a")
	check(t, err)
	key := func(l *lab.CTLog) string {
		var file struct {
			Operators []struct{ Logs []struct{ Key string } }
		}
		check(t, json.Unmarshal(lab.CTList(time.Now(), l), &file))
		return file.Operators[0].Logs[0].Key
	}
	for text, want := range map[string]string{
		"":                  "this is no list of logs",
		"[]":                "this is no list of logs",
		"{}":                "there is no log in it",
		`{"operators": []}`: "there is no log in it",
		strings.Replace(right, key(g.a), key(other), 1):                             `log "a": its log_id does not fit its key`,
		strings.Replace(right, key(g.a), "AAAA", 1):                                 `log "a": its log_id does not fit its key`,
		strings.Replace(right, `"name":"one"`, `"name":""`, 1):                      `log "a": it has no description, or no operator`,
		strings.Replace(right, `"usable":{`, `"retired":{}, "usable":{`, 1):         `log "a": it has more than one state`,
		strings.ReplaceAll(right, `"usable"`, `"a state that nobody has heard of"`): "there is no log in it",
	} {
		if _, err := ParseList([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	path := t.TempDir() + "/log_list.json"
	check(t, os.WriteFile(path, []byte(right), 0o644))
	if _, err := ReadList(path); err != nil {
		t.Error(err)
	}
	check(t, os.Chmod(path, 0o666))
	if _, err := ReadList(path); err == nil {
		t.Error("a list that anybody may write was read")
	}
}

// The list that is built in can be read, has enough operators, and names its source.
func TestBuiltIn(t *testing.T) {
	l, err := ParseList(logsJSON)
	check(t, err)
	operators := map[string]bool{}
	for _, log := range l.logs {
		operators[log.operator] = true
	}
	if len(operators) < 4 || len(l.logs) < 20 || l.Made() < "2026-01-01" || BuiltIn().Made() != l.Made() {
		t.Errorf("%d logs of %d operators, made on %s", len(l.logs), len(operators), l.Made())
	}
	if !bytes.HasPrefix(logsJSON, []byte(`{"source":"`)) {
		t.Error("the list does not say where it is from")
	}
}

// More timestamps than are looked at, and lists that are none.
func TestBounds(t *testing.T) {
	g := newGround(t)
	leaf := g.leaf(lab.CALeaf{SCTs: func(e lab.CTEntry) [][]byte {
		var all [][]byte
		for range 100 {
			all = append(all, g.a.SCT(e, time.Now()))
		}
		return all
	}})
	if n := len(g.list().Check(Shown{Chain: g.chain(leaf)}, time.Now())); n != maxSCTs {
		t.Errorf("%d timestamps looked at", n)
	}
	right := lab.SCTList([]byte("a"), []byte("b"))
	if list, err := ParseSCTList(right); err != nil || len(list) != 2 {
		t.Errorf("%q, %v", list, err)
	}
	for _, bad := range [][]byte{nil, {4}, {4, 0}, right[:len(right)-1], append(bytes.Clone(right), 0), lab.SCTList(), lab.SCTList(nil)} {
		if list, err := ParseSCTList(bad); err == nil {
			t.Errorf("%x is read as %q", bad, list)
		}
	}
	if new(List).Check(Shown{}, time.Now()) != nil || g.list().Check(Shown{Chain: []*x509.Certificate{nil}}, time.Now()) != nil {
		t.Error("timestamps of nothing")
	}
}

// FuzzSCTList: what a server or a certificate shows is read without a panic, and
// what is read can be written to be the same.
func FuzzSCTList(f *testing.F) {
	log, err := lab.NewCTLog("one", "a")
	if err != nil {
		f.Fatal(err)
	}
	s := log.SCT(lab.CTEntry{Certificate: []byte("certificate")}, time.Now())
	f.Add(lab.SCTList(s))
	f.Add(lab.SCTList(s, s[:50], []byte{1}))
	f.Add(lab.SCTList())
	f.Add([]byte{4, 2, 0, 0})
	list, err := ParseList(lab.CTList(time.Now(), log))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		all, err := ParseSCTList(value)
		if err == nil && len(all) <= maxSCTs && !bytes.Equal(lab.SCTList(all...), value) {
			t.Errorf("%x was read, and is %x when written", value, lab.SCTList(all...))
		}
		for _, s := range list.Check(Shown{Chain: []*x509.Certificate{{Raw: []byte("another")}}, TLS: append(all, value)}, time.Now()) {
			if s.Valid {
				t.Errorf("%x counts for another certificate", s.Raw)
			}
		}
	})
}
