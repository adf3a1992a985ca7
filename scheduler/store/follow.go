package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// Snapshot is what was stored after one commit, exactly.
type Snapshot struct {
	Epoch   uint64 // of who leads, or led last
	Commit  uint64 // its number; 0: nothing was ever stored
	Records []scheduler.Record
}

// Follower reads what a leader writes. It keeps what it has read, so that the next snapshot reads only what has changed.
// It is safe for concurrent use.
type Follower struct {
	session session

	turn    chan struct{} // holds one token: who has it may use what follows
	loaded  bool
	fence   fence // as of which entries are
	entries map[name]entry
	records []scheduler.Record     // entries in order, but for those in stale; nil: to be made
	stale   map[scheduler.Key]name // what has changed since records were made

	mu    sync.Mutex
	seen  fence         // read last with a watch
	newer chan struct{} // closed when the fence is another one; nil: never watched
}

// keepUpEvery is how often a follower that keeps up reads, at most: the ring must not go round meanwhile.
const keepUpEvery = time.Second

// lookEvery is how often the fence is read although its watch has told nothing. A watch tells nothing of a change during
// a disconnection if the next connection breaks while the watch is set again.
const lookEvery = 5 * time.Second

func newFollower(s session) *Follower {
	f := &Follower{session: s, turn: make(chan struct{}, 1)}
	f.turn <- struct{}{}
	return f
}

// Run keeps up with what is stored until ctx ends, so that the next Snapshot or Lead has little to read. Failures are
// logged, and tried again.
func (f *Follower) Run(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		err := f.take(ctx)
		if err == nil {
			err = f.catchUp(ctx)
			commit := f.fence.Commit
			f.turn <- struct{}{}
			if err == nil {
				err = f.Changed(ctx, commit)
			}
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("keeping up with the store failed", "error", err)
		}
		pause(ctx, keepUpEvery)
	}
}

// take waits for the turn.
func (f *Follower) take(ctx context.Context) error {
	select {
	case <-f.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("follow the store in ZooKeeper: %w", ctx.Err())
	}
}

// Snapshot returns what is stored now: at least what was when it was called. It blocks; the first time, and when it was
// not called for long, it reads all records. The slice is the caller's, the values are not to be changed. Errors:
// ErrFormat, zookeeper.ErrNoAuth, the context's.
func (f *Follower) Snapshot(ctx context.Context) (Snapshot, error) {
	if err := f.take(ctx); err != nil {
		return Snapshot{}, err
	}
	defer func() { f.turn <- struct{}{} }()
	if err := f.catchUp(ctx); err != nil {
		return Snapshot{}, fmt.Errorf("follow the store in ZooKeeper: %w", err)
	}
	return Snapshot{Epoch: f.fence.Epoch, Commit: f.fence.Commit, Records: slices.Clone(f.inOrder())}, nil
}

// put notes what a record is now.
func (f *Follower) put(n name, e entry) {
	f.entries[n] = e
	f.stale[e.record.Key] = n
}

// remove notes that a record is gone.
func (f *Follower) remove(n name) {
	if e, there := f.entries[n]; there {
		delete(f.entries, n)
		f.stale[e.record.Key] = n
	}
}

// inOrder are all records, sorted. What has changed is merged into what was sorted before.
func (f *Follower) inOrder() []scheduler.Record {
	switch {
	case f.records == nil:
		f.records = make([]scheduler.Record, 0, len(f.entries))
		for _, e := range f.entries {
			f.records = append(f.records, e.record)
		}
		slices.SortFunc(f.records, byKey)
	case len(f.stale) > 0:
		changed := make([]scheduler.Record, 0, len(f.stale)) // without a value: gone
		for key, n := range f.stale {
			if e, there := f.entries[n]; there {
				changed = append(changed, e.record)
			} else {
				changed = append(changed, scheduler.Record{Key: key})
			}
		}
		slices.SortFunc(changed, byKey)
		f.records = merge(f.records, changed)
	}
	f.stale = make(map[scheduler.Key]name)
	return f.records
}

// merge replaces records by those that have changed, both in order, and leaves out those without a value.
func merge(records, changed []scheduler.Record) []scheduler.Record {
	out := make([]scheduler.Record, 0, len(records)+len(changed))
	take := func(r scheduler.Record) {
		if r.Value != nil {
			out = append(out, r)
		}
	}
	for _, r := range records {
		for len(changed) > 0 && byKey(changed[0], r) < 0 {
			take(changed[0])
			changed = changed[1:]
		}
		if len(changed) > 0 && changed[0].Key == r.Key {
			continue // its turn comes with the next one
		}
		out = append(out, r)
	}
	for _, r := range changed {
		take(r)
	}
	return out
}

