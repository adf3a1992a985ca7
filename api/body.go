package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// body is a request's, that knows whether it is worth reading when the request is refused.
type body struct {
	io.ReadCloser
	control   *http.ResponseController
	announced int64 // bytes; -1: not known
	held      bool  // the client waits to be asked for it (Expect: 100-continue), which the first Read does
	asked     atomic.Bool
}

// withBody gives a copy of the request such a body. The request itself stays as it is: the server looks at its body to
// find out whether it was read.
func withBody(w http.ResponseWriter, r *http.Request) *http.Request {
	out := r.WithContext(r.Context())
	out.Body = &body{
		ReadCloser: r.Body,
		control:    http.NewResponseController(w),
		announced:  r.ContentLength,
		held:       strings.EqualFold(r.Header.Get("Expect"), "100-continue"),
	}
	return out
}

func (b *body) Read(p []byte) (int, error) {
	b.asked.Store(true)
	return b.ReadCloser.Read(p)
}

// refuse reads what is left: a client that is still sending would otherwise see a broken connection instead of the
// answer. One that waits to be asked is not asked, and one that has announced too much is not waited for. It gives up at
// maxDrain, or when the rest does not come in time.
func (b *body) refuse() {
	if b.held && !b.asked.Load() || b.announced > maxDrain {
		return
	}
	if err := b.control.SetReadDeadline(after(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return // the client has gone away
	}
	drain(b.ReadCloser)
}

// drain reads what is left of a request's body, as its refuse says. There may be none.
func drain(from io.Reader) {
	switch b := from.(type) {
	case nil:
		return
	case *body:
		b.refuse()
		return
	case *uploadBody:
		drain(b.body)
		return
	}
	if _, err := io.CopyN(io.Discard, from, maxDrain); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return // the client has gone away: nobody waits for the answer
	}
}

// errSlow ends an upload whose pieces come in time, and are too small.
var errSlow = fmt.Errorf("it must have come within %s", uploadTimeout-answerTimeout)

// uploadBody gives each piece of a large body its own deadline.
type uploadBody struct {
	body    io.ReadCloser
	control *http.ResponseController
	ends    time.Time // when all of it must have come; zero: somebody else sees to it
}

func (b *uploadBody) Read(p []byte) (int, error) {
	// The answer has its time from the last piece on, however long the body took.
	until := after(bodyTimeout)
	if !b.ends.IsZero() && b.ends.Before(until) {
		until = b.ends
	}
	if !time.Now().Before(until) {
		return 0, errSlow
	}
	err := errors.Join(b.control.SetReadDeadline(until), b.control.SetWriteDeadline(after(fileTimeout)))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := b.body.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && until.Equal(b.ends) {
		return n, errSlow
	}
	if err == io.EOF {
		// The server goes on reading to notice a client that goes away; it must not take the deadline for that.
		if clear := b.control.SetReadDeadline(time.Time{}); clear != nil && !errors.Is(clear, http.ErrNotSupported) {
			return n, clear
		}
	}
	return n, err
}

func (b *uploadBody) Close() error { return b.body.Close() }
