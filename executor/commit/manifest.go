package commit

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// Manifest is what a run made visible: a Redshift manifest with more beside it. With Cancelled it is a tombstone.
type Manifest struct {
	Entries []Entry   `json:"entries,omitempty"`
	Run     string    `json:"run"`
	Attempt string    `json:"attempt"` // the directory below data/<run>/ that holds the files
	Created time.Time `json:"created"` // when the run was asked for: the order of runs
	Rows    int64     `json:"rows"`
	Schema  []Column  `json:"schema,omitempty"`
	// PartitionBy are the columns of the schema that are not in the files: entries have their values.
	PartitionBy []string `json:"partition_by,omitempty"`
	Cancelled   bool     `json:"cancelled,omitempty"`
}

// Entry is one file.
type Entry struct {
	URL       string `json:"url"`
	Mandatory bool   `json:"mandatory"`
	Meta      Meta   `json:"meta"`
	// Partition is the values of the manifest's PartitionBy, as text; null: it is missing.
	Partition map[string]*string `json:"partition,omitempty"`
}

// Meta describes a file.
type Meta struct {
	ContentLength int64  `json:"content_length"`
	RecordCount   *int64 `json:"record_count,omitempty"`
}

// Column is one column of the result.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // the engine's
}

// mostManifest bounds what is read of one, in bytes.
const mostManifest = 64 << 20

func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return append(data, '\n'), nil
}

// ParseManifest reads a manifest and checks that it is one of the given run.
func ParseManifest(data []byte, run string) (*Manifest, error) {
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("parse manifest of run %q: %w", run, err)
	}
	if m.Run != run || m.Attempt == "" || strings.Contains(m.Attempt, "/") {
		return nil, fmt.Errorf("parse manifest of run %q: it names run %q and attempt %q", run, m.Run, m.Attempt)
	}
	for _, e := range m.Entries {
		if _, err := storage.ParseURI(e.URL); err != nil {
			return nil, fmt.Errorf("parse manifest of run %q: %w", run, err)
		}
	}
	return m, nil
}

// output is what a manifest means to the scheduler.
func (o *Output) output(m *Manifest) *proto.Output {
	out := &proto.Output{
		URI:      o.URI.Join("data", m.Run, m.Attempt).String() + "/",
		Manifest: o.manifestURI(m.Run).String(),
		Rows:     m.Rows,
		Files:    int64(len(m.Entries)),
	}
	for _, e := range m.Entries {
		out.Bytes += e.Meta.ContentLength
	}
	return out
}
