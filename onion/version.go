package onion

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Version is a release of Tor: four numbers and perhaps a status such as
// "alpha" or "rc" (Tor's version-spec).
type Version struct {
	Major, Minor, Micro, Patch int
	Status                     string
}

// MinVersion is the oldest Tor that is used: 0.4.8 is the oldest series with
// the proof-of-work defence and conflux, and older ones get no security fixes.
func MinVersion() Version { return Version{0, 4, 8, 0, ""} }

// ParseVersion reads a version such as "0.4.9.11" or "0.4.9.1-alpha-dev"; what
// follows the first space (a git revision) does not matter.
func ParseVersion(s string) (Version, error) {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	numbers, status, _ := strings.Cut(word, "-")
	parts := strings.Split(numbers, ".")
	v := Version{Status: status}
	into := []*int{&v.Major, &v.Minor, &v.Micro, &v.Patch}
	if len(parts) < 3 || len(parts) > len(into) {
		return Version{}, fmt.Errorf("%q is not a version of Tor", s)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("%q is not a version of Tor", s)
		}
		*into[i] = int(n)
	}
	return v, nil
}

// parseVersionOutput finds the version in what `tor --version` prints.
func parseVersionOutput(out string) (Version, error) {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "Tor version "); ok {
			return ParseVersion(strings.TrimSuffix(strings.TrimSpace(rest), "."))
		}
	}
	return Version{}, errors.New("no line \"Tor version …\" in its answer to --version")
}

// String is the version as Tor writes it; empty for the zero value.
func (v Version) String() string {
	if v == (Version{}) {
		return ""
	}
	s := fmt.Sprintf("%d.%d.%d.%d", v.Major, v.Minor, v.Micro, v.Patch)
	if v.Status != "" {
		s += "-" + v.Status
	}
	return s
}

// Less reports whether v's numbers are below w's. A status is not compared:
// an alpha of a new enough series is new enough.
func (v Version) Less(w Version) bool {
	a := [...]int{v.Major, v.Minor, v.Micro, v.Patch}
	b := [...]int{w.Major, w.Minor, w.Micro, w.Patch}
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
