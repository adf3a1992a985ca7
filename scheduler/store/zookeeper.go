package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// inFlight requests of a kind are sent before the first of them is answered.
const inFlight = 64

// session is what is needed of *zookeeper.Session.
type session interface {
	Get(ctx context.Context, path string) ([]byte, zookeeper.Stat, error)
	GetWatch(ctx context.Context, path string) ([]byte, zookeeper.Stat, zookeeper.Watch, error)
	ExistsWatch(ctx context.Context, path string) (bool, zookeeper.Watch, error)
	Children(ctx context.Context, path string) ([]string, error)
	Sync(ctx context.Context) error
	EnsurePath(ctx context.Context, path string) error
	Multi(ctx context.Context, ops ...zookeeper.Op) error
	Size(op zookeeper.Op) int
	Lost() <-chan struct{}
}

// ZooKeeper is a place for records in an ensemble. One instance leads it and writes; others follow what it writes.
type ZooKeeper struct {
	session  session
	log      *slog.Logger
	follower *Follower
}

// NewZooKeeper is the place at the session's URL. The session stays the caller's, to be closed after everything else.
func NewZooKeeper(session *zookeeper.Session, log *slog.Logger) *ZooKeeper {
	if session.URL().User == "" {
		log.Warn("everyone who reaches ZooKeeper can change what is stored: put user:password into its URL")
	}
	return &ZooKeeper{session: session, log: log, follower: newFollower(session)}
}

// Follower reads what is stored here, whoever leads. What it has read makes Lead the faster: let it keep up (Follower.Run)
// while standing by.
func (z *ZooKeeper) Follower() *Follower { return z.follower }

// Lead takes the place over, for the holder of the claim (lease.Term.Claim: the path of a node; empty if nothing need be
// checked). Whoever led before can write no more. A commit that it had decided is finished first; what it had not is as
// if it had never been. Lead blocks until that is done. Errors: ErrFenced if the claim is gone, ErrFormat,
// zookeeper.ErrNoAuth if the credentials are refused, the context's.
func (z *ZooKeeper) Lead(ctx context.Context, claim string) (*Leader, error) {
	l := &Leader{session: z.session, log: z.log, follower: z.follower}
	if err := l.takeOver(ctx, claim); err != nil {
		return nil, fmt.Errorf("take over the store in ZooKeeper: %w", err)
	}
	return l, nil
}

// Leader is the Store of whoever leads. Commit is for one goroutine; Load may be called beside it.
type Leader struct {
	session  session
	log      *slog.Logger
	follower *Follower // has read everything when leading begins
	closed   atomic.Bool

	version int32        // of the fence's node
	broken  error        // why nothing can be committed any more
	fill    [buckets]int // records in each bucket

	mu    sync.Mutex // for changing fence and there together, and for reading them in Load
	fence fence      // as written last
	there map[name]struct{}
}

// Epoch is the number of this leader: higher than that of any before.
func (l *Leader) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fence.Epoch
}

// takeOver is Lead.
func (l *Leader) takeOver(ctx context.Context, claim string) error {
	if err := l.layOut(ctx); err != nil {
		return err
	}
	if err := l.raiseEpoch(ctx, claim); err != nil {
		return err
	}
	if l.fence.Journal != nil {
		if err := l.finish(ctx); err != nil {
			return err
		}
	}
	if err := l.sweepJournal(ctx); err != nil {
		return err
	}
	names, err := l.follower.names(ctx)
	if err != nil {
		return err
	}
	l.know(names)
	return nil
}

// layOut makes the nodes that are made once. The fence comes last: where it is, everything is.
func (l *Leader) layOut(ctx context.Context) error {
	if _, _, err := l.session.Get(ctx, fencePath); !errors.Is(err, zookeeper.ErrNoNode) {
		return err
	}
	if err := l.session.EnsurePath(ctx, journalPath); err != nil {
		return err
	}
	folder := func(path string, count int, child func(int) string) []zookeeper.Op {
		ops := []zookeeper.Op{zookeeper.Create(path, nil)}
		for n := range count {
			ops = append(ops, zookeeper.Create(child(n), nil))
		}
		return ops
	}
	for _, ops := range [][]zookeeper.Op{
		folder(recordsPath, buckets, bucketPath),
		folder(ringPath, ringSlots, func(n int) string { return slotPath(uint64(n)) }),
		{zookeeper.Create(fencePath, fence{Format: layoutFormat}.encode())},
	} {
		for {
			err := l.session.Multi(ctx, ops...)
			if errors.Is(err, zookeeper.ErrUnsettled) && ctx.Err() == nil {
				continue
			}
			if err != nil && !errors.Is(err, zookeeper.ErrNodeExists) { // each request makes all or nothing
				return err
			}
			break
		}
	}
	return nil
}

