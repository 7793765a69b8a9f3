package audit

// EgressObservation is what came of trying to get out by other ways than the
// decided route.
type EgressObservation struct {
	Attempts []Attempt
}

// Attempt is one try.
type Attempt struct {
	Way     string // "dns", "tcp", "udp" or "socks"
	To      string // what was tried
	Outcome Outcome
	How     string // what stopped it, or what came back; why it could not be tried
}

// Outcome is what came of an [Attempt]. The zero value is not known.
type Outcome uint8

// The outcomes.
const (
	NotTried Outcome = iota // it could not be tried, or what came of it cannot be said
	Stopped
	GotOut
	NoSuchWay // it does not apply, such as IPv6 on a machine that has none
)

func egressChecks() []question {
	ask := func(way, asks, reference, all string) question {
		return question{"egress." + way, asks, Critical, reference, fix("", "", all), func(j *judge) { askEgress(j, way) }}
	}
	const closed = `let the unit reach nothing but this machine: [tor] mode = "system", and IPAddressDeny=any and IPAddressAllow=127.0.0.1 ::1 (systemd/README.md); or a network namespace`
	return []question{
		ask("dns", "no name is asked for beside the route", "RFC 7686 §2", closed),
		ask("tcp", "no connection goes beside the route", "docs/check.md", closed),
		ask("udp", "no datagram leaves", "docs/check.md", closed),
		ask("socks", "the proxy refuses what the route forbids", "RFC 1928 §6", "see that the SOCKS port is Tor's own, and asks for credentials that keep accounts apart"),
	}
}

func askEgress(j *judge, way string) {
	tried := false
	for _, a := range j.Egress.Attempts {
		if a.Way != way {
			continue
		}
		tried = true
		switch a.Outcome {
		case Stopped:
			j.pass(a.To, "stopped: %s", a.How)
		case GotOut:
			j.fail(a.To, "it got out: %s", a.How)
		case NoSuchWay:
			j.skip(a.To, "%s", a.How)
		default:
			j.unknown(a.To, "%s", a.How)
		}
	}
	if !tried {
		j.unknown(thisMachine, "nothing was tried")
	}
}
