package jobs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

var rewrite = flag.Bool("rewrite", false, "record the answers in testdata anew")

// stream is a kind with every form of field, for tests.
type stream struct{ jobs.Kind }

type streamSection struct {
	Topic  string        `json:"topic" required:"true" minlen:"1"`
	Window time.Duration `json:"window" default:"1m" min:"1s"`
	Exact  bool          `json:"exact" default:"true"`
	Tags   []string      `json:"tags,omitempty" minlen:"1" maxlen:"8" minitems:"1" maxitems:"3" example:"x"`
}

func (stream) Name() string { return "stream" }

func (stream) DecodeSection(d *jobs.Decoder) jobs.Section {
	s := &streamSection{}
	d.Into(s)
	return s
}

func (*streamSection) Expressions() []jobs.Expression { return nil }
func (*streamSection) Work() (uri, connection string) { return "", "" }

func allKinds() jobs.Kinds { return jobs.Kinds{aggregate.Kind{}, stream{}} }

// TestDecode runs the specs in testdata/decode: each case is a file x.json, followed by what is shown of it (x.shown) or
// what is wrong with it (x.problems). Run with -rewrite to record them anew.
func TestDecode(t *testing.T) {
	files, err := filepath.Glob("testdata/decode/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				record(t, file, archive)
				return
			}
			if len(archive.Files)%2 != 0 {
				t.Fatalf("got %d files, want pairs", len(archive.Files))
			}
			for i := 0; i < len(archive.Files); i += 2 {
				spec, answer := archive.Files[i], archive.Files[i+1]
				t.Run(strings.TrimSuffix(spec.Name, ".json"), func(t *testing.T) {
					name, text := answerTo(spec)
					if diff := cmp.Diff(answer.Name, name); diff != "" {
						t.Errorf("answer (-want +got):\n%s", diff)
					}
					if diff := cmp.Diff(string(answer.Data), text); diff != "" {
						t.Errorf("answer (-want +got):\n%s", diff)
					}
				})
			}
		})
	}
}

// answerTo is the second file of a case.
func answerTo(file txtar.File) (name, text string) {
	base := strings.TrimSuffix(file.Name, ".json")
	spec, problems := jobs.Decode(file.Data, allKinds())
	if len(problems) > 0 {
		var b strings.Builder
		for _, p := range problems {
			fmt.Fprintf(&b, "%q: %s\n", p.Pointer, p.Detail)
		}
		return base + ".problems", b.String()
	}
	shown, err := json.Marshal(spec)
	if err != nil {
		return base + ".problems", err.Error() + "\n"
	}
	return base + ".shown", string(shown) + "\n"
}

func record(t *testing.T, path string, archive *txtar.Archive) {
	t.Helper()
	var files []txtar.File
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".json") {
			name, text := answerTo(f)
			files = append(files, f, txtar.File{Name: name, Data: []byte(text)})
		}
	}
	archive.Files = files
	if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The schema refuses what Decode refuses, but for the cases in beyond.txtar, and accepts what Decode accepts.
func TestSchemaAgrees(t *testing.T) {
	schema := compileSchema(t)
	for _, file := range []string{"fields", "aggregate", "beyond"} {
		archive, err := txtar.ParseFile("testdata/decode/" + file + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if !strings.HasSuffix(f.Name, ".json") || strings.HasPrefix(f.Name, "repeated fields") && file != "beyond" {
				continue
			}
			_, problems := jobs.Decode(f.Data, allKinds())
			invalid := validate(t, schema, f.Data)
			if accepts := len(problems) == 0 || file == "beyond"; accepts != (invalid == nil) {
				t.Errorf("%s: %s: the schema says %v; Decode says %v", file, f.Name, invalid, problems)
			}
			if file == "beyond" && len(problems) == 0 {
				t.Errorf("%s: %s: Decode accepts it, so it belongs elsewhere", file, f.Name)
			}
		}
	}
}

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(jobs.Schema(allKinds()))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("job.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("job.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t testing.TB, schema *jsonschema.Schema, spec []byte) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(spec))
	if err != nil {
		t.Fatalf("read %s: %v", spec, err)
	}
	return schema.Validate(document)
}

// Everything in the schema that a person may read is there and ends like a sentence; defaults and examples fit.
func TestSchemaDescribes(t *testing.T) {
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return
		}
		for name, value := range properties {
			property, at := value.(map[string]any), path+"/"+name
			description, ok := property["description"].(string)
			if !ok || !strings.HasSuffix(description, ".") {
				t.Errorf("%s: got description %q, want a sentence", at, description)
			}
			walk(at, property)
			if items, ok := property["items"].(map[string]any); ok {
				walk(at+"/items", items)
			}
			for _, literal := range literals(property) {
				if err := validateLiteral(t, property, literal); err != nil {
					t.Errorf("%s: default or example %v: %v", at, literal, err)
				}
			}
		}
	}
	walk("", jobs.Schema(jobs.Kinds{aggregate.Kind{}}))
}

func literals(schema map[string]any) []any {
	all, _ := schema["examples"].([]any)
	if fallback, ok := schema["default"]; ok {
		return append([]any{fallback}, all...)
	}
	return all
}

func validateLiteral(t *testing.T, schema map[string]any, literal any) error {
	t.Helper()
	both, err := json.Marshal([]any{schema, literal})
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(both))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("field.json", document.([]any)[0]); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("field.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(document.([]any)[1])
}
