package policy

import "slices"

// Known is what is known of the onion endpoints of a domain apart from the rules:
// from an address book, or from a login at one of them. None of it proves the
// server: only the account's domain, or its owner's rule, makes an onion address
// an identity.
type Known struct {
	Endpoints []Endpoint // in the order to try them; empty: none
	Source    string     // where the endpoints are from, for people
	Listed    bool       // they stand in an address book

	// Since is the day (YYYY-MM-DD) of the first login at an onion endpoint. From
	// then on the domain is reached in no other way until its owner says so. Empty:
	// there was none.
	Since string

	// Problem says why nobody can tell; the domain is refused then.
	Problem error
}

// Forget is the command by which an owner lets a domain be reached in other ways
// than at its onion addresses again.
func Forget(domain string) string { return "xmpp-gw onion map forget " + domain }

// known is what of the domain's Known counts beside its rules. own is the part of
// the rule that stands in the domain's own section: what an owner says there goes
// before anything that others said or that was remembered.
func (r Rules) known(domain string, rule, own Rule) (Known, error) {
	if r.Known == nil || domain == "" || IsOnion(domain) || rule.Onion.IsSet() || rule.Endpoints.IsSet() {
		return Known{}, nil
	}
	k := r.Known(domain)
	if own.Upgrade.V == UpgradeOff {
		k.Since, k.Problem = "", nil
		if !k.Listed {
			k.Endpoints = nil
		}
	}
	viaTor := rule.Route.V.ViaTor()
	switch {
	case !viaTor && own.Route.IsSet():
		return Known{}, nil
	case k.Problem != nil:
		return Known{}, &Refusal{Domain: domain, Why: "what is known of its onion addresses cannot be read: " + k.Problem.Error(),
			Hint: "Correct or delete that file"}
	case !viaTor && k.Since != "":
		return Known{}, &Refusal{Domain: domain, Source: rule.Route.Source,
			Why:  "it was reached at its onion address on " + k.Since + ", and is not reached in any other way since",
			Hint: "Set route = \"tor\" for it; or lift that with `" + Forget(domain) + "` or a route in its own section"}
	case !viaTor:
		return Known{}, nil
	}
	k.Endpoints = slices.DeleteFunc(slices.Clone(k.Endpoints), Endpoint.notOnion)
	return k, nil
}

// why says what is known, in the manner of a rule's settings.
func (k Known) why() []Reason {
	var list []Reason
	if len(k.Endpoints) > 0 {
		list = append(list, Reason{Key: "known onion", Value: join(k.Endpoints), Source: k.Source})
	}
	if k.Since != "" {
		list = append(list, Reason{Key: "onion since", Value: k.Since, Source: "a login at its onion address"})
	}
	return list
}