// names are those of all records, for whoever has begun to lead.
func (f *Follower) names(ctx context.Context) ([]name, error) {
	if err := f.take(ctx); err != nil {
		return nil, err
	}
	defer func() { f.turn <- struct{}{} }()
	if err := f.catchUp(ctx); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(f.entries)), nil
}

// handOver gives all records away to whoever leads, and keeps none; ok is false if it has none to give.
func (f *Follower) handOver(ctx context.Context) (records []scheduler.Record, ok bool, err error) {
	if err := f.take(ctx); err != nil {
		return nil, false, err
	}
	defer func() { f.turn <- struct{}{} }()
	if !f.loaded {
		return nil, false, nil
	}
	if err := f.catchUp(ctx); err != nil {
		return nil, false, fmt.Errorf("load the store in ZooKeeper: %w", err)
	}
	records = f.inOrder()
	f.loaded, f.entries, f.records, f.stale = false, nil, nil, nil
	for n := range records { // earlier snapshots have the same values
		records[n].Value = bytes.Clone(records[n].Value)
	}
	return records, true, nil
}

// catchUp makes entries those of one commit.
func (f *Follower) catchUp(ctx context.Context) error {
	for {
		lost := f.session.Lost()
		err := f.catchUpWithin(ctx)
		if !over(lost) {
			return err
		}
		// Within a session no read is older than one before it, whatever server answers. Between two sessions it may be.
		if f.loaded = false; err != nil {
			return err
		}
	}
}

// over says whether a session was lost.
func over(lost <-chan struct{}) bool {
	select {
	case <-lost:
		return true
	default:
		return false
	}
}

// catchUpWithin is catchUp within a session. What is read while the leader goes on writing may be newer than that commit;
// the fence, read later, then tells so, and the slots of the ring what was changed in between.
func (f *Follower) catchUpWithin(ctx context.Context) error {
	if err := f.session.Sync(ctx); err != nil {
		return err
	}
	for {
		now, err := f.settled(ctx)
		if errors.Is(err, zookeeper.ErrNoNode) {
			f.loaded, f.fence, f.entries, f.records, f.stale = false, fence{}, nil, nil, nil
			return nil // nobody has ever led
		}
		if err != nil {
			return err
		}
		if !f.loaded || now.Commit < f.fence.Commit || now.Commit-f.fence.Commit >= ringSlots {
			err = f.reload(ctx, now)
		} else {
			var exact bool
			exact, err = f.advance(ctx, now)
			if exact {
				return err
			}
		}
		if err != nil {
			return err // what was read so far is read again: all of it is in slots after the fence that was kept
		}
	}
}

// settled reads the fence, waiting while a commit is decided and not carried out.
func (f *Follower) settled(ctx context.Context) (fence, error) {
	for {
		data, _, err := f.session.Get(ctx, fencePath)
		if err != nil {
			return fence{}, err
		}
		now, err := decodeFence(data)
		if err != nil || now.Journal == nil {
			return now, err
		}
		if err := f.wait(ctx, now.Commit, true); err != nil {
			return fence{}, err
		}
	}
}

// reload reads all records. They are at least as new as now.
func (f *Follower) reload(ctx context.Context, now fence) error {
	names, err := listRecords(ctx, f.session)
	if err != nil {
		return err
	}
	return f.readAll(ctx, now, names)
}

// readAll reads the records of those names, which are all that were there at some time after base.
func (f *Follower) readAll(ctx context.Context, base fence, names []name) error {
	entries, err := f.read(ctx, names)
	if err != nil {
		return err
	}
	f.loaded, f.fence, f.records = true, base, nil
	f.stale = make(map[scheduler.Key]name)
	f.entries = make(map[name]entry, len(names))
	for n, e := range entries {
		if e != nil {
			f.entries[names[n]] = *e
		}
	}
	return nil
}

