package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// File is the last element of every artefact's path: what it is called in a sandbox.
const File = "tidemill-executor"

// ServeHTTP answers GET and HEAD of /<sha256>/tidemill-executor, ranges included. The answer may be cached for ever.
// Storage that breaks off in the middle breaks the connection: the fetcher does not take that for the end.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem(w, http.StatusMethodNotAllowed, "artefacts are only read here")
		return
	}
	sum, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if name != File || !validSum.MatchString(sum) {
		problem(w, http.StatusNotFound, "the path of an artefact is /<sha256>/"+File)
		return
	}
	object, err := s.objects.Stat(r.Context(), folder+sum)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		problem(w, http.StatusNotFound, "there is no artefact with that SHA-256")
		return
	case errors.Is(err, storage.ErrUnavailable):
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "the object storage does not answer")
		return
	case err != nil:
		problem(w, http.StatusInternalServerError, "the artefact cannot be read")
		return
	}
	content := &content{ctx: r.Context(), objects: s.objects, object: object}
	defer content.close()
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("ETag", `"`+sum+`"`)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, content)
}

// content reads one version of an object from any offset. Nothing is asked of the storage before the first Read, so
// that HEAD and answers without a body cost none.
type content struct {
	ctx     context.Context
	objects storage.Store
	object  storage.Object
	offset  int64         // of the next Read
	body    io.ReadCloser // that delivers it; nil: none is open
}

// Seek implements io.Seeker.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.offset
	case io.SeekEnd:
		offset += c.object.Size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek in %q: offset %d is before the beginning", c.object.Key, offset)
	}
	if offset != c.offset {
		c.close()
		c.offset = offset
	}
	return offset, nil
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	if c.offset >= c.object.Size {
		return 0, io.EOF
	}
	if c.body == nil {
		body, _, err := c.objects.Get(c.ctx, c.object.Key, storage.Range{Offset: c.offset, ETag: c.object.ETag})
		if err != nil {
			return 0, err
		}
		c.body = body
	}
	n, err := c.body.Read(p)
	c.offset += int64(n)
	return n, err
}

func (c *content) close() {
	if c.body != nil {
		_ = c.body.Close() // only read from, and perhaps abandoned
		c.body = nil
	}
}

// problem answers as RFC 9457 has it. The texts are fixed: none needs escaping.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	body := `{"type":"about:blank","title":"` + http.StatusText(status) + `","detail":"` + detail + `"}` + "\n"
	if _, err := w.Write([]byte(body)); err != nil {
		return // the client has gone away
	}
}
