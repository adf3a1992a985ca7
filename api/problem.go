package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// huma is told by package variables what an error looks like and that lists are never null; no other package uses it.
func init() {
	huma.NewError = humaError
	huma.DefaultArrayNullable = false
}

// humaError turns what huma found wrong with a request into our shape. It never echoes the request's values.
func humaError(status int, message string, errs ...error) huma.StatusError {
	if status == http.StatusRequestEntityTooLarge {
		return tooLarge()
	}
	problems := make([]wire.Problem, 0, len(errs))
	for _, err := range errs {
		var detailer huma.ErrorDetailer
		switch {
		case err == nil:
		case errors.As(err, &detailer):
			d := detailer.ErrorDetail()
			p := located(d.Location)
			p.Detail = d.Message
			problems = append(problems, p)
		case status < 500: // what went wrong inside is for the log only
			problems = append(problems, wire.Problem{Detail: err.Error()})
		}
	}
	return problem(status, message, problems...)
}

// located reads a location in huma's notation: "query.limit", or "body.params[0].name".
func located(location string) wire.Problem {
	part, rest, _ := strings.Cut(location, ".")
	if part != "body" {
		name, _, _ := strings.Cut(rest, "[") // one value of several
		return wire.Problem{Parameter: name}
	}
	if rest == "" {
		return wire.Problem{}
	}
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(rest)
	return wire.Problem{Pointer: "/" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(escaped)}
}

// problem is an answer that refuses.
func problem(status int, detail string, problems ...wire.Problem) *wire.Error {
	return &wire.Error{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: problems}
}

// invalidParameter refuses a value of the path, query or headers.
func invalidParameter(name, detail string) *wire.Error {
	return problem(http.StatusUnprocessableEntity, "a parameter is wrong", wire.Problem{Parameter: name, Detail: detail})
}

// statuses maps the kinds of errors, once for the whole API.
var statuses = map[scheduler.ErrorKind]int{
	scheduler.Invalid:     http.StatusUnprocessableEntity,
	scheduler.NotFound:    http.StatusNotFound,
	scheduler.Conflict:    http.StatusConflict,
	scheduler.Unavailable: http.StatusServiceUnavailable,
	scheduler.Internal:    http.StatusInternalServerError,
}

// retryAfter goes with every 503: a new leader is there within seconds.
var retryAfter = http.Header{"Retry-After": {"2"}}

// refusal turns any error of the scheduler, the artefact store or the logs into an answer. What is unknown is logged and
// not shown.
func (h *Handler) refusal(ctx context.Context, err error) error {
	var refused *scheduler.Error
	var answer *wire.Error
	switch {
	case errors.As(err, &answer):
		return err
	case errors.As(err, &refused):
		answer = problem(statuses[refused.Kind], refused.Message, problems(refused.Problems)...)
		if answer.Status == 0 || answer.Status == http.StatusInternalServerError {
			answer = problem(http.StatusInternalServerError, "the scheduler failed: "+refused.Message)
			h.cfg.Logger.ErrorContext(ctx, "command failed", "error", refused)
		}
	case errors.As(err, new(*http.MaxBytesError)):
		answer = problem(http.StatusRequestEntityTooLarge, "the body is too large")
	case errors.Is(err, context.DeadlineExceeded):
		answer = problem(http.StatusServiceUnavailable, "the scheduler did not answer in time; the request may still be carried out")
	case errors.Is(err, context.Canceled):
		answer = problem(http.StatusServiceUnavailable, "the request was given up")
	default:
		h.cfg.Logger.ErrorContext(ctx, "request failed", "error", err)
		answer = problem(http.StatusInternalServerError, "something went wrong here; the log of the service says what")
	}
	if answer.Status == http.StatusServiceUnavailable {
		return huma.ErrorWithHeaders(answer, retryAfter)
	}
	return answer
}

// problems are those of a spec.
func problems(found []jobs.Problem) []wire.Problem {
	out := make([]wire.Problem, len(found))
	for i, p := range found {
		out[i] = wire.Problem{Pointer: p.Pointer, Detail: p.Detail}
	}
	return out
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, err error) {
	var answer *wire.Error
	if !errors.As(err, &answer) {
		answer = problem(http.StatusInternalServerError, "something went wrong here")
	}
	var headers huma.HeadersError
	if errors.As(err, &headers) {
		for name, values := range headers.GetHeaders() {
			w.Header()[name] = values
		}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(answer) != nil {
		body.Reset() // cannot happen: strings and a number
	}
	w.Header().Set("Content-Type", answer.ContentType(""))
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(answer.Status)
	_, _ = w.Write(body.Bytes()) // a client that has gone away needs no answer
}
