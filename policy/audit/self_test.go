package audit

import (
	"bytes"
	"strings"
	"testing"
)

// TestRemedy: a file's fix is the command that puts it right.
func TestRemedy(t *testing.T) {
	for _, tt := range []struct {
		file File
		want string
	}{
		{File{Path: "/a", Mode: 0o644, Max: 0o600, OwnOK: true}, "chmod 600 /a"},
		{File{Path: "/a", Mode: 0o777, Max: 0o700, OwnOK: true}, "chmod 700 /a"},
		{File{Path: "/a", Mode: 0o664, Max: 0o640, OwnOK: true}, "chmod 640 /a"},
		{File{Path: "/a", Mode: 0o600, Max: 0o600}, "sudo chown OWNER /a (the user that runs xmpp-gw)"},
	} {
		if got := tt.file.remedy()[""]; got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.file, got, tt.want)
		}
	}
}

// TestListenRemedy: what is to be changed is the listener in question.
func TestListenRemedy(t *testing.T) {
	for kind, want := range map[string]string{"c2s": "c2s = [", "c2s-tls": "c2s_tls = [", "metrics": "without metrics_public", "node-c2s": "127.0.0.1"} {
		o := goodSelf(t)
		o.Self.Listeners = []Listener{{Kind: kind, Address: "0.0.0.0:1", TLS: "none"}}
		checks, err := Select([]string{"self.listen"})
		if err != nil {
			t.Fatal(err)
		}
		if got := Judge(o, checks)[0].Fix[""]; !strings.Contains(got, want) {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

// TestNotes: who logs in at the servers of each domain stands in every report for
// people and in JSON, whatever is filtered.
func TestNotes(t *testing.T) {
	o := goodSelf(t)
	r := NewReport(o, Judge(o, Checks()))
	out := Output{Level: Critical}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text":     func(b *bytes.Buffer) error { return out.Text(b, []*Report{r}) },
		"markdown": func(b *bytes.Buffer) error { return out.Markdown(b, []*Report{r}) },
		"json":     func(b *bytes.Buffer) error { return out.JSON(b, []*Report{r}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(b.String()), " ")
		for _, want := range []string{"all domains: originate (", "example.org: passthrough (the client logs in inside its own TLS, and the gateway sees nothing; c:7)"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", name, want, text)
			}
		}
	}
}
