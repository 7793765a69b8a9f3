package sentence

import (
	"errors"
	"io"
	"testing"
)

func TestOf(t *testing.T) {
	for _, c := range [][4]string{
		{"it broke", "", "", "it broke"},
		{"it broke", "too old", "", "it broke: too old"},
		{"it broke", "", "mend it", "it broke; mend it"},
		{"it broke", "too old", "mend it", "it broke: too old; mend it"},
	} {
		if got := Of(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("got %q, want %q", got, c[3])
		}
	}
}

func TestCauses(t *testing.T) {
	kind := errors.New("kind")
	if got := Causes(kind, nil); len(got) != 1 || got[0] != kind {
		t.Errorf("without a cause: %v", got)
	}
	if got := Causes(kind, io.EOF); len(got) != 2 || got[1] != io.EOF {
		t.Errorf("with a cause: %v", got)
	}
}