// raiseEpoch makes this the leader.
func (l *Leader) raiseEpoch(ctx context.Context, claim string) error {
	me := rand.Text()
	for {
		if err := l.readFence(ctx); err != nil {
			return err
		}
		if l.fence.Leader == me { // the answer to an earlier attempt was lost
			return nil
		}
		next := l.fence
		next.Epoch, next.Leader = next.Epoch+1, me
		ops := []zookeeper.Op{zookeeper.Set(fencePath, next.encode(), l.version)}
		if claim != "" {
			ops = append(ops, zookeeper.Check(claim, zookeeper.AnyVersion))
		}
		err := l.session.Multi(ctx, ops...)
		switch {
		case err == nil:
			l.fence, l.version = next, l.version+1
			return nil
		case errors.Is(err, zookeeper.ErrNoNode):
			return fmt.Errorf("%w: the claim %s is gone", ErrFenced, claim)
		case errors.Is(err, zookeeper.ErrBadVersion): // the leader before wrote once more, or it was this one
		case errors.Is(err, zookeeper.ErrUnsettled) && ctx.Err() == nil:
		default:
			return err
		}
	}
}

// readFence reads the fence as no other instance has a newer one.
func (l *Leader) readFence(ctx context.Context) error {
	if err := l.session.Sync(ctx); err != nil {
		return err
	}
	data, stat, err := l.session.Get(ctx, fencePath)
	if err != nil {
		return err
	}
	l.version = stat.Version
	l.fence, err = decodeFence(data)
	return err
}

// know notes which records are there.
func (l *Leader) know(names []name) {
	l.there = make(map[name]struct{}, len(names))
	clear(l.fill[:])
	for _, n := range names {
		l.there[n] = struct{}{}
		l.fill[n.bucket()]++
	}
}

// listRecords returns the names of all records.
func listRecords(ctx context.Context, s session) ([]name, error) {
	var lists [buckets][]name
	err := each(ctx, buckets, func(ctx context.Context, bucket int) error {
		children, err := s.Children(ctx, bucketPath(bucket))
		for _, child := range children {
			n, ok := parseName(child)
			if !ok {
				return fmt.Errorf("list records: %w: %s/%s", errNode, bucketPath(bucket), child)
			}
			lists[bucket] = append(lists[bucket], n)
		}
		return err
	})
	return slices.Concat(lists[:]...), err
}

