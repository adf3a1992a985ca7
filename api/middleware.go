package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tidemill/tidemill/api/audit"
	"github.com/tidemill/tidemill/api/wire"
)

// ServeHTTP answers one request. Event streams and followed logs last until they end, the client goes away or the
// server is shut down.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	answer := &answerWriter{ResponseWriter: w}
	r = withBody(w, r)
	_, route := h.mux.Handler(r)
	r = r.WithContext(withRequest(r.Context(), h.identify(r)))
	defer func() {
		h.answered(answer, r)
		if h.cfg.Observe != nil {
			h.cfg.Observe(r.Method, route, answer.status, time.Since(begin))
		}
	}()
	defer h.recover(answer, r)
	header := w.Header()
	header.Set(requestHeader, requestID(r.Context()))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	d := h.dutyAt(route)
	who, err := h.admit(r, d)
	if who != nil {
		r = r.WithContext(withActor(r.Context(), who))
	}
	if err != nil {
		h.refused(r, route, d, err)
		if err := deadlines(answer, bodyTimeout, answerTimeout); err != nil {
			h.cfg.Logger.WarnContext(r.Context(), "set deadlines", "error", err)
		}
		drain(r.Body)
		writeProblem(answer, err)
		return
	}
	h.serve(answer, r, route, d)
}

// serve answers an admitted request.
func (h *Handler) serve(w *answerWriter, r *http.Request, route string, d duty) {
	if route == "" {
		h.noRoute(w, r)
		return
	}
	if h.standby(w, r, route) {
		return
	}
	comeWithin, answerWithin := bodyTimeout, answerTimeout
	if route == artifactRoute {
		comeWithin, answerWithin = fileTimeout, fileTimeout // a read deadline ends the answer, too
	}
	if err := deadlines(w, comeWithin, answerWithin); err != nil {
		h.cfg.Logger.WarnContext(r.Context(), "set deadlines", "error", err)
	}
	if takesJSON(r, route) {
		if !isJSON(r.Header.Get("Content-Type")) {
			drain(r.Body)
			writeProblem(w, problem(http.StatusUnsupportedMediaType, fmt.Sprintf(
				"the body must be JSON, not %q; send Content-Type: application/json (curl --json @spec.json does)", r.Header.Get("Content-Type"))))
			return
		}
		if r.ContentLength > maxJSON {
			drain(r.Body)
			writeProblem(w, tooLarge())
			return
		}
		body := r.Body
		r.Body = io.NopCloser(body) // closing it would end the connection of a client that is still sending
		defer drain(body)
	}
	if err := h.limit(r, d); err != nil {
		h.refused(r, route, d, err)
		drain(r.Body)
		writeProblem(w, err)
		return
	}
	if err := h.ask(w, r, route, d); err != nil {
		drain(r.Body)
		writeProblem(w, err)
		return
	}
	if reads(r) && strings.HasPrefix(r.URL.Path, "/v1/") && !h.cfg.Peers.Standing().Leads && !h.missed(w, r) {
		return
	}
	h.mux.ServeHTTP(w, r)
}

func tooLarge() *wire.Error {
	return problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is too large: at most %d bytes of JSON are taken", maxJSON))
}

// takesJSON says whether the request may have a JSON body.
func takesJSON(r *http.Request, route string) bool {
	return (r.Method == http.MethodPost || r.Method == http.MethodPut) && route != uploadRoute && r.ContentLength != 0
}

// noRoute answers a path or method that nothing serves. It asks the mux which of the two it is, and what is allowed.
func (h *Handler) noRoute(w http.ResponseWriter, r *http.Request) {
	drain(r.Body)
	asked := &discardWriter{header: http.Header{}, status: http.StatusOK}
	handler, _ := h.mux.Handler(r)
	handler.ServeHTTP(asked, r)
	if asked.status == http.StatusMethodNotAllowed {
		allow := asked.header.Get("Allow")
		w.Header().Set("Allow", allow)
		writeProblem(w, problem(asked.status, fmt.Sprintf("%s is not possible here; allowed: %s", r.Method, allow)))
		return
	}
	writeProblem(w, problem(http.StatusNotFound, fmt.Sprintf("there is nothing at %q; /openapi.json lists what there is", r.URL.Path)))
}

// recover turns a panic into a 500, or into a broken connection when the answer has begun.
func (h *Handler) recover(w *answerWriter, r *http.Request) {
	reason := recover()
	if reason == nil {
		return
	}
	if err, ok := reason.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(reason)
	}
	h.cfg.Logger.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path, "panic", reason, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeProblem(w, problem(http.StatusInternalServerError, "something went wrong here; the log of the service says what"))
}

// answerWriter remembers the status, and what was written to the audit log before.
type answerWriter struct {
	http.ResponseWriter
	status int
	asked  *audit.Entry // nil: nothing was
	reason []byte       // the beginning of an answer that refuses what was asked
}

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // others may come before the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.asked != nil && w.status >= http.StatusBadRequest {
		w.reason = append(w.reason, p[:min(len(p), maxReason-len(w.reason))]...)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// discardWriter keeps status and headers only.
type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) WriteHeader(status int)      { w.status = status }
func (w *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
