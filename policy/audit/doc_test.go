package audit

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocument sees that docs/check.md has a row for each check, as it is.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, c := range Checks() {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", c.ID, c.Asks, c.Severity, c.Reference)
	}
	if !strings.HasSuffix(string(doc), "|---|---|---|---|\n"+want.String()) {
		t.Errorf("the table at the end of docs/check.md must be:\n%s", want.String())
	}
}
