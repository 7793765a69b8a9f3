package address

import (
	"strings"
	"testing"

	"mellium.im/xmpp/jid"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", MaxPart)
	for _, tt := range []struct {
		in   string
		want Address
		ok   bool
	}{
		{"example.org", Address{Domain: "example.org"}, true},
		{"juliet@example.org", Address{"juliet", "example.org", ""}, true},
		{"juliet@example.org/balcony", Address{"juliet", "example.org", "balcony"}, true},
		{"example.org/b@d/c", Address{"", "example.org", "b@d/c"}, true},
		{"Juliet@Example.ORG/Balcony", Address{"juliet", "example.org", "Balcony"}, true},
		{"ﬀ@example.org", Address{}, false}, // a compatibility character
		{"a@faß.example/☃", Address{"a", "faß.example", "☃"}, true},
		{"a@xn--faß.example", Address{}, false},
		{"a@127.0.0.1", Address{"a", "127.0.0.1", ""}, true},
		{"a@[::1]", Address{"a", "[::1]", ""}, true},
		{"a@example.org/ x", Address{"a", "example.org", " x"}, true},
		{long + "@e.org", Address{long, "e.org", ""}, true},
		{long + "a@e.org", Address{}, false},
		{"", Address{}, false}, {"@e.org", Address{}, false}, {"a@", Address{}, false}, {"a@e.org/", Address{}, false},
		{"a b@e.org", Address{}, false}, {"a@e@f.org", Address{}, false}, {"a'@e.org", Address{}, false},
	} {
		got, err := Parse(tt.in)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("Parse(%.40q) = %+v, %v; want %+v, %v", tt.in, got, err, tt.want, tt.ok)
		}
	}
}

func TestAccount(t *testing.T) {
	for in, want := range map[string]string{
		"Juliet": "juliet@example.org", "jul.iet": "jul.iet@example.org",
		"": "", "a@b": "", "a@example.org/": "", "a@example.org": "", "a/b": "", "a b": "", "a@example.org/b": "",
	} {
		if got, err := Account(in, "example.org"); got.String() != want || (err == nil) != (want != "") {
			t.Errorf("Account(%q) = %v, %v; want %q", in, got, err, want)
		}
	}
}

// What the quick scan accepts is what the library makes of it.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"a@b.c/d", "b.c", "a.-_9@e-f.org/~!", "a@1.2.3.4", "a@b..c", "a@-b", "xn--a.b", "a@b./c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := parsePlain(s)
		if !ok {
			return
		}
		j, err := jid.Parse(s)
		if err != nil {
			t.Fatalf("%q: accepted, and the library says %v", s, err)
		}
		if want := (Address{j.Localpart(), j.Domainpart(), j.Resourcepart()}); a != want || a.String() != s {
			t.Fatalf("%q: %+v, the library says %+v", s, a, want)
		}
	})
}

func TestWithResource(t *testing.T) {
	a := Address{"a", "e.org", ""}
	if f, err := a.WithResource("x y"); err != nil || f != (Address{"a", "e.org", "x y"}) || f.Bare() != a {
		t.Errorf("got %v, %v", f, err)
	}
	for _, bad := range []string{"", "\x00", strings.Repeat("x", MaxPart+1)} {
		if f, err := a.WithResource(bad); err == nil {
			t.Errorf("%.10q: %v", bad, f)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("juliet.capulet@example.org/balcony-1f3"); err != nil {
			b.Fatal(err)
		}
	}
}
