package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"golang.org/x/sync/singleflight"
)

// Fetcher may be used from many goroutines.
type Fetcher struct {
	cacheDir string
	client   *http.Client
	flights  singleflight.Group
	link     func(old, new string) error // os.Link, except in tests
}

// New makes a fetcher whose cache is in cacheDir, which need not exist.
func New(cacheDir string) *Fetcher {
	return &Fetcher{
		cacheDir: cacheDir, link: os.Link,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// Fetch brings all URIs into the sandbox, one after the other, and writes to log
// what it does. It blocks until all are there, one failed, or ctx ends.
func (f *Fetcher) Fetch(ctx context.Context, user string, uris []v1.CommandInfo_URI, sandbox string, log io.Writer) error {
	for i := range uris {
		fmt.Fprintf(log, "Fetching URI '%s'\n", uris[i].Value)
		if err := f.fetch(ctx, user, &uris[i], sandbox); err != nil {
			fmt.Fprintf(log, "Failed to fetch '%s': %v\n", uris[i].Value, err)
			return fmt.Errorf("fetch %q: %w", uris[i].Value, err)
		}
		fmt.Fprintf(log, "Fetched '%s' into '%s'\n", uris[i].Value, sandbox)
	}
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, user string, uri *v1.CommandInfo_URI, sandbox string) error {
	name, err := outputName(uri)
	if err != nil {
		return err
	}
	target := filepath.Join(sandbox, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if uri.GetCache() {
		err = f.fetchCached(ctx, entry{user: user, uri: uri.Value, executable: uri.GetExecutable()}, target)
	} else if err = f.download(ctx, uri.Value, target); err == nil && uri.GetExecutable() {
		err = os.Chmod(target, 0o755)
	}
	if err != nil || uri.GetExecutable() || !uri.GetExtract() {
		return err
	}
	return extract(target, sandbox)
}

// outputName is where in the sandbox a URI goes: its output_file, or the last part
// of its path. It never leads out of the sandbox.
func outputName(uri *v1.CommandInfo_URI) (string, error) {
	name := uri.GetOutputFile()
	if name == "" {
		location := uri.Value
		if parsed, err := url.Parse(location); err == nil && parsed.Scheme != "" {
			location = parsed.Path
		}
		name = path.Base(location)
	}
	if name == "/" || name == "." || !filepath.IsLocal(name) {
		return "", fmt.Errorf("no file name inside the sandbox: %q", name)
	}
	return name, nil
}

func (f *Fetcher) download(ctx context.Context, uri, target string) error {
	parsed, err := url.Parse(uri)
	if err != nil {
		return err
	}
	switch parsed.Scheme {
	case "http", "https":
		return f.downloadHTTP(ctx, uri, target)
	case "file":
		return copyFile(parsed.Path, target)
	case "":
		if !filepath.IsAbs(uri) {
			return errors.New("a relative path needs --frameworks_home, which this agent has not")
		}
		return copyFile(uri, target)
	default:
		return fmt.Errorf("no fetcher for scheme %q", parsed.Scheme)
	}
}

// downloadHTTP asks HEAD first, as Mesos does to learn the size, and then GET.
func (f *Fetcher) downloadHTTP(ctx context.Context, uri, target string) error {
	head, err := f.request(ctx, http.MethodHead, uri)
	if err != nil {
		return err
	}
	head.Body.Close() //nolint:errcheck // a HEAD answer has no body
	get, err := f.request(ctx, http.MethodGet, uri)
	if err != nil {
		return err
	}
	defer get.Body.Close() //nolint:errcheck // read to its end or given up
	return writeFile(target, get.Body)
}

func (f *Fetcher) request(ctx context.Context, method, uri string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, uri, nil)
	if err != nil {
		return nil, err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close() //nolint:errcheck // the status says it all
		return nil, fmt.Errorf("%s answered %s", method, response.Status)
	}
	return response, nil
}

func copyFile(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	return writeFile(target, in)
}

// writeFile replaces target: a process may still run the old file.
func writeFile(target string, from io.Reader) error {
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}

// archiveSuffixes are the archives that extract understands.
var archiveSuffixes = []string{".tar", ".tar.gz", ".tgz", ".zip"}

func isArchive(name string) bool {
	for _, suffix := range archiveSuffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
