package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/dev/mesos/internal/view"
)

// defaultReadLength is how much of a file is read at most without a length, as in
// Mesos: 16 pages.
const defaultReadLength = 16 * 4096

func (a *Agent) handleFiles(mux *http.ServeMux) {
	for _, suffix := range []string{"", ".json"} {
		mux.HandleFunc("GET /files/read"+suffix, a.serveRead)
		mux.HandleFunc("GET /files/browse"+suffix, a.serveBrowse)
		mux.HandleFunc("GET /files/download"+suffix, a.serveDownload)
	}
	mux.HandleFunc("GET /sandbox", a.servePage)
}

// errNoFile covers what is not there and what is not for everybody's eyes: the two
// look the same from outside.
var errNoFile = errors.New("file not found")

// openSandboxed opens a path as Mesos has it, which is the real path, if it is inside
// the directory of the sandboxes. Symbolic links that lead out of it are not followed.
func (a *Agent) openSandboxed(path string) (*os.File, error) {
	top := filepath.Join(a.cfg.WorkDir, "slaves")
	relative, err := filepath.Rel(top, filepath.Clean(path))
	if err != nil || !filepath.IsAbs(path) || !filepath.IsLocal(relative) {
		return nil, errNoFile
	}
	resolved, err := filepath.EvalSymlinks(filepath.Join(top, relative)) // "latest" is an absolute link
	if err != nil {
		return nil, errNoFile
	}
	realTop, err := filepath.EvalSymlinks(top)
	if err != nil {
		return nil, errNoFile
	}
	inside, err := filepath.Rel(realTop, resolved)
	if err != nil || !filepath.IsLocal(inside) {
		return nil, errNoFile
	}
	root, err := os.OpenRoot(realTop) // and nothing can be changed in between
	if err != nil {
		return nil, errNoFile
	}
	defer root.Close() //nolint:errcheck // the file is open on its own
	file, err := root.Open(inside)
	if err != nil {
		return nil, errNoFile
	}
	return file, nil
}

// openAsked opens what the query's path names, or answers 404 or 400.
func (a *Agent) openAsked(w http.ResponseWriter, r *http.Request) (*os.File, fs.FileInfo) {
	path := r.URL.Query().Get("path")
	if path == "" {
		http.Error(w, "Expecting 'path=value' in query.", http.StatusBadRequest)
		return nil, nil
	}
	file, err := a.openSandboxed(path)
	if err != nil {
		http.Error(w, fmt.Sprintf("Cannot resolve '%s': %v", path, err), http.StatusNotFound)
		return nil, nil
	}
	info, err := file.Stat()
	if err != nil {
		file.Close() //nolint:errcheck // only read
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, nil
	}
	return file, info
}

// serveRead gives a part of a file: {"data", "offset"}; with an offset of -1 its size,
// as offset.
func (a *Agent) serveRead(w http.ResponseWriter, r *http.Request) {
	file, info := a.openAsked(w, r)
	if file == nil {
		return
	}
	defer file.Close() //nolint:errcheck // only read
	if info.IsDir() {
		http.Error(w, "Cannot read from a directory.", http.StatusBadRequest)
		return
	}
	offset, errOffset := queryNumber(r, "offset", -1)
	length, errLength := queryNumber(r, "length", defaultReadLength)
	if err := errors.Join(errOffset, errLength); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if offset < 0 {
		view.Write(w, view.Object{"data": "", "offset": info.Size()})
		return
	}
	if length < 0 || length > defaultReadLength {
		length = defaultReadLength
	}
	data, err := io.ReadAll(io.NewSectionReader(file, offset, length))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	view.Write(w, view.Object{"data": string(data), "offset": offset})
}

func queryNumber(r *http.Request, name string, standard int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return standard, nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		//lint:ignore ST1005 Mesos' own words
		return 0, fmt.Errorf("Failed to parse %s: %q", name, text)
	}
	return number, nil
}

// serveBrowse lists a directory.
func (a *Agent) serveBrowse(w http.ResponseWriter, r *http.Request) {
	file, info := a.openAsked(w, r)
	if file == nil {
		return
	}
	defer file.Close() //nolint:errcheck // only read
	if !info.IsDir() {
		view.Write(w, []any{})
		return
	}
	entries, err := listDirectory(file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	list := []view.Object{}
	for _, entry := range entries {
		list = append(list, view.Object{
			"path": filepath.Join(r.URL.Query().Get("path"), entry.Name()), "size": entry.Size(),
			"mode": modeText(entry.Mode()), "mtime": entry.ModTime().Unix(), "nlink": 1, "uid": "", "gid": "",
		})
	}
	view.Write(w, list)
}

// listDirectory gives the entries by name; what disappears meanwhile is left out.
func listDirectory(file *os.File) ([]fs.FileInfo, error) {
	entries, err := file.Readdir(-1)
	if err != nil {
		return nil, err
	}
	sortByName(entries)
	return entries, nil
}

// modeText spells a mode like ls: Go writes "L" where ls has "l".
func modeText(mode fs.FileMode) string {
	text := mode.String()
	if mode&fs.ModeSymlink != 0 {
		return "l" + strings.TrimPrefix(text, "L")
	}
	return text
}

func (a *Agent) serveDownload(w http.ResponseWriter, r *http.Request) {
	file, info := a.openAsked(w, r)
	if file == nil {
		return
	}
	defer file.Close() //nolint:errcheck // only read
	if info.IsDir() {
		http.Error(w, "Cannot download a directory.", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", info.Name()))
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	io.CopyN(w, file, info.Size()) //nolint:errcheck // the peer may be gone; there is nobody to tell
}

func sortByName(entries []fs.FileInfo) {
	slices.SortFunc(entries, func(x, y fs.FileInfo) int { return strings.Compare(x.Name(), y.Name()) })
}
