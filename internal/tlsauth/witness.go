package tlsauth

import (
	"context"
	"errors"
	"slices"

	"xmpp-gw/policy"
)

// A Look sees the key of the endpoint over another circuit than the connection's: a
// pin of a server that proved itself there too. Where the endpoint is an onion address
// that the domain is said to name, and over the other circuit it does not, the error is
// an [ErrElsewhere].
type Look func(ctx context.Context) (key string, err error)

// ErrElsewhere is an endpoint that somebody named over one circuit, and nobody over the
// other.
var ErrElsewhere = errors.New("the domain does not name this onion address there")

// witness compares the server's key with what a second look sees, before anything
// but the handshake was said. Somebody in the middle of one circuit, with a
// certificate that an authority gave out wrongly, is not in the middle of both:
// what the two see differs.
//
// A key that was remembered before has been compared with more than one circuit by
// then, so only one that was not is looked at twice (on-change), or each (always).
// One that differs is not remembered, nor one that could not be seen twice: then
// the next login looks again.
//
//	this circuit   the other one              what becomes of it
//	known          the same, or known too     good: several machines, each with a key
//	known          unknown                    warning: the login goes to the known key
//	unknown        the same                   good
//	unknown        a known one                refused: that is how interception looks
//	unknown        unknown, another           warning; refused if strict
//	unknown        could not be seen          warning; refused if strict
//	known          could not be seen          refused with "always"
//
// An onion address that the domain does not name over the other circuit is one where the
// other key could not be seen, and refused where any key of the domain is known.
//
// Strict is pin = "tofu-strict" and witness = "always".
func (v *verifier) witness(ctx context.Context, look Look) error {
	if v.seen.Text = v.twice(look); v.seen.Text != "" {
		return nil
	}
	known := v.remembered()
	isKnown := slices.Contains(known, v.spki)
	always := v.decision.Witness == policy.WitnessAlways
	if isKnown && !always {
		v.seen.Text = "not asked: the key is known"
		return nil
	}
	key, err := look(ctx)
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if err == nil && key == v.spki {
		v.seen.Text = "the same key over a second circuit"
		return nil
	}
	v.hold = !isKnown
	strict := always || v.strict()
	switch {
	case errors.Is(err, ErrElsewhere):
		v.seen.Text = "not named over a second circuit"
		return v.doubt(strict || len(known) > 0 && !isKnown, v.unseen(err))
	case err != nil:
		v.seen.Text = "not seen over a second circuit"
		return v.doubt(strict, v.unseen(err))
	}
	v.seen.Text = "another key over a second circuit"
	otherKnown := slices.Contains(known, key)
	switch {
	case isKnown && otherKnown:
		v.seen.Text += ", which is known too"
		return nil
	case isKnown:
		return v.doubt(false, v.differs(key, "the login goes to the key that is known"))
	case otherKnown:
		return v.doubt(true, v.differs(key, "the other one is known, and this one was never seen before"))
	}
	return v.doubt(strict, v.differs(key, "neither was seen before"))
}

// twice says why nobody looks a second time; "" if somebody must.
func (v *verifier) twice(look Look) string {
	switch {
	case v.decision.Witness == policy.WitnessOff:
		return `not asked: witness = "off"`
	case v.pin == PinConfigured:
		return "not asked: the key is one of pins"
	case v.endpoint.Onion() && look == nil:
		return "not asked: nobody is between Tor and an onion address"
	case v.noLook != "":
		return v.noLook
	case look == nil:
		return "skipped: the route has no second circuit"
	}
	return ""
}

// remembered are the keys of the domain that were seen before.
func (v *verifier) remembered() []string {
	if v.decision.Pin == policy.PinOff || v.pins == nil {
		return nil
	}
	seen, _, err := v.pins.Seen(v.domain)
	if err != nil {
		return nil // remember says so
	}
	return seen.Keys
}

// doubt refuses the server, or tells of it.
func (v *verifier) doubt(refuse bool, e *Error) error {
	if refuse {
		return v.object(e)
	}
	v.seen.Warns = true
	v.warnings = append(v.warnings, Reason(e))
	return nil
}

func (v *verifier) differs(key, also string) *Error {
	return &Error{Kind: ErrWitness, What: "the server of " + v.domain + " shows another key over a second circuit",
		Why:  "this one sees " + v.spki + " and the other " + key + "; " + also + ": somebody is in the middle of one of them, or several machines with keys of their own serve the domain",
		Hint: "try again, which takes other circuits; if it stays so, ask its operator over another way which keys are theirs, and add those to pins in " + v.section()}
}

func (v *verifier) unseen(err error) *Error {
	why := Reason(err)
	if _, ok := errors.AsType[*Error](err); !ok {
		why = withoutAddress(err)
	}
	return &Error{Kind: ErrWitness, What: "the key of the server of " + v.domain + " could not be seen over a second circuit", Why: why, // not Err: this connection did not fail
		Hint: `try again; if it stays so, witness = "off" in ` + v.section() + " does without"}
}
