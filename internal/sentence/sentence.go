// Package sentence puts the errors that people read together, the same way
// everywhere: what happened, why, and what to do.
package sentence

// Of is "what: why; hint". Why and hint may be empty.
func Of(what, why, hint string) string {
	if why != "" {
		what += ": " + why
	}
	if hint != "" {
		what += "; " + hint
	}
	return what
}

// Causes is what such an error unwraps to: its kind, and the cause where there is
// one.
func Causes(kind, cause error) []error {
	if cause == nil {
		return []error{kind}
	}
	return []error{kind, cause}
}
