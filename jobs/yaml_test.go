package jobs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tidemill/tidemill/jobs"
)

// TestFromYAML runs testdata/yaml: each x.yaml is followed by what it becomes (x.json) or what is wrong (x.problems).
func TestFromYAML(t *testing.T) {
	const path = "testdata/yaml/cases.txtar"
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(f txtar.File) txtar.File {
		base := strings.TrimSuffix(f.Name, ".yaml")
		text, problems := jobs.FromYAML(f.Data)
		if len(problems) == 0 {
			return txtar.File{Name: base + ".json", Data: append(text, '\n')}
		}
		var b strings.Builder
		for _, p := range problems {
			fmt.Fprintf(&b, "%q: %s\n", p.Pointer, p.Detail)
		}
		return txtar.File{Name: base + ".problems", Data: []byte(b.String())}
	}
	var files []txtar.File
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".yaml") {
			files = append(files, f, answer(f))
		}
	}
	if *rewrite {
		archive.Files = files
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(&txtar.Archive{Comment: archive.Comment, Files: files}))); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// What is hostile is refused within the test's time, and with a text that names no more than a line.
func TestFromYAMLHostile(t *testing.T) {
	deep := func(open, between, end string, n int) string {
		return strings.Repeat(open, n) + between + strings.Repeat(end, n)
	}
	for name, text := range map[string]string{
		"too large":       "a: " + strings.Repeat("x", jobs.MaxBytes),
		"deep flow":       deep("[", "", "]", 100_000),
		"deep mappings":   deep("{a: ", "1", "}", 5_000),
		"deep indents":    deep("- ", "x", "", 5_000),
		"bad UTF-8":       "name: a\xff",
		"long name":       strings.Repeat("k", 5_000) + ": 1",
		"all fields bad":  strings.Repeat("- 0x1\n", 20_000),
		"all repeated":    strings.Repeat("a: 1\n", 20_000),
		"control":         "name: \"a\x00b\"",
		"unfinished deep": strings.Repeat("[", 5_000),
	} {
		t.Run(name, func(t *testing.T) {
			data, problems := jobs.FromYAML([]byte(text))
			if len(problems) == 0 {
				t.Fatalf("got %.200s, want problems", data)
			}
			if len(problems) > 101 {
				t.Errorf("got %d problems", len(problems))
			}
			for _, p := range problems {
				if len(p.Detail) > 300 || len(p.Pointer) > 20_000 {
					t.Errorf("got a long problem %.300q", p)
				}
			}
		})
	}
}

// A spec says the same in JSON and read as YAML.
func TestYAMLOfJSON(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/decode/aggregate.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if !strings.HasSuffix(f.Name, ".json") {
			continue
		}
		converted, problems := jobs.FromYAML(f.Data)
		if len(problems) > 0 {
			t.Errorf("%s: got %v", f.Name, problems)
			continue
		}
		_, want := jobs.Decode(f.Data, allKinds())
		_, got := jobs.Decode(converted, allKinds())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: problems of the JSON, problems of the YAML (-want +got):\n%s", f.Name, diff)
		}
	}
}

func FuzzFromYAML(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/yaml/cases.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		f.Add(file.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, problems := jobs.FromYAML(data)
		if len(problems) == 0 && !json.Valid(text) {
			t.Errorf("%q becomes %q", data, text)
		}
		if len(problems) > 0 && text != nil {
			t.Errorf("%q has the problems %v and becomes %q", data, problems, text)
		}
	})
}
