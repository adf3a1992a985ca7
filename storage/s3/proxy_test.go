package s3

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// fault answers a request in place of the server, which forward still asks.
type fault func(w http.ResponseWriter, r *http.Request, forward func() *http.Response)

// flaky is a proxy before the shared server. Requests that match are handed to
// the faults in turn; all others, and those after the last fault, pass.
type flaky struct {
	*httptest.Server
	transport *http.Transport
	match     func(*http.Request) bool

	mu       sync.Mutex
	faults   []fault
	requests int // that matched
}

func newFlaky(t *testing.T, match func(*http.Request) bool, faults ...fault) *flaky {
	t.Helper()
	f := &flaky{transport: &http.Transport{}, match: match, faults: faults}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
		f.transport.CloseIdleConnections()
	})
	return f
}

func (f *flaky) next(r *http.Request) fault {
	if !f.match(r) {
		return pass
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	if len(f.faults) == 0 {
		return pass
	}
	first := f.faults[0]
	f.faults = f.faults[1:]
	return first
}

// matched is how many requests matched so far.
func (f *flaky) matched() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.next(r)(w, r, func() *http.Response {
		to, err := url.Parse(server.URL() + r.URL.RequestURI())
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		out := r.Clone(r.Context())
		out.URL, out.RequestURI = to, ""
		if r.ContentLength == 0 {
			out.Body = nil
		}
		answer, err := f.transport.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		return answer
	})
}

// relay copies an answer, at most so many bytes of its body; -1 is all.
func relay(w http.ResponseWriter, answer *http.Response, most int64) {
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	body := io.Reader(answer.Body)
	if most >= 0 {
		body = io.LimitReader(body, most)
	}
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func pass(w http.ResponseWriter, _ *http.Request, forward func() *http.Response) {
	relay(w, forward(), -1)
}

// status refuses with an S3 error and never asks the server.
func refuse(status int, code string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ func() *http.Response) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>so it is</Message></Error>") // the client may be gone
	}
}

// cutAfter breaks the connection after so many bytes of the answer's body.
func cutAfter(bytes int64) fault {
	return func(w http.ResponseWriter, _ *http.Request, forward func() *http.Response) {
		relay(w, forward(), bytes)
		flush(w)
		panic(http.ErrAbortHandler)
	}
}

// stallAfter sends so many bytes of the answer's body and then nothing, until
// the client gives up.
func stallAfter(bytes int64) fault {
	return func(w http.ResponseWriter, r *http.Request, forward func() *http.Response) {
		relay(w, forward(), bytes)
		flush(w)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// loseRequest breaks the connection before the server sees anything.
func loseRequest(http.ResponseWriter, *http.Request, func() *http.Response) {
	panic(http.ErrAbortHandler)
}

// loseAnswer lets the server do it and breaks the connection then.
func loseAnswer(_ http.ResponseWriter, _ *http.Request, forward func() *http.Response) {
	answer := forward()
	_, _ = io.Copy(io.Discard, answer.Body) // only that it has been done matters
	_ = answer.Body.Close()
	panic(http.ErrAbortHandler)
}

// then does something before a fault.
func then(do func(), f fault) fault {
	return func(w http.ResponseWriter, r *http.Request, forward func() *http.Response) {
		do()
		f(w, r, forward)
	}
}

func method(name string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == name }
}

func anything(*http.Request) bool { return true }

func times(n int, f fault) []fault {
	faults := make([]fault, n)
	for i := range faults {
		faults[i] = f
	}
	return faults
}

// completion matches the request that makes a multipart upload visible.
func completion(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Contains(r.URL.RawQuery, "uploadId=")
}

// part matches the upload of a part.
func part(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.RawQuery, "partNumber=")
}
