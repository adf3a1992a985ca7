package faults

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Proxy is a handler before an S3 server at target, a URL without a path. Clients use path style. Host and signature
// headers pass unchanged, so that the server sees what the client signed. Close idle connections of transport, which
// may be nil for one of its own, when nothing comes any more.
func (in *Injector) Proxy(target *url.URL, transport *http.Transport) http.Handler {
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	}
	return &proxy{in: in, target: target, transport: transport}
}

type proxy struct {
	in        *Injector
	target    *url.URL
	transport *http.Transport
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if key == "" {
		key = r.URL.Query().Get("prefix")
	}
	_, f := p.in.next(Operation(r), key)
	if wait(r.Context(), f.Delay) != nil {
		panic(http.ErrAbortHandler)
	}
	if f.Effect == Refuse {
		// As a server does that is told to slow down: the body is not read.
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>told to refuse</Message></Error>") // the client may be gone
		return
	}
	answer := p.forward(r)
	defer answer.Body.Close()
	switch f.Effect {
	case Lose:
		_, _ = io.Copy(io.Discard, answer.Body) // only that it has been done matters
		panic(http.ErrAbortHandler)
	case Cut:
		relay(w, answer, f.After)
		panic(http.ErrAbortHandler)
	}
	relay(w, answer, -1)
}

// forward asks the server; without an answer the client's connection breaks.
func (p *proxy) forward(r *http.Request) *http.Response {
	out := r.Clone(r.Context())
	to := *r.URL
	to.Scheme, to.Host = p.target.Scheme, p.target.Host
	out.URL, out.RequestURI = &to, ""
	if r.ContentLength == 0 {
		out.Body = nil
	}
	answer, err := p.transport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return answer
}

// relay copies an answer, at most so many bytes of its body; -1 is all. A body that ends before is not cut: the
// connection breaks all the same.
func relay(w http.ResponseWriter, answer *http.Response, most int64) {
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
	if f, ok := w.(http.Flusher); ok && most >= 0 {
		f.Flush()
	}
}

// Operation is the name in S3's API of what a request asks for, as far as storage/s3 uses it: "GetObject",
// "CompleteMultipartUpload". For any other it is the method.
func Operation(r *http.Request) string {
	query := r.URL.Query()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodGet && query.Has("list-type"):
		return "ListObjectsV2"
	case r.Method == http.MethodGet && query.Has("uploads"):
		return "ListMultipartUploads"
	case r.Method == http.MethodGet && key != "":
		return "GetObject"
	case r.Method == http.MethodHead && key == "":
		return "HeadBucket"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case r.Method == http.MethodPut && query.Has("partNumber") && r.Header.Get("X-Amz-Copy-Source") != "":
		return "UploadPartCopy"
	case r.Method == http.MethodPut && query.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		return "CopyObject"
	case r.Method == http.MethodPut && key != "":
		return "PutObject"
	case r.Method == http.MethodPost && query.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost && query.Has("uploadId"):
		return "CompleteMultipartUpload"
	case r.Method == http.MethodPost && query.Has("delete"):
		return "DeleteObjects"
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return "AbortMultipartUpload"
	}
	return r.Method
}
