package agent

import (
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/dev/mesos/internal/view"
)

//go:embed page.html
var pageText string

var page = view.Page("sandbox", pageText)

// pageData is a directory with its entries, or the end of a file.
type pageData struct {
	Agent, Path, Parent, Download string
	Entries                       []pageEntry
	File, Cut                     bool
	Text                          string
	Shown, Size                   int64
}

type pageEntry struct{ Mode, Name, Changed, View, Download, Size string }

// servePage shows what a path of the sandboxes holds. It may be named by framework,
// executor and container instead, as the master's page does; without a container it is
// the latest.
func (a *Agent) servePage(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	path := query.Get("path")
	if path == "" {
		container := query.Get("container")
		if container == "" {
			container = "latest"
		}
		a.mu.Lock()
		path = a.sandboxOf(query.Get("framework"), query.Get("executor"), container)
		a.mu.Unlock()
	}
	file, err := a.openSandboxed(path)
	if err != nil {
		http.Error(w, fmt.Sprintf("Cannot resolve '%s': %v", path, err), http.StatusNotFound)
		return
	}
	defer file.Close() //nolint:errcheck // only read
	a.mu.Lock()
	data := pageData{Agent: a.id(), Path: path}
	a.mu.Unlock()
	if parent := filepath.Dir(path); strings.Contains(path, "/runs/") && filepath.Base(parent) != "runs" {
		data.Parent = pathLink("/sandbox", parent)
	}
	if err := data.read(file); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	view.WritePage(w, page, data)
}

func pathLink(to, path string) string { return to + "?" + url.Values{"path": {path}}.Encode() }

func (d *pageData) read(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return d.readDirectory(file)
	}
	d.File, d.Size, d.Download = true, info.Size(), pathLink("/files/download", d.Path)
	from := max(0, d.Size-defaultReadLength)
	d.Cut = from > 0
	text, err := io.ReadAll(io.NewSectionReader(file, from, defaultReadLength))
	d.Text, d.Shown = strings.ToValidUTF8(string(text), "\uFFFD"), int64(len(text))
	return err
}

func (d *pageData) readDirectory(file *os.File) error {
	infos, err := listDirectory(file)
	if err != nil {
		return err
	}
	for _, info := range infos {
		path := filepath.Join(d.Path, info.Name())
		entry := pageEntry{
			Mode: modeText(info.Mode()), Name: info.Name(), Size: fmt.Sprint(info.Size()),
			Changed: info.ModTime().UTC().Format("2006-01-02 15:04:05"), View: pathLink("/sandbox", path),
		}
		if info.Mode()&fs.ModeType == 0 {
			entry.Download = pathLink("/files/download", path)
		}
		d.Entries = append(d.Entries, entry)
	}
	return nil
}
