package connections

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

// fileFields is an entry of type file.
type fileFields struct {
	Type string `json:"type"`
	Root string `json:"root"` // absolute; URIs outside of it cannot be reached
}

type fileConnection struct {
	root   string
	prefix string // the root as the beginning of a URI's key
}

func newFile(entry jsontext.Value) (connection, error) {
	var f fileFields
	if err := decode(entry, &f); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(f.Root) {
		return nil, fmt.Errorf("%w: field \"root\" must be an absolute path", storage.ErrInvalid)
	}
	c := &fileConnection{root: filepath.Clean(f.Root)}
	if c.root != "/" {
		c.prefix = c.root[1:] + "/"
	}
	return c, nil
}

func (c *fileConnection) open(_ context.Context, uri storage.URI) (storage.Store, error) {
	if uri.Scheme != storage.SchemeFile {
		return nil, wrongScheme(uri, "file", "file://")
	}
	if !strings.HasPrefix(uri.Key+"/", c.prefix) {
		return nil, fmt.Errorf("%w: it reaches what is below %s only", storage.ErrInvalid, c.root)
	}
	return file.Open(file.Config{Root: c.root, Prefix: c.prefix})
}

func (c *fileConnection) close() {}
