package commit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// Manifest is what a run made visible: a Redshift manifest with more beside it. At a commit point it names what the run
// itself has written, or it is a tombstone.
type Manifest struct {
	Entries   []Entry   `json:"entries,omitempty"`
	Run       string    `json:"run"`
	Attempt   string    `json:"attempt"`            // the directory below data/<run>/ that holds the run's files
	Created   time.Time `json:"created"`            // when the run was asked for: the order of runs
	Mode      Mode      `json:"mode,omitempty"`     // what becomes of the result before
	Base      string    `json:"base,omitempty"`     // the run on whose result this one builds, whose entries are here, too
	Rows      int64     `json:"rows"`               // of all entries
	Format    string    `json:"format,omitempty"`   // of all files
	Schema    []Column  `json:"schema,omitempty"`   // of the rows
	BadRows   int64     `json:"bad_rows,omitempty"` // input rows that this run left out
	Cancelled bool      `json:"cancelled,omitempty"`
	// PartitionBy are the columns of the schema that are not in the files: entries have their values.
	PartitionBy []string `json:"partition_by,omitempty"`
	// State is what the next run of an incremental job goes on with; nil: nothing.
	State *State `json:"state,omitempty"`
}

// Entry is one file.
type Entry struct {
	URL       string `json:"url"`
	Mandatory bool   `json:"mandatory"`
	Meta      Meta   `json:"meta"`
	// Partition is the values of the manifest's PartitionBy, as text; null: it is missing.
	Partition map[string]*string `json:"partition,omitempty"`
	// Run and Created are those of the run that wrote the file, if it is an earlier one.
	Run     string     `json:"run,omitempty"`
	Created *time.Time `json:"created,omitempty"`
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

// State names objects that belong to a result and are not part of it. They stay as long as the result does.
type State struct {
	Base        string   `json:"base,omitempty"` // the run on whose state this one builds; empty: all inputs were read by this run
	Fingerprint string   `json:"fingerprint"`    // of all that the objects depend on
	Finish      string   `json:"finish"`         // a fingerprint of what else the result depends on, which is made of them
	Inputs      string   `json:"inputs"`         // the URI of the list of input files that have been read
	Partials    []string `json:"partials"`       // the URIs of the partial aggregates
}

// objects are the URIs that the state names.
func (s *State) objects() []string {
	if s == nil {
		return nil
	}
	return append([]string{s.Inputs}, s.Partials...)
}

// mostManifest bounds what is read of one, in bytes: some 300,000 files.
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
	if !m.Mode.known() {
		return nil, fmt.Errorf("parse manifest of run %q: its mode %q is unknown", run, m.Mode)
	}
	for _, e := range m.Entries {
		if _, err := storage.ParseURI(e.URL); err != nil {
			return nil, fmt.Errorf("parse manifest of run %q: %w", run, err)
		}
	}
	for _, text := range m.State.objects() {
		if _, err := storage.ParseURI(text); err != nil {
			return nil, fmt.Errorf("parse manifest of run %q: %w", run, err)
		}
	}
	return m, nil
}

// manifestName is the last element of a commit point's key.
const manifestName = "_manifest.json"

func (o *Output) manifestURI(run string) storage.URI { return o.URI.Join("data", run, manifestName) }

// readManifest reads a run's commit point.
func (o *Output) readManifest(ctx context.Context, run string) (*Manifest, error) {
	return o.readManifestAt(ctx, o.manifestURI(run).Key, run)
}

func (o *Output) readManifestAt(ctx context.Context, key, run string) (*Manifest, error) {
	data, _, err := storage.ReadAll(ctx, o.Store, key, mostManifest)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return ParseManifest(data, run)
}

// readResult reads the manifest of a result that is kept.
func (o *Output) readResult(ctx context.Context, r Result) (*Manifest, error) {
	at, err := storage.ParseURI(r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return o.readManifestAt(ctx, at.Key, r.Run)
}

// Latest is the manifest of the newest result; nil if there is none.
func (o *Output) Latest(ctx context.Context) (*Manifest, error) {
	var err error
	for range tries {
		var latest *Latest
		if latest, _, err = o.readLatest(ctx, o.latestKey()); latest == nil || err != nil {
			return nil, err
		}
		var m *Manifest
		if m, err = o.readResult(ctx, latest.Kept[0]); !errors.Is(err, storage.ErrNotFound) {
			return m, err
		} // else three later results came in between
	}
	return nil, err
}

// Describe is what a result that builds on no other is to the scheduler.
func (o *Output) Describe(m *Manifest) *proto.Output {
	return o.output(m, o.manifestURI(m.Run).String())
}

// Of is the manifest of a run's result, as long as that is kept; manifest is its URI if the caller knows it. The error
// matches [storage.ErrNotFound] if there is none.
func (o *Output) Of(ctx context.Context, run, manifest string) (*Manifest, error) {
	r := Result{Run: run, Manifest: manifest}
	if manifest == "" {
		r.Manifest = o.manifestURI(run).String()
		latest, _, err := o.readLatest(ctx, o.latestKey())
		if err != nil {
			return nil, err
		}
		if kept := latest.find(run); kept != nil {
			r = *kept
		}
	}
	m, err := o.readResult(ctx, r)
	if err == nil && m.Cancelled {
		return nil, fmt.Errorf("read result of run %q, which was cancelled: %w", run, storage.ErrNotFound)
	}
	return m, err
}

// FilesFormat is that of the files; empty if there are none.
func (m *Manifest) FilesFormat() string { return m.format() }

// output is what a run's own manifest means to the scheduler: what the run has written. manifest names the result.
func (o *Output) output(m *Manifest, manifest string) *proto.Output {
	out := &proto.Output{
		URI:      o.URI.Join("data", m.Run, m.Attempt).String() + "/",
		Manifest: manifest,
		Rows:     m.Rows,
		BadRows:  m.BadRows,
		Files:    int64(len(m.Entries)),
	}
	for _, e := range m.Entries {
		out.Bytes += e.Meta.ContentLength
	}
	return out
}
