package artifacts

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"
)

// File is the last element of every artefact's path: what it is called in a sandbox.
const File = "tidemill-executor"

// ServeHTTP answers GET and HEAD of /<sha256>/tidemill-executor, ranges included. The answer may be cached for ever.
func (d *Directory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	file, err := os.Open(d.file(sum))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem(w, http.StatusNotFound, "there is no artefact with that SHA-256")
		return
	case err != nil:
		problem(w, http.StatusInternalServerError, "the artefact cannot be read")
		return
	}
	defer file.Close() // only read from
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("ETag", `"`+sum+`"`)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, file)
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
