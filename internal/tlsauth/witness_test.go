package tlsauth

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// The table in the comment of witness, row by row.
func TestWitness(t *testing.T) {
	ca := newCA(t)
	cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	here := SPKI(cert.Leaf)
	there, third := SPKI(newLeaf(t, ca, lab.CALeaf{}).Leaf), SPKI(newLeaf(t, ca, lab.CALeaf{}).Leaf)
	same := func(context.Context) (string, error) { return here, nil }
	other := func(context.Context) (string, error) { return there, nil }
	blind := func(context.Context) (string, error) { return "", errors.New("no circuit") }
	gone := func(context.Context) (string, error) { return "", ErrElsewhere }
	const (
		onChange = policy.WitnessOnChange
		always   = policy.WitnessAlways
		soft     = policy.PinTOFUWarn
		strict   = policy.PinTOFUStrict
	)
	for _, c := range []struct {
		name    string
		known   []string // before
		witness policy.Witness
		pin     policy.PinMode
		look    Look
		mode    policy.Mode

		refused bool
		looked  bool
		warns   string
		kept    bool // here is remembered afterwards
		says    string
	}{
		{name: "first, same", witness: onChange, pin: soft, look: same, looked: true, kept: true, says: "the same key over a second circuit"},
		{name: "first, another", witness: onChange, pin: soft, look: other, looked: true, warns: "neither was seen before"},
		{name: "first, another, strict", witness: onChange, pin: strict, look: other, looked: true, refused: true, says: "neither was seen before"},
		{name: "first, another, always", witness: always, pin: soft, look: other, looked: true, refused: true, says: "neither was seen before"},
		{name: "first, blind", witness: onChange, pin: soft, look: blind, looked: true, warns: "could not be seen over a second circuit"},
		{name: "first, blind, strict", witness: onChange, pin: strict, look: blind, looked: true, refused: true, says: "could not be seen"},
		{name: "first, blind, always", witness: always, pin: soft, look: blind, looked: true, refused: true, says: "could not be seen"},
		{name: "first, blind, only report", witness: always, pin: soft, look: blind, mode: policy.Report, looked: true, says: "not seen"},

		{name: "changed, same", known: []string{there}, witness: onChange, pin: soft, look: same, looked: true, warns: "has a new key", kept: true, says: "the same key"},
		{name: "changed, the old one", known: []string{there}, witness: onChange, pin: soft, look: other, looked: true, refused: true, says: "the other one is known, and this one was never seen before"},
		{name: "changed, the old one, pin off", known: []string{there}, witness: onChange, pin: policy.PinOff, look: other, looked: true, warns: "neither was seen before"},
		{name: "changed, the old one, only report", known: []string{there}, witness: onChange, pin: soft, look: other, mode: policy.Report, looked: true, says: "another key"},
		{name: "changed, a third", known: []string{third}, witness: onChange, pin: soft, look: other, looked: true, warns: "neither was seen before"},
		{name: "changed, blind", known: []string{third}, witness: onChange, pin: soft, look: blind, looked: true, warns: "could not be seen"},

		{name: "first, elsewhere", witness: onChange, pin: soft, look: gone, looked: true, warns: "does not name this onion address"},
		{name: "first, elsewhere, strict", witness: onChange, pin: strict, look: gone, looked: true, refused: true, says: "does not name this onion address"},
		{name: "changed, elsewhere", known: []string{there}, witness: onChange, pin: soft, look: gone, looked: true, refused: true, says: "does not name this onion address"},
		{name: "known, elsewhere, always", known: []string{here}, witness: always, pin: soft, look: gone, looked: true, refused: true, kept: true, says: "does not name this onion address"},

		{name: "known", known: []string{here}, witness: onChange, pin: soft, look: other, kept: true, says: "not asked: the key is known"},
		{name: "known, strict", known: []string{here}, witness: onChange, pin: strict, look: other, kept: true, says: "not asked: the key is known"},
		{name: "known, always, same", known: []string{here}, witness: always, pin: soft, look: same, looked: true, kept: true, says: "the same key"},
		{name: "known, always, another", known: []string{here}, witness: always, pin: soft, look: other, looked: true, warns: "the login goes to the key that is known", kept: true, says: "another key"},
		{name: "known, always, also known", known: []string{there, here}, witness: always, pin: soft, look: other, looked: true, kept: true, says: "another key over a second circuit, which is known too"},
		{name: "known, always, blind", known: []string{here}, witness: always, pin: soft, look: blind, looked: true, refused: true, kept: true, says: "could not be seen"},
		{name: "known, pin off", known: []string{here}, witness: onChange, pin: policy.PinOff, look: same, looked: true, kept: true, says: "the same key"},

		{name: "off", witness: policy.WitnessOff, pin: soft, look: other, kept: true, says: `not asked: witness = "off"`},
		{name: "no second circuit", witness: always, pin: soft, kept: true, says: "skipped: the route has no second circuit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pins, err := OpenPins(filepath.Join(t.TempDir(), "pins"))
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range c.known {
				if _, _, err := pins.meet(domain, key, time.Now(), true); err != nil {
					t.Fatal(err)
				}
			}
			d := decision()
			d.Witness, d.Pin, d.Mode = c.witness, c.pin, c.mode
			looked := false
			o := Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Pins: pins}
			if c.look != nil {
				o.Witness = func(ctx context.Context) (string, error) { looked = true; return c.look(ctx) }
			}
			r, err := meet(t, o, serverWith(cert))
			if (err != nil) != c.refused || c.refused && !errors.Is(err, ErrWitness) {
				t.Fatalf("err = %v", err)
			}
			says := ""
			if err != nil {
				says = err.Error()
			} else {
				says = r.Witness.Text
				if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, c.warns) || c.warns == "" && w != "" {
					t.Errorf("warnings %q", w)
				}
				if r.Witness.Warns != (c.warns != "" && c.warns != "has a new key") {
					t.Errorf("%+v", r.Witness)
				}
				if (c.mode == policy.Report) != (len(r.Objections) == 1) {
					t.Errorf("objections %q", r.Objections)
				}
			}
			if !strings.Contains(says, c.says) {
				t.Errorf("it says %q, want %q", says, c.says)
			}
			if looked != c.looked {
				t.Errorf("looked: %v", looked)
			}
			seen, _, err := pins.Seen(domain)
			if err != nil || slices.Contains(seen.Keys, here) != c.kept {
				t.Errorf("remembered: %v, %v", seen.Keys, err)
			}
		})
	}
}

// A key that the owner vouches for, or that an address is, needs no second look; nor
// is one begun for a caller who gave up.
func TestWitnessNeedless(t *testing.T) {
	ca := newCA(t)
	cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	never := func(context.Context) (string, error) { t.Error("somebody looked"); return "", nil }
	pinned, onions := decision(), decision()
	pinned.Pins, pinned.Witness = []string{SPKI(cert.Leaf)}, policy.WitnessAlways
	onions.Witness = policy.WitnessAlways
	atOnion := starttls
	atOnion.Host = onion
	for want, o := range map[string]Options{
		"not asked: the key is one of pins":                     {Decision: pinned, Endpoint: starttls},
		"not asked: nobody is between Tor and an onion address": {Decision: onions, Endpoint: atOnion},
	} {
		o.Roots, o.Witness = ca.Pool(), never
		if o.Endpoint.Onion() {
			o.Witness = nil
		}
		if r, err := meet(t, o, serverWith(cert)); err != nil || r.Witness.Text != want {
			t.Errorf("%s: %+v, %v", want, r, err)
		}
	}
}
