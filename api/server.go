package api

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// Limits of requests and answers. Streams (events, followed logs, uploads) have a deadline for each step instead of one
// for the whole.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second // for a JSON body, or for the next piece of an upload
	answerTimeout = time.Minute      // for a whole answer, or for the next piece of a stream
	doTimeout     = 10 * time.Second // for one command to the scheduler; two of them and the wait for checks fit into bodyTimeout
	fileTimeout   = 15 * time.Minute // for a whole executor, to an agent
	uploadTimeout = 30 * time.Minute // for a whole executor, from its sender into the storage
	idleTimeout   = 2 * time.Minute  // between requests of one connection
	maxHeader     = 64 << 10
	maxJSON       = 1 << 20
	maxDrain      = 64 << 20 // of a refused body, so that its sender gets to read the answer
)

// Server returns a server for the handler with the limits that it relies on. The caller gives it a listener; its
// Shutdown also ends event streams and followed logs.
func (h *Handler) Server() *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
	server.RegisterOnShutdown(h.endStreams)
	return server
}

// ArtifactServer returns a server of executor files alone, with the same limits, for an address of their own.
func (h *Handler) ArtifactServer() *http.Server {
	server := h.Server()
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, route := h.mux.Handler(r); route != artifactRoute {
			writeProblem(w, problem(http.StatusNotFound, "only executor files are served at this address"))
			return
		}
		h.ServeHTTP(w, r)
	})
	return server
}

func (h *Handler) endStreams() { h.stopOnce.Do(func() { close(h.stop) }) }

// deadlines sets how long the request may take to come and its answer to go. Servers that know no deadlines (tests with
// a recorder) go without.
func deadlines(w http.ResponseWriter, read, write time.Duration) error {
	control := http.NewResponseController(w)
	err := errors.Join(control.SetReadDeadline(after(read)), control.SetWriteDeadline(after(write)))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// after is a deadline so far from now; 0 is none.
func after(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// isJSON says whether a Content-Type is JSON. None is taken for it, and so is a form, of which nothing here knows: it is
// what curl -d says of every body. What browsers send without being asked is refused for its origin, not for its type.
func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	return mediaType == "" || mediaType == "application/json" || mediaType == "application/x-www-form-urlencoded" || strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json")
}
