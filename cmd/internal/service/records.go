package service

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// records is where instances that share a store find it.
type records interface {
	// Lead takes the store over for the term that claim proves: writes for earlier terms fail from here on.
	Lead(ctx context.Context, claim string) (led, error)
	// Snapshot returns all records as one commit left them, while another instance may be writing.
	Snapshot(ctx context.Context) (store.Snapshot, error)
	// KeepUp reads along until ctx ends, so that the next Lead has little to read.
	KeepUp(ctx context.Context, log *slog.Logger)
}

// led is the store of one term.
type led struct {
	store.Store
	epoch  uint64                                    // numbers the terms; 0 where the store cannot be shared
	upkeep func(ctx context.Context, l *slog.Logger) // to be run while the term lasts; may be nil
}

// shared is what instances have in common: a store, and a lease that says which of them leads.
type shared struct {
	records records
	lease   func(self lease.Instance) (lease.Lease, error)
	close   func() error // after the lease
}

// opener gives what the configuration names.
type opener func(cfg Config, objects storage.Store, log *slog.Logger) (shared, error)

func openRecords(cfg Config, objects storage.Store, log *slog.Logger) (shared, error) {
	if cfg.Store.Empty() {
		return openFile(cfg)
	}
	url, err := zookeeper.ParseURL(cfg.Store.Reveal())
	if err != nil {
		return shared{}, fmt.Errorf("--store: %w", err)
	}
	session := zookeeper.Connect(url, zookeeper.Config{SessionTimeout: cfg.StoreSessionTimeout, Log: log})
	return shared{
		records: newZooKeeperRecords(store.NewZooKeeper(session, log), objects),
		lease: func(self lease.Instance) (lease.Lease, error) {
			return lease.NewZooKeeper(session, self, log)
		},
		close: func() error { session.Close(); return nil },
	}, nil
}

// recordsFile is where the records of a scheduler that is alone lie.
func (c Config) recordsFile() string { return filepath.Join(c.DataDir, "tidemill.db") }

func openFile(cfg Config) (shared, error) {
	file, err := store.Open(cfg.recordsFile())
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
		if err := folderIsThere(uri); err != nil {
			return nil, fmt.Errorf("--objects: %w", err)
		}
	}
	objects, err := keys.OpenBelow(ctx, cfg.ObjectsConnection, uri)
	if err != nil {
		return nil, fmt.Errorf("--objects: %w", err)
	}
	return objects, nil
}

// folderIsThere refuses a folder that is missing. It is not made: it may be a mount that has not come up, and what other
// schedulers share would be hidden by an empty one.
func folderIsThere(uri storage.URI) error {
	if uri.Scheme != storage.SchemeFile {
		return nil
	}
	info, err := os.Stat("/" + uri.Key)
	switch {
	case err != nil:
		return fmt.Errorf("%s must be there before the scheduler starts: %w", uri, err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", uri)
	}
	return nil
}

// fileRecords are those of this process alone.
type fileRecords struct{ file *store.File }

func (f fileRecords) Lead(context.Context, string) (led, error) { return led{Store: f.file}, nil }

func (fileRecords) KeepUp(context.Context, *slog.Logger) {}

func (f fileRecords) Snapshot(ctx context.Context) (store.Snapshot, error) {
	all, err := f.file.Load(ctx)
	return store.Snapshot{Records: all}, err
}

// zookeeperRecords are in an ensemble, the large ones in object storage.
type zookeeperRecords struct {
	place   *store.ZooKeeper
	objects storage.Store
	turn    chan struct{} // holds one token: whoever has it fetches
	fetcher *store.Fetcher
}

func newZooKeeperRecords(place *store.ZooKeeper, objects storage.Store) *zookeeperRecords {
	z := &zookeeperRecords{place: place, objects: objects, turn: make(chan struct{}, 1), fetcher: store.NewFetcher(objects)}
	z.turn <- struct{}{}
	return z
}

func (z *zookeeperRecords) Lead(ctx context.Context, claim string) (led, error) {
	leader, err := z.place.Lead(ctx, claim)
	if err != nil {
		return led{}, err
	}
	large := store.NewLarge(leader, z.objects, store.LargeLimit)
	return led{Store: large, epoch: leader.Epoch(), upkeep: large.Run}, nil
}

func (z *zookeeperRecords) Snapshot(ctx context.Context) (store.Snapshot, error) {
	snapshot, err := z.place.Follower().Snapshot(ctx)
	if err != nil {
		return store.Snapshot{}, err
	}
	select {
	case <-z.turn:
		defer func() { z.turn <- struct{}{} }()
	case <-ctx.Done():
		return store.Snapshot{}, ctx.Err()
	}
	if err := z.fetcher.Fetch(ctx, snapshot.Records); err != nil {
		return store.Snapshot{}, err
	}
	return snapshot, nil
}

func (z *zookeeperRecords) KeepUp(ctx context.Context, log *slog.Logger) {
	z.place.Follower().Run(ctx, log)
}
