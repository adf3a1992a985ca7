package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/jobs"
)

// newDescribed makes the part of the API that /openapi.json describes. What handlers take and give is described
// from their types.
func newDescribed(mux *http.ServeMux, version string) huma.API {
	strict := huma.Format{
		Marshal: func(w io.Writer, v any) error {
			encoder := json.NewEncoder(w)
			encoder.SetEscapeHTML(false)
			return encoder.Encode(v)
		},
		// Refuses what encoding/json lets pass: duplicate keys, bad UTF-8, endless nesting.
		Unmarshal: func(data []byte, v any) error { return jsonv2.Unmarshal(data, v) },
	}
	return humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "tidemill",
				Version:     version,
				Description: "Data jobs on Mesos. Every error is application/problem+json with located problems.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "Needed for everything but the probes as soon as one is configured. What it may do goes by its roles: each operation names the one that it needs"},
				},
			},
			Security: []map[string][]string{{}, {"token": {}}},
			Tags: []*huma.Tag{
				{Name: "jobs", Description: "Named specs with numbered revisions"},
				{Name: "runs", Description: "Executions of a job, their tasks and logs"},
				{Name: "executors", Description: "Immutable executor versions, and the channels that point at them"},
				{Name: "service", Description: "About this instance"},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": strict, "json": strict},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	})
}

// operation has what all operations share. Codes are the errors that it can answer beside the common ones.
func operation(id, method, path, tag, summary string, codes ...int) huma.Operation {
	if method != http.MethodGet {
		codes = append(codes, http.StatusBadGateway) // of a standby, when the leader gives no answer
	}
	return huma.Operation{
		OperationID:     id,
		Method:          method,
		Path:            path,
		Tags:            []string{tag},
		Summary:         summary,
		Extensions:      map[string]any{roleExtension: string(roleOf(id, method, tag))},
		Errors:          append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}, codes...),
		MaxBodyBytes:    maxJSON + 1, // huma refuses a body of exactly that size, too
		BodyReadTimeout: bodyTimeout,
	}
}

// describe keeps the description of the API. Job specs are checked by jobs.Decode, not by huma, so their schema is
// put in by hand.
func (h *Handler) describe(described huma.API) {
	api := described.OpenAPI()
	api.Components.Schemas.Map()["JobSpec"] = &huma.Schema{Extensions: jobs.Schema(h.cfg.Kinds)}
	spec := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/JobSpec"}}}
	post, put, upload := api.Paths["/v1/jobs"].Post, api.Paths["/v1/jobs/{name}"].Put, api.Paths[uploadPath].Put
	for _, op := range []*huma.Operation{post, put} {
		op.RequestBody = &huma.RequestBody{Required: true, Content: spec}
	}
	// These answer 201 for what is new and 200 otherwise; huma describes one of the two.
	for _, op := range []*huma.Operation{post, put, upload} {
		answer := op.Responses[strconv.Itoa(op.DefaultStatus)]
		for _, status := range []int{http.StatusOK, http.StatusCreated} {
			op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Headers: answer.Headers, Content: answer.Content}
		}
	}
	h.duties = map[string]duty{}
	for path, item := range api.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch} {
			if op != nil {
				d := dutyOf(op)
				h.duties[op.Method+" "+path] = d
				op.Description = strings.TrimSpace(op.Description + needs(d.role))
			}
		}
	}
	ready := api.Paths["/readyz"].Get.Responses
	ready["503"] = &huma.Response{Description: "Not ready", Content: ready["200"].Content}
	text, err := json.Marshal(api)
	if err != nil {
		panic(fmt.Sprintf("describe the API: %v", err)) // the same at every start: a test finds it
	}
	h.description = text
}

// needs says it of a role, for people.
func needs(role access.Role) string {
	if role == access.Anybody {
		return "\n\nNeeds no token."
	}
	return fmt.Sprintf("\n\nNeeds the role `%s`.", role)
}

func (h *Handler) openAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json;version=3.1")
	if _, err := w.Write(h.description); err != nil {
		h.cfg.Logger.DebugContext(r.Context(), "send description", "error", err)
	}
}