// each calls do for 0 to n-1, inFlight at a time, until one fails.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i := range n {
		if inner.Err() != nil {
			break
		}
		group.Go(func() error { return do(inner, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err() // perhaps not all were called
}

// Load implements Store. The first time it costs little more than memory: Lead has read everything.
func (l *Leader) Load(ctx context.Context) ([]scheduler.Record, error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("load the store in ZooKeeper: %w", ErrClosed)
	}
	if records, ok, err := l.follower.handOver(ctx); ok || err != nil {
		return records, err
	}
	l.mu.Lock()
	base, names := l.fence, slices.Collect(maps.Keys(l.there))
	l.mu.Unlock()
	if base.Journal != nil {
		base.Commit-- // it is not in all records yet
	}
	once, lost := newFollower(l.session), l.session.Lost()
	if err := once.readAll(ctx, base, names); err != nil {
		return nil, fmt.Errorf("load the store in ZooKeeper: %w", err)
	}
	once.loaded = !over(lost)
	snapshot, err := once.Snapshot(ctx)
	return snapshot.Records, err
}

// Commit implements Store. It goes on trying while there is no connection, until ctx ends. Errors: ErrFenced when another
// instance leads; ErrTooLarge for a value of more than 256 KiB; ErrFull. After an error in the middle, every further call
// fails: lead again.
func (l *Leader) Commit(ctx context.Context, changes []scheduler.Change) error {
	err := l.commit(ctx, changes)
	if err != nil {
		return fmt.Errorf("commit %d changes to ZooKeeper: %w", len(changes), err)
	}
	return nil
}

func (l *Leader) commit(ctx context.Context, changes []scheduler.Change) error {
	switch {
	case l.closed.Load():
		return ErrClosed
	case l.broken != nil:
		return l.broken
	case ctx.Err() != nil:
		return ctx.Err()
	}
	number := l.fence.Commit + 1
	all, err := steps(number, changes)
	if err != nil {
		return err
	}
	ops := l.ops(all)
	if err := l.checkRoom(all); err != nil || len(ops) == 0 {
		return err
	}
	next := l.fence
	next.Commit = number
	ring := zookeeper.Set(slotPath(number), slotOf(number, all).encode(), zookeeper.AnyVersion)
	if l.size(ops)+l.size([]zookeeper.Op{ring}) <= maxRequest-requestReserve {
		err = l.write(ctx, next, all, append(ops, ring)...)
	} else {
		err = l.commitLarge(ctx, next, ring, all)
	}
	if err != nil && !errors.Is(err, ErrTooLarge) {
		l.broken = fmt.Errorf("a commit has failed before: %w", err)
	}
	return err
}

// requestReserve is more than the fence takes in a request.
const requestReserve = 2 << 10

// ops are the requests for steps, without those for what is not there anyway.
func (l *Leader) ops(all []step) []zookeeper.Op {
	ops := make([]zookeeper.Op, 0, len(all)+2)
	for _, s := range all {
		_, there := l.there[s.name]
		switch {
		case s.data == nil && there:
			ops = append(ops, zookeeper.Delete(s.name.path(), zookeeper.AnyVersion))
		case s.data != nil && there:
			ops = append(ops, zookeeper.Set(s.name.path(), s.data, zookeeper.AnyVersion))
		case s.data != nil:
			ops = append(ops, zookeeper.Create(s.name.path(), s.data))
		}
	}
	return ops
}

// checkRoom gives ErrFull if a bucket would have too many records after these steps.
func (l *Leader) checkRoom(all []step) error {
	more := map[int]int{}
	for _, s := range all {
		_, there := l.there[s.name]
		switch {
		case s.data == nil && there:
			more[s.name.bucket()]--
		case s.data != nil && !there:
			more[s.name.bucket()]++
		}
	}
	for bucket, n := range more {
		if n > 0 && l.fill[bucket]+n > maxChildren {
			return fmt.Errorf("%w: %d records", ErrFull, len(l.there))
		}
	}
	return nil
}

// remember notes that the fence was written, together with steps.
func (l *Leader) remember(written fence, all []step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fence, l.version = written, l.version+1
	for _, s := range all {
		_, there := l.there[s.name]
		switch {
		case s.data == nil && there:
			delete(l.there, s.name)
			l.fill[s.name.bucket()]--
		case s.data != nil && !there:
			l.there[s.name] = struct{}{}
			l.fill[s.name.bucket()]++
		}
	}
}

func (l *Leader) size(ops []zookeeper.Op) (bytes int) {
	for _, op := range ops {
		bytes += l.session.Size(op)
	}
	return bytes
}

// write carries out ops, which are steps and what goes with them, together with the next fence, once. It expects the fence of this leader's last write, so that an
// attempt may be repeated when its answer was lost: only one of them can succeed, and the fence tells whether it did.
func (l *Leader) write(ctx context.Context, next fence, done []step, ops ...zookeeper.Op) error {
	data := next.encode()
	request := append([]zookeeper.Op{zookeeper.Set(fencePath, data, l.version)}, ops...)
	for {
		err := l.session.Multi(ctx, request...)
		switch {
		case errors.Is(err, zookeeper.ErrUnsettled) && ctx.Err() == nil:
			continue
		case errors.Is(err, zookeeper.ErrBadVersion):
			err = l.settle(ctx, data)
		}
		if err == nil {
			l.remember(next, done)
		}
		return err
	}
}

// settle says whether the fence is what this leader has just written, as nobody else can have written it.
func (l *Leader) settle(ctx context.Context, data []byte) error {
	if err := l.session.Sync(ctx); err != nil {
		return err
	}
	got, stat, err := l.session.Get(ctx, fencePath)
	if err != nil {
		return err
	}
	if stat.Version != l.version+1 || string(got) != string(data) {
		return ErrFenced
	}
	return nil
}

// Close implements Store. The place can be led again at once; who leads next keeps this one out.
func (l *Leader) Close() error {
	l.closed.Store(true)
	return nil
}

// journalName is that of a commit's parts. It is not used again.
func journalName(f fence) string { return fmt.Sprintf("%d-%d-", f.Epoch, f.Commit) }

func partPath(name string, number int) string {
	return journalPath + "/" + name + fmt.Sprintf("%04d", number)
}