// read gets records; nil for those that are not there.
func (f *Follower) read(ctx context.Context, names []name) ([]*entry, error) {
	entries := make([]*entry, len(names))
	err := each(ctx, len(names), func(ctx context.Context, n int) error {
		path := names[n].path()
		data, _, err := f.session.Get(ctx, path)
		if errors.Is(err, zookeeper.ErrNoNode) {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := decodeRecord(data)
		if err != nil {
			return fmt.Errorf("read record %s: %w", path, err)
		}
		entries[n] = &e
		return nil
	})
	return entries, err
}

// advance brings entries from one commit to a later one. It is not exact if the leader has meanwhile changed what it had
// to read.
func (f *Follower) advance(ctx context.Context, now fence) (exact bool, err error) {
	changed, complete, err := f.changes(ctx, f.fence.Commit, now.Commit)
	if err != nil {
		return false, err
	}
	if !complete {
		f.loaded = false
		return false, nil
	}
	var names []name
	for n, last := range changed {
		switch {
		case last.removed:
			f.remove(n)
		case last.data != nil:
			e, err := decodeRecord(last.data)
			if err != nil {
				return false, fmt.Errorf("read record %s: %w", n.path(), err)
			}
			f.put(n, e)
		default:
			names = append(names, n)
		}
	}
	entries, err := f.read(ctx, names)
	if err != nil {
		return false, err
	}
	exact = true
	for i, n := range names {
		if e := entries[i]; e == nil || e.commit != changed[n].commit {
			exact = false // it is in a later slot
		} else {
			f.put(n, *e)
		}
	}
	f.fence = now
	return exact, nil
}

// lastChange is what the last of some commits did to a record.
type lastChange struct {
	slotChange
	commit uint64
}

// changes reads from the ring what the commits after one and up to another have changed. It is not complete if the ring
// does not tell (any more).
func (f *Follower) changes(ctx context.Context, after, to uint64) (changed map[name]lastChange, complete bool, err error) {
	slots := make([]slot, to-after)
	err = each(ctx, len(slots), func(ctx context.Context, n int) error {
		path := slotPath(after + 1 + uint64(n))
		data, _, err := f.session.Get(ctx, path)
		if err != nil {
			return err
		}
		if slots[n], err = decodeSlot(data); err != nil {
			return fmt.Errorf("read ring %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	changed = make(map[name]lastChange)
	for n, s := range slots {
		if s.reload || s.commit != after+1+uint64(n) {
			return nil, false, nil
		}
		for _, c := range s.changes {
			changed[c.name] = lastChange{c, s.commit}
		}
	}
	return changed, true, nil
}

// Changed blocks until there is a commit after that number, or ctx ends, whose error it then returns.
func (f *Follower) Changed(ctx context.Context, after uint64) error {
	if err := f.wait(ctx, after, false); err != nil {
		return fmt.Errorf("wait for a change of the store in ZooKeeper: %w", err)
	}
	return nil
}

// wait returns when there is a commit after that number or, if settled is asked for, when that one is carried out.
func (f *Follower) wait(ctx context.Context, after uint64, settled bool) error {
	for {
		now, newer, err := f.watch(ctx)
		if err != nil {
			return err
		}
		if now.Commit > after || settled && now.Journal == nil {
			return nil
		}
		look := time.NewTimer(lookEvery)
		select {
		case <-newer:
		case <-look.C:
			if now, err = f.glance(ctx); err != nil || now.Commit > after || settled && now.Journal == nil {
				return err
			}
		case <-ctx.Done():
			look.Stop()
			return ctx.Err()
		}
		look.Stop()
	}
}

// glance reads the fence without a watch; it is that of nothing if it is not there yet.
func (f *Follower) glance(ctx context.Context) (fence, error) {
	data, _, err := f.session.Get(ctx, fencePath)
	if errors.Is(err, zookeeper.ErrNoNode) {
		return fence{}, nil
	}
	if err != nil {
		return fence{}, err
	}
	return decodeFence(data)
}

// watch returns the fence and a channel that is closed when it is another one. ZooKeeper's watches cannot be called off:
// one that has not told anything yet is used again.
func (f *Follower) watch(ctx context.Context) (fence, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newer != nil {
		select {
		case <-f.newer:
		default:
			return f.seen, f.newer, nil
		}
	}
	seen, watch, err := f.look(ctx)
	if err != nil {
		return fence{}, nil, err
	}
	newer := make(chan struct{})
	go func() { // ends with the session at the latest
		<-watch
		close(newer)
	}()
	f.seen, f.newer = seen, newer
	return seen, newer, nil
}

// look reads the fence with a watch; that of nothing if it is not there yet.
func (f *Follower) look(ctx context.Context) (fence, zookeeper.Watch, error) {
	for {
		data, _, watch, err := f.session.GetWatch(ctx, fencePath)
		if err == nil {
			now, err := decodeFence(data)
			return now, watch, err
		}
		if !errors.Is(err, zookeeper.ErrNoNode) {
			return fence{}, nil, err
		}
		there, watch, err := f.session.ExistsWatch(ctx, fencePath)
		if err != nil || !there {
			return fence{}, watch, err
		}
	}
}
