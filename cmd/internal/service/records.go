package service

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tidemill/tidemill/scheduler"
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
	place := store.NewZooKeeper(session, log)
	return shared{
		records: &zookeeperRecords{place: place, follower: place.Follow(), objects: objects, large: make(map[scheduler.Key]fetched)},
		lease: func(self lease.Instance) (lease.Lease, error) {
			return lease.NewZooKeeper(session, self, log)
		},
		close: func() error { session.Close(); return nil },
	}, nil
}

func openFile(cfg Config) (shared, error) {
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

// fileRecords are those of this process alone.
type fileRecords struct{ file *store.File }

func (f fileRecords) Lead(context.Context, string) (led, error) { return led{Store: f.file}, nil }

func (f fileRecords) Snapshot(ctx context.Context) (store.Snapshot, error) {
	all, err := f.file.Load(ctx)
	return store.Snapshot{Records: all}, err
}

// zookeeperRecords are in an ensemble, the large ones in object storage.
type zookeeperRecords struct {
	place    *store.ZooKeeper
	follower *store.Follower
	objects  storage.Store

	mu    sync.Mutex
	large map[scheduler.Key]fetched // of the last snapshot
}

// fetched is a value out of object storage, and what stands for it in the ensemble.
type fetched struct{ pointer, value []byte }

func (z *zookeeperRecords) Lead(ctx context.Context, claim string) (led, error) {
	leader, err := z.place.Lead(ctx, claim)
	if err != nil {
		return led{}, err
	}
	large := store.NewLarge(leader, z.objects, store.LargeLimit)
	return led{Store: large, epoch: leader.Epoch(), upkeep: large.Run}, nil
}

// Snapshot reads each large value once: a standby takes one snapshot a second.
func (z *zookeeperRecords) Snapshot(ctx context.Context) (store.Snapshot, error) {
	snapshot, err := z.follower.Snapshot(ctx)
	if err != nil {
		return store.Snapshot{}, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	records := snapshot.Records
	pointers := make([][]byte, len(records))
	for i := range records {
		pointers[i] = records[i].Value
		if known, ok := z.large[records[i].Key]; ok && bytes.Equal(known.pointer, records[i].Value) {
			records[i].Value = known.value
		}
	}
	// What was fetched before is no pointer any more, and is left alone.
	if err := store.NewLarge(nil, z.objects, store.LargeLimit).Fetch(ctx, records); err != nil {
		return store.Snapshot{}, err
	}
	z.large = make(map[scheduler.Key]fetched)
	for i := range records {
		if !bytes.Equal(pointers[i], records[i].Value) {
			z.large[records[i].Key] = fetched{pointer: pointers[i], value: records[i].Value}
		}
	}
	return snapshot, nil
}
