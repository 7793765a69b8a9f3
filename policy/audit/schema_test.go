package audit

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compile makes a schema of a document.
func compile(doc any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("schema.json")
}

// sarifSchema is the schema of SARIF 2.1.0 that OASIS published. Package sarif has it as
// a constant that it keeps to itself, and holds only what it has read into types of its
// own against it; so the text is taken from its source.
var sarifSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", reflect.TypeFor[sarif.Report]().PkgPath()).Output()
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "schema.go"), nil, 0)
	if err != nil {
		return nil, err
	}
	var text string
	for _, spec := range file.Decls[0].(*ast.GenDecl).Specs {
		if v := spec.(*ast.ValueSpec); v.Names[0].Name == "schema" {
			text, err = strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		}
	}
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return compile(doc)
})

// checkSARIF holds a log against the schema, and reads it with another implementation.
func checkSARIF(t *testing.T, text []byte, reports []*Report) {
	t.Helper()
	schema, err := sarifSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("this is not SARIF 2.1.0: %v", err)
	}
	log, err := sarif.FromBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(log.Runs) != len(reports) {
		t.Fatalf("%d runs of %d reports", len(log.Runs), len(reports))
	}
	for i, run := range log.Runs {
		if len(run.Results) != len(reports[i].Findings) {
			t.Errorf("%d results of %d findings", len(run.Results), len(reports[i].Findings))
		}
		for _, r := range run.Results {
			if r.Kind != "fail" && r.Level != "none" { // §3.27.10
				t.Errorf("kind %v with level %v", r.Kind, r.Level)
			}
			if rules := run.Tool.Driver.Rules; r.RuleIndex < 0 || r.RuleIndex >= len(rules) || *rules[r.RuleIndex].ID != *r.RuleID {
				t.Errorf("rule %d is not %s", r.RuleIndex, *r.RuleID) // §3.27.6
			}
		}
	}
}

// ourSchema is docs/check-1.schema.json as it is, and compiled so that it lets nothing
// pass that it does not name: readers must, but what we write is all in it.
var ourSchema = sync.OnceValues(func() (doc map[string]any, err error) {
	text, err := os.ReadFile("../../docs/check-1.schema.json")
	if err != nil {
		return nil, err
	}
	return doc, json.Unmarshal(text, &doc)
})

var ourStrictSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := ourSchema()
	if err != nil {
		return nil, err
	}
	for _, o := range objects(doc) {
		o["additionalProperties"] = false
	}
	return compile(doc)
})

// objects are the parts of a schema that name properties.
func objects(v any) (found []map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		if v["properties"] != nil {
			found = append(found, v)
		}
		for _, x := range v {
			found = append(found, objects(x)...)
		}
	case []any:
		for _, x := range v {
			found = append(found, objects(x)...)
		}
	}
	return found
}

// checkJSON holds a document against our schema.
func checkJSON(t *testing.T, text []byte) {
	t.Helper()
	schema, err := ourStrictSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("docs/check-1.schema.json says otherwise: %v", err)
	}
}

// TestJSONSchema sees that the schema, what writes the documents and docs/check.md name
// the same fields.
func TestJSONSchema(t *testing.T) {
	doc, err := ourSchema()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compile(doc); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	defs := doc["$defs"].(map[string]any)
	for _, c := range []struct {
		schema any
		of     reflect.Type
	}{
		{doc, reflect.TypeFor[jsonDocument]()},
		{defs["report"], reflect.TypeFor[jsonReport]()},
		{defs["finding"], reflect.TypeFor[jsonFinding]()},
		{defs["policy"], reflect.TypeFor[jsonPolicy]()},
		{defs["unmet"], reflect.TypeFor[jsonUnmet]()},
	} {
		var all, always []string
		for i := range c.of.NumField() {
			name, option, _ := strings.Cut(c.of.Field(i).Tag.Get("json"), ",")
			all = append(all, name)
			if option == "" {
				always = append(always, name)
			}
		}
		slices.Sort(all)
		schema := c.schema.(map[string]any)
		if named := slices.Sorted(maps.Keys(schema["properties"].(map[string]any))); !slices.Equal(named, all) {
			t.Errorf("%s: the schema has %v, the program %v", c.of.Name(), named, all)
		}
		var required []string
		for _, r := range schema["required"].([]any) {
			required = append(required, r.(string))
		}
		if !slices.Equal(required, always) {
			t.Errorf("%s: the schema demands %v, the program always writes %v", c.of.Name(), required, always)
		}
		for _, name := range all {
			if !bytes.Contains(page, []byte("`"+name+"`")) && !bytes.Contains(page, []byte("`."+name+"`")) && !bytes.Contains(page, []byte("`."+name+"[]`")) &&
				!bytes.Contains(page, []byte("`"+name+"[]`")) {
				t.Errorf("docs/check.md has no %q", name)
			}
		}
	}
	if want := doc["properties"].(map[string]any)["schema"].(map[string]any)["const"]; want != Schema {
		t.Errorf("the schema is for %v, the program writes %s", want, Schema)
	}
}

// TestSchemasRefuse sees that both schemas are held to: a wrong field is found.
func TestSchemasRefuse(t *testing.T) {
	r := judged(good(t))
	var js, sa bytes.Buffer
	if err := (Output{}).JSON(&js, []*Report{r}); err != nil {
		t.Fatal(err)
	}
	if err := (Output{}).SARIF(&sa, []*Report{r}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		schema   func() (*jsonschema.Schema, error)
		text     string
		old, new string
	}{
		{ourStrictSchema, js.String(), `"grade": "A+"`, `"grade": "E"`},
		{ourStrictSchema, js.String(), `"verdict": "pass"`, `"verdict": "good"`},
		{ourStrictSchema, js.String(), `"via":`, `"way":`},
		{ourStrictSchema, js.String(), `"evidence": "`, `"evidence": "\u202e`},
		{sarifSchema, sa.String(), `"kind": "pass"`, `"kind": "good"`},
		{sarifSchema, sa.String(), `"ruleId":`, `"rule_id":`},
		{sarifSchema, sa.String(), `"driver":`, `"drivers":`},
	} {
		schema, err := c.schema()
		if err != nil {
			t.Fatal(err)
		}
		wrong := strings.Replace(c.text, c.old, c.new, 1)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(wrong))
		if err != nil {
			t.Fatal(err)
		}
		if wrong == c.text || schema.Validate(doc) == nil {
			t.Errorf("%s in place of %s is let pass", c.new, c.old)
		}
	}
}
