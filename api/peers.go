package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// Peers are the instances that share one store, of which one leads. Methods are safe for concurrent use.
type Peers interface {
	// Standing says what is known now of who leads. It does not block.
	Standing() Standing
	// Fresh blocks until the scheduler's View is at most about a second old, and returns at once while this instance
	// leads. When newer records cannot be read it says how old the View is; an error means that there is none at all.
	Fresh(ctx context.Context) (age time.Duration, err error)
	// Refresh blocks until the scheduler's View shows all that was stored before the call.
	Refresh(ctx context.Context) error
}

// Standing is this instance's part among its peers.
type Standing struct {
	Leads     bool
	Self      string // URL under which the others reach this instance
	Leader    string // the same of the one that leads, as far as is known; empty if none is
	Epoch     uint64 // of the newest term that this instance has seen; 0 where terms are not numbered
	Instances []wire.Instance
}

// alone is the Peers of an instance that has none.
type alone struct {
	scheduler Scheduler
	url       string
}

func (a alone) Standing() Standing {
	s := Standing{Leads: a.scheduler.View().Leading, Self: a.url}
	if s.Leads {
		s.Leader = a.url
	}
	return s
}

func (a alone) Fresh(context.Context) (time.Duration, error) { return 0, nil }
func (a alone) Refresh(context.Context) error                { return nil }

const (
	freshTimeout = 3 * time.Second // for reading the store, before a request is answered
	tolerated    = 2 * time.Second // age of a view that is not worth mentioning
)

// readable waits until a standby's view is fresh. A view that is older than it should be is shown all the same, and
// the answer says how old it is: that the store cannot be read is no reason to show nothing.
func (h *Handler) readable(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), freshTimeout)
	defer cancel()
	age, err := h.cfg.Peers.Fresh(ctx)
	if err != nil {
		return unavailable("this instance has not been able to read the store yet: " + err.Error())
	}
	if age > tolerated {
		w.Header().Set("Age", strconv.Itoa(int(age.Seconds())))
	}
	return nil
}

// missed answers a read of a standby, unless the answer would be that something is not there: that may be because it is
// newer than the view. Then it makes the view newer, and the request is to be answered once more.
func (h *Handler) missed(w http.ResponseWriter, r *http.Request) bool {
	first := &missWriter{ResponseWriter: w}
	h.mux.ServeHTTP(first, r)
	if !first.missed {
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), freshTimeout)
	defer cancel()
	if err := h.cfg.Peers.Refresh(ctx); err != nil {
		h.cfg.Logger.WarnContext(ctx, "read the store for what was not found", "path", r.URL.Path, "error", err)
	}
	return true
}

// missWriter keeps a 404 back.
type missWriter struct {
	http.ResponseWriter
	missed bool
}

func (w *missWriter) WriteHeader(status int) {
	if status == http.StatusNotFound {
		w.missed = true
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *missWriter) Write(p []byte) (int, error) {
	if w.missed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *missWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
