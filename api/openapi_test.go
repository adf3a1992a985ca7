package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// description is /openapi.json, compiled so that answers can be held against it.
type description struct {
	text     any
	compiler *jsonschema.Compiler
	paths    map[string]map[string]any // by path, then method
}

const descriptionURL = "http://tidemill.test/openapi.json"

func readDescription(t testing.TB, text []byte) *description {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("read openapi.json: %v", err)
	}
	d := &description{text: parsed, compiler: jsonschema.NewCompiler(), paths: map[string]map[string]any{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(descriptionURL, parsed); err != nil {
		t.Fatalf("read openapi.json: %v", err)
	}
	for path, methods := range parsed.(map[string]any)["paths"].(map[string]any) {
		d.paths[path] = methods.(map[string]any)
	}
	return d
}

// operation is the described path that fits, and what is said of the method.
func (d *description) operation(method, path string) (pattern string, operation map[string]any) {
	best := -1
	for candidate, methods := range d.paths {
		literal, ok := fits(candidate, path)
		if !ok || methods[strings.ToLower(method)] == nil || literal <= best {
			continue
		}
		best, pattern, operation = literal, candidate, methods[strings.ToLower(method)].(map[string]any)
	}
	return pattern, operation
}

// fits says whether a path fits a pattern, and how many of its segments do so literally.
func fits(pattern, path string) (literal int, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return 0, false
	}
	for i := range want {
		switch {
		case want[i] == got[i]:
			literal++
		case !strings.HasPrefix(want[i], "{"):
			return 0, false
		}
	}
	return literal, true
}

// check holds an answer against what is described for it. Paths that are not described must answer with problems, or
// are not part of the API.
func (d *description) check(t testing.TB, method, path string, a answer) {
	t.Helper()
	mediaType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if a.status >= 400 && method != "HEAD" && path != "/readyz" {
		if mediaType != "application/problem+json" {
			t.Errorf("%s %s: status %d has content type %q", method, path, a.status, mediaType)
			return
		}
		d.validate(t, method+" "+path, "/components/schemas/Error", a.body)
	}
	pattern, operation := d.operation(method, path)
	if operation == nil {
		return
	}
	status := fmt.Sprint(a.status)
	responses := operation["responses"].(map[string]any)
	described, ok := responses[status].(map[string]any)
	if !ok {
		t.Errorf("%s %s: status %s is not described", method, pattern, status)
		return
	}
	content, _ := described["content"].(map[string]any)
	if content[mediaType] == nil {
		t.Errorf("%s %s: status %s has content type %q, which is not described", method, pattern, status, mediaType)
		return
	}
	if mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") {
		escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
		pointer := fmt.Sprintf("/paths/%s/%s/responses/%s/content/%s/schema", escape(pattern), strings.ToLower(method), status, escape(mediaType))
		d.validate(t, method+" "+path, pointer, a.body)
	}
}

func (d *description) validate(t testing.TB, what, pointer string, body []byte) {
	t.Helper()
	schema, err := d.compiler.Compile(descriptionURL + "#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer))
	if err != nil {
		t.Errorf("%s: compile %s: %v", what, pointer, err)
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("%s: %v in %s", what, err, body)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: the answer is not as described: %v\n%s", what, err, body)
	}
}

func TestDescriptionIsComplete(t *testing.T) {
	s := serve(t)
	want := []string{
		"POST /v1/jobs", "GET /v1/jobs", "PUT /v1/jobs/{name}", "GET /v1/jobs/{name}", "DELETE /v1/jobs/{name}", "GET /v1/jobs/{name}/revisions",
		"POST /v1/jobs/{name}/runs", "GET /v1/runs", "GET /v1/runs/{id}", "GET /v1/runs/{id}/tasks", "POST /v1/runs/{id}/cancel",
		"GET /v1/runs/{id}/explain", "GET /v1/runs/{id}/events", "GET /v1/tasks/{id}/logs",
		"PUT /v1/executors/{version}/{platform}", "GET /v1/executors", "GET /v1/executors/{version}", "DELETE /v1/executors/{version}",
		"GET /v1/channels", "PUT /v1/channels/{name}", "GET /v1/channels/{name}", "DELETE /v1/channels/{name}",
		"GET /v1/channels/{name}/rollouts", "POST /v1/channels/{name}/rollout/{action}", "GET /v1/info", "GET /healthz", "GET /readyz",
	}
	for _, call := range want {
		method, path, _ := strings.Cut(call, " ")
		operation, ok := s.described.paths[path][strings.ToLower(method)].(map[string]any)
		if !ok {
			t.Errorf("%s is not described", call)
			continue
		}
		if operation["summary"] == "" || operation["operationId"] == "" {
			t.Errorf("%s has no summary or ID", call)
		}
	}
	if version := s.described.text.(map[string]any)["openapi"]; version != "3.1.0" {
		t.Errorf("got OpenAPI %v", version)
	}
	// The examples of requests are good ones.
	content := s.described.paths["/v1/channels/{name}"]["put"].(map[string]any)["requestBody"].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)
	for name, example := range content["examples"].(map[string]any) {
		body, err := json.Marshal(example.(map[string]any)["value"])
		if err != nil {
			t.Fatal(err)
		}
		s.described.validate(t, "example "+name, "/paths/~1v1~1channels~1{name}/put/requestBody/content/application~1json/schema", body)
	}
	// The spec's schema is the one that jobs.Decode goes by.
	schema, err := s.described.compiler.Compile(descriptionURL + "#/components/schemas/JobSpec")
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{specOf("flights"): true, `{"name": "flights", "kind": "aggregate", "paralelism": 3}`: false} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != good {
			t.Errorf("schema on %s: got %v", text, err)
		}
	}
}
