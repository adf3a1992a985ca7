package api

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/audit"
	"github.com/tidemill/tidemill/api/wire"
)

// requestHeader has the ID of a request in its answer, and on its way from a standby to the leader.
const requestHeader = "X-Request-Id"

// Refused requests come from anybody: so many a second are written to the audit log, so that they cannot push out what
// matters; how many were left out is in the next one.
const (
	refusalRate  = 10
	refusalBurst = 100
)

// maxFact is how many bytes of one thing that a request says the audit log holds.
const maxFact = 500

// identify gives a request an ID: a new one, or that which the standby has given it that passes it on.
func (h *Handler) identify(r *http.Request) string {
	if id := r.Header.Get(requestHeader); id != "" && len(id) <= 64 && strings.Trim(id, letters) == "" && h.peer(r) != "" {
		return id
	}
	return rand.Text()
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // of rand.Text

// peer is the instance that has passed a request on; empty if none that is known has.
func (h *Handler) peer(r *http.Request) string {
	by := r.Header.Get(forwardedHeader)
	if by == "" {
		return ""
	}
	for _, one := range h.cfg.Peers.Standing().Instances {
		if one.URL == by {
			return by
		}
	}
	return ""
}

// limit refuses a submission of somebody who sends too many.
func (h *Handler) limit(r *http.Request, d duty) error {
	who := sender(r.Context())
	if !d.limited || who == nil {
		return nil
	}
	wait := h.cfg.Access.Limit(who)
	if wait == 0 {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	detail := fmt.Sprintf("%q sends too many submissions; nothing was changed. Try again in %d s", who.Name, seconds)
	return huma.ErrorWithHeaders(problem(http.StatusTooManyRequests, detail), http.Header{"Retry-After": {strconv.Itoa(seconds)}})
}

// ask writes to the audit log what a request is about to change. An error refuses the request: what is not written must
// not be done.
func (h *Handler) ask(w *answerWriter, r *http.Request, route string, d duty) error {
	if h.cfg.Audit == nil || !d.audited {
		return nil
	}
	entry := h.entry(r, route, d)
	entry.Event, entry.Facts = audit.Asked, facts(r, route)
	if name, named := entry.Facts["name"].(string); named && d.id == "post-job" {
		entry.Target = map[string]string{"job": name}
	}
	if err := h.cfg.Audit.Write(entry); err != nil {
		h.cfg.Logger.ErrorContext(r.Context(), "a change was refused: it cannot be written to the audit log", "error", err)
		return unavailable("the audit log cannot be written; nothing was changed")
	}
	entry.Facts = nil
	w.asked = &entry
	return nil
}

// answered writes to the audit log how what was asked for has ended.
func (h *Handler) answered(w *answerWriter, r *http.Request) {
	if w.asked == nil {
		return
	}
	entry := *w.asked
	entry.Time, entry.Event, entry.Status, entry.Location = time.Now().UTC(), audit.Answered, w.status, cut(w.Header().Get("Location"))
	if reason := w.detail(); reason != "" {
		entry.Facts = map[string]any{"reason": cut(reason)}
	}
	if err := h.cfg.Audit.Write(entry); err != nil {
		h.cfg.Logger.ErrorContext(r.Context(), "an answer is not in the audit log", "action", entry.Action, "status", entry.Status, "error", err)
	}
}

// maxReason is how many bytes of a refusing answer are kept for its reason: of a longer one none is known.
const maxReason = 64 << 10

// detail is what a problem answer says as a whole; empty for other answers. Its errors are left out: they quote what was
// sent.
func (w *answerWriter) detail() string {
	var answer struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(w.reason, &answer) != nil {
		return ""
	}
	return answer.Detail
}

// refused writes to the audit log that a change was refused.
func (h *Handler) refused(r *http.Request, route string, d duty, err error) {
	if h.cfg.Audit == nil || !d.audited {
		return
	}
	if !h.refusals.Allow() {
		h.leftOut.Add(1)
		return
	}
	entry := h.entry(r, route, d)
	entry.Event = audit.Refused
	var answer *wire.Error
	if errors.As(err, &answer) {
		entry.Status = answer.Status
		entry.Facts = map[string]any{"reason": cut(answer.Detail)}
	}
	if n := h.leftOut.Swap(0); n > 0 {
		entry.Facts["left_out_before"] = n
	}
	if err := h.cfg.Audit.Write(entry); err != nil {
		h.cfg.Logger.ErrorContext(r.Context(), "a refusal is not in the audit log", "action", entry.Action, "status", entry.Status, "error", err)
	}
}

// entry is what is known of a request from the start.
func (h *Handler) entry(r *http.Request, route string, d duty) audit.Entry {
	address := r.RemoteAddr
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	return audit.Entry{
		Time: time.Now().UTC(), Request: requestID(r.Context()), Actor: actor(r.Context()),
		Address: address, ForwardedBy: h.peer(r), ForwardedFor: cut(strings.Join(r.Header.Values("X-Forwarded-For"), ", ")),
		Action: d.id, Target: target(route, r.URL.EscapedPath()),
	}
}

// target is what a path names, such as a job and a run. Where the pattern says only name or id, the segment before does.
func target(route, path string) map[string]string {
	_, pattern, _ := strings.Cut(route, " ")
	names, values := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(names) != len(values) {
		return nil
	}
	found := map[string]string{}
	for i, name := range names {
		if !strings.HasPrefix(name, "{") {
			continue
		}
		if name = strings.Trim(name, "{}"); name == "name" || name == "id" {
			name = strings.TrimSuffix(names[i-1], "s")
		}
		if value, err := url.PathUnescape(values[i]); err == nil {
			found[name] = cut(value)
		}
	}
	return found
}

// told are the fields of bodies that the audit log holds: none of them can be a secret. Parameters of runs could.
var told = []string{"name", "kind", "role", "executor", "version", "rollout", "allow_incompatible", "again", "reason"}

// facts are what a request says of what it is to change. It reads a JSON body ahead; its handler reads it again.
func facts(r *http.Request, route string) map[string]any {
	found := map[string]any{}
	if dry := r.URL.Query().Get("dry_run"); dry != "" {
		found["dry_run"] = cut(dry)
	}
	for _, header := range []string{"X-Checksum-Sha256", "Idempotency-Key"} {
		if value := r.Header.Get(header); value != "" {
			found[strings.ReplaceAll(strings.ToLower(header), "-", "_")] = cut(value)
		}
	}
	if route == uploadRoute {
		found["bytes"] = r.ContentLength
		return found
	}
	if !takesJSON(r, route) {
		return found
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(readAhead(r), &body) != nil {
		return found // its handler says what is wrong with it
	}
	for _, name := range told {
		if value, there := body[name]; there && len(value) <= maxFact {
			var plain any
			if json.Unmarshal(value, &plain) == nil {
				found[name] = plain
			}
		}
	}
	return found
}

// readAhead reads a body of at most maxJSON and puts it back, with the error that ended it.
func readAhead(r *http.Request) []byte {
	begin, err := io.ReadAll(io.LimitReader(r.Body, maxJSON+1))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failedReader{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), rest), r.Body}
	return begin
}

type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }

func cut(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxFact)], "") }
