package jobs_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tidemill/tidemill/jobs"
)

// Documents that text files cannot hold well.
func TestDecodeHostile(t *testing.T) {
	deepObjects := strings.Repeat(`{"a":`, 100_000)
	for name, test := range map[string]struct{ text, pointer, detail string }{
		"too large":     {`{"name": "` + strings.Repeat("a", jobs.MaxBytes) + `"}`, "", "the spec has 1048588 bytes; at most 1048576 are allowed"},
		"deep arrays":   {strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), strings.Repeat("/0", 64), "line 1: objects and arrays are nested more than 64 deep"},
		"deep objects":  {deepObjects, strings.Repeat("/a", 64), "line 1: objects and arrays are nested more than 64 deep"},
		"deep, open":    {`{"aggregate": ` + strings.Repeat("[", 100_000), "/aggregate" + strings.Repeat("/0", 63), "line 1: objects and arrays are nested more than 64 deep"},
		"bad UTF-8":     {"{\n\"name\": \"a\xff\"}", "/name", "line 2, column 11: invalid UTF-8"},
		"bad UTF-8 key": {"{\"na\xffme\": \"a\"}", "", "line 1, column 5: invalid UTF-8"},
		"overlong":      {"{\"name\": \"\xc0\xaf\"}", "/name", "line 1, column 11: invalid UTF-8"},
		"BOM":           {"\xef\xbb\xbf{}", "", "line 1, column 1: invalid character '\\ufeff' at start of value"},
		"NUL":           {"\x00", "", "line 1, column 1: invalid character '\\x00' at start of value"},
		"long name":     {`{"a": {"` + strings.Repeat("k", 201) + `": 1}}`, "/a", "line 1: the name of a field has 201 bytes; at most 200 are allowed"},
		"spaces":        {strings.Repeat(" ", 1000), "", "the spec is empty"},
		"long number":   {`{"name": ` + strings.Repeat("1", 1_000_000) + `}`, "/name", "want a string, got a number; put it in quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			spec, problems := jobs.Decode([]byte(test.text), allKinds())
			if spec != nil || len(problems) == 0 {
				t.Fatalf("got spec %v and problems %v", spec, problems)
			}
			if diff := cmp.Diff(jobs.Problem{Pointer: test.pointer, Detail: test.detail}, problems[0]); diff != "" {
				t.Errorf("first problem (-want +got):\n%s", diff)
			}
		})
	}
}

// A document full of faults costs no more than its size: the answer is cut, and every field is looked at once.
func TestDecodeManyProblems(t *testing.T) {
	many := func(element func(name string) string) string {
		var b strings.Builder
		for b.Len() < jobs.MaxBytes-100 {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(element(fmt.Sprintf("x%06d", b.Len())))
		}
		return b.String()
	}
	field := func(name string) string { return `"` + name + `":1` }
	spec := func(section string) string {
		return `{"name":"a","kind":"aggregate","aggregate":{"input":{"uri":"s3://in/","format":"csv"},"output":{"uri":"s3://out/"},` + section + `}}`
	}
	short := func(text string) string { return text[:min(len(text), jobs.MaxBytes-200)] }
	cut := func(text string) string { return short(text)[:strings.LastIndexByte(short(text), ',')] }
	for name, text := range map[string]string{
		"unknown fields":   `{` + cut(many(field)) + `}`,
		"repeated fields":  `{` + cut(many(func(string) string { return `"name":1` })) + `}`,
		"constraints":      `{"constraints":[` + cut(many(func(string) string { return `{}` })) + `]}`,
		"empty arrays":     `{"constraints":[` + cut(many(func(string) string { return `[]` })) + `]}`,
		"groups":           spec(`"group_by":[` + cut(many(func(string) string { return `{"nam":1}` })) + `]`),
		"measures":         spec(`"measures":{` + cut(many(field)) + `}`),
		"functions":        spec(`"measures":{"m":{` + cut(many(field)) + `}}`),
		"object as a text": spec(`"where":{` + cut(many(field)) + `}`),
		"columns":          `{"name":"a","kind":"aggregate","aggregate":{"input":{"columns":{` + cut(many(field)) + `}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if len(text) > jobs.MaxBytes {
				t.Fatalf("the test's own spec has %d bytes", len(text))
			}
			_, problems := jobs.Decode([]byte(text), allKinds())
			if len(problems) == 0 || len(problems) > 101 {
				t.Errorf("got %d problems", len(problems))
			}
			if strings.HasPrefix(problems[0].Detail, "line ") {
				t.Errorf("the test's own spec is no JSON: %v", problems[0])
			}
		})
	}
}

// Whatever the text, Decode returns either a spec or problems that name a field; what it shows of a spec is the same
// spec again; and the schema takes what Decode takes.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/decode/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("got %d files, error %v", len(files), err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, seed := range archive.Files {
			if strings.HasSuffix(seed.Name, ".json") {
				f.Add(seed.Data)
			}
		}
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, problems := jobs.Decode(data, allKinds())
		if (spec == nil) != (len(problems) > 0) {
			t.Fatalf("got spec %v and problems %v", spec, problems)
		}
		for _, p := range problems {
			if p.Detail == "" || p.Pointer != "" && p.Pointer[0] != '/' || !utf8.ValidString(p.Detail) {
				t.Errorf("got problem %q", p)
			}
		}
		if spec == nil {
			return
		}
		features := jobs.Features(allKinds())
		for _, need := range spec.Needs() {
			if _, found := slices.BinarySearch(features, need.Feature); !found {
				t.Errorf("%s needs %s at %s, which is no feature", data, need.Feature, need.Pointer)
			}
		}
		shown, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := jobs.Decode(shown, allKinds())
		if len(problems) > 0 {
			t.Fatalf("%s is shown as %s, which has the problems %v", data, shown, problems)
		}
		if diff := cmp.Diff(spec, again, cmpopts.IgnoreUnexported(jobs.Spec{})); diff != "" || !jobs.Equal(spec, again) {
			t.Fatalf("what is shown of it is another spec (-want +got):\n%s", diff)
		}
		if err := validate(t, schema, data); err != nil {
			t.Fatalf("Decode accepts %s, the schema says %v", data, err)
		}
	})
}
