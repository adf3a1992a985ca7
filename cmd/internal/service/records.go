package service

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// records is a store that instances share.
type records interface {
	store.Store

	// Lead takes the store over for the term that claim proves. From here on Load and Commit are this term's, and those
	// of earlier ones fail. epoch numbers the terms; 0 where the store cannot be shared.
	Lead(ctx context.Context, claim string) (epoch uint64, err error)
	// Snapshot returns all records as one commit left them, and its number, while another instance may be writing. It
	// returns no records if nothing was committed after the commit of that number; 0 is before the first one.
	Snapshot(ctx context.Context, after uint64) (all []scheduler.Record, commit uint64, err error)
}

// shared is what instances have in common: a store, and a lease that says which of them leads.
type shared struct {
	records records
	lease   func(self lease.Instance) (lease.Lease, error)
	close   func() error
}

// opener gives what the configuration names.
type opener func(cfg Config, objects storage.Store, log *slog.Logger) (shared, error)

func openRecords(cfg Config, _ storage.Store, _ *slog.Logger) (shared, error) {
	file, err := store.Open(filepath.Join(cfg.DataDir, "tidemill.db"))
	if err != nil {
		return shared{}, err
	}
	return shared{
		records: fileRecords{file},
		lease:   func(self lease.Instance) (lease.Lease, error) { return lease.NewAlone(self), nil },
		close:   file.Close,
	}, nil
}

// openObjects opens the scheduler's own object storage.
func openObjects(ctx context.Context, cfg Config, keys *connections.Set) (storage.Store, error) {
	root, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	uri := storage.URI{Scheme: storage.SchemeFile, Key: strings.TrimPrefix(root, "/")}
	if cfg.Objects != "" {
		if uri, err = storage.ParseURI(cfg.Objects); err != nil {
			return nil, fmt.Errorf("--objects: %w", err)
		}
	}
	objects, err := keys.OpenBelow(ctx, cfg.ObjectsConnection, uri)
	if err != nil {
		return nil, fmt.Errorf("--objects: %w", err)
	}
	return objects, nil
}

// fileRecords is a store of this process alone.
type fileRecords struct{ *store.File }

func (fileRecords) Lead(context.Context, string) (uint64, error) { return 0, nil }

func (f fileRecords) Snapshot(ctx context.Context, after uint64) ([]scheduler.Record, uint64, error) {
	all, err := f.Load(ctx)
	if err != nil {
		return nil, 0, err
	}
	if all == nil {
		all = []scheduler.Record{}
	}
	return all, after + 1, nil
}
