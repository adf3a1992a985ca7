package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	exportPath      = "/v1/store/export"
	exportOperation = "export-store"
)

func (h *Handler) exportRoute(described huma.API) {
	op := operation(exportOperation, http.MethodGet, exportPath, "service", "Export all records, as a backup")
	op.Description = "As one commit left them, from any instance. `tidemill store import` reads it; its last line has the sum of all lines before it."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A line of JSON for each record",
		Content:     map[string]*huma.MediaType{"application/x-ndjson": {Schema: &huma.Schema{Type: "string"}}},
	}}
	huma.Register(described, op, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			h.export(w, r)
		}}, nil
	})
}

// export writes the records. A problem is answered as such as long as nothing was written; later the connection is
// broken, and the export lacks its last line.
func (h *Handler) export(w http.ResponseWriter, r *http.Request) {
	out := &exportWriter{w: w}
	err := h.cfg.Export(r.Context(), out)
	switch {
	case err == nil:
	case !out.begun:
		h.cfg.Logger.WarnContext(r.Context(), "export the store", "error", err)
		writeProblem(w, unavailable("the store cannot be read at present"))
	default:
		h.cfg.Logger.WarnContext(r.Context(), "export broken off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// exportWriter gives each piece its own deadline.
type exportWriter struct {
	w     http.ResponseWriter
	begun bool
}

func (e *exportWriter) Write(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		e.w.Header().Set("Content-Type", "application/x-ndjson")
		e.w.Header().Set("Content-Disposition", `attachment; filename="tidemill-export.jsonl"`)
	}
	if err := deadlines(e.w, 0, answerTimeout); err != nil {
		return 0, err
	}
	return e.w.Write(p)
}
