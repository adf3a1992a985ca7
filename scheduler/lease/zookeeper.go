package lease

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// Below the path of the session's URL. A candidate is an ephemeral node <random>-<number> whose data is an Instance; the
// lowest number leads.
const (
	candidates = "/lease/candidates"
	heartbeat  = "/lease/heartbeat" // written by whoever leads, so that the ensemble confirms its session
)

const (
	retryPause   = 100 * time.Millisecond
	refusedPause = 10 * time.Second // when the credentials are refused
	closeTimeout = 2 * time.Second
)

// ZooKeeper is the lease of instances that share an ensemble. Several of them may use one session's URL only if they are
// to be one group.
type ZooKeeper struct {
	session *zookeeper.Session
	self    Instance
	data    []byte // self as JSON
	log     *slog.Logger

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	instances []Instance
	changed   chan struct{}            // closed and replaced with instances
	term      *term                    // the last one
	removals  map[<-chan struct{}]bool // under way, each until its channel is closed
	closed    bool
}

// NewZooKeeper takes part in the group at the session's URL: it follows who leads at once, and is a candidate while
// Acquire runs and while its term lasts. The session stays the caller's, to be closed after the lease.
func NewZooKeeper(session *zookeeper.Session, self Instance, log *slog.Logger) (*ZooKeeper, error) {
	data, err := json.Marshal(self)
	if err != nil {
		return nil, fmt.Errorf("take part in the election: %w", err)
	}
	l := &ZooKeeper{session: session, self: self, data: data, log: log, changed: make(chan struct{}), removals: map[<-chan struct{}]bool{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.follow)
	return l, nil
}

// Leader implements Lease. While there is no connection it is who led when there was one.
func (l *ZooKeeper) Leader() (Instance, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.instances) == 0 {
		return Instance{}, false
	}
	return l.instances[0], true
}

// Instances implements Lease.
func (l *ZooKeeper) Instances() []Instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.instances)
}

// Changed implements Lease.
func (l *ZooKeeper) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Close implements Lease. It waits at most two seconds for ZooKeeper; what is not given up then goes with the session.
func (l *ZooKeeper) Close() error {
	l.mu.Lock()
	l.closed = true
	last := l.term
	l.mu.Unlock()
	if last != nil {
		last.end("closed")
	}
	limit, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, removed := range l.underWay() {
		select {
		case <-removed:
		case <-limit.Done():
		}
	}
	l.cancel()
	l.running.Wait()
	return nil
}

func (l *ZooKeeper) underWay() []<-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.removals))
}

// follow keeps instances as they are. All instances watch the list of all candidates, not each its predecessor only:
// standbys must know who leads, and there are a few of them, no herd.
func (l *ZooKeeper) follow() {
	known := map[string]Instance{}
	for l.ctx.Err() == nil {
		names, watch, err := l.list(l.ctx)
		if err != nil {
			if errors.Is(err, zookeeper.ErrNoNode) {
				err = l.session.EnsurePath(l.ctx, candidates)
			}
			if err != nil {
				l.complain("following who leads failed", err)
			}
			continue
		}
		l.show(l.read(names, known))
		l.awaitChange(l.ctx, names, watch)
	}
}

// list returns the names of the candidates, the leader first, with a watch of them.
func (l *ZooKeeper) list(ctx context.Context) ([]string, zookeeper.Watch, error) {
	names, watch, err := l.session.ChildrenWatch(ctx, candidates)
	inOrder(names)
	return names, watch, err
}

func inOrder(names []string) {
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(number(a), number(b)) })
}

// awaitChange returns when the candidates may be others than those, or ctx ends. It looks once a session timeout, too: a
// watch tells nothing of a change during a disconnection if the next connection breaks while the watch is set again.
func (l *ZooKeeper) awaitChange(ctx context.Context, names []string, watch zookeeper.Watch) {
	look := time.NewTicker(l.session.Timeout())
	defer look.Stop()
	for {
		select {
		case <-watch:
			return
		case <-ctx.Done():
			return
		case <-look.C:
		}
		now, err := l.session.Children(ctx, candidates)
		if inOrder(now); err != nil || !slices.Equal(now, names) {
			return
		}
	}
}

// number is what ZooKeeper put behind the name.
func number(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// read gets the instances of those names; known holds what was read before.
func (l *ZooKeeper) read(names []string, known map[string]Instance) []Instance {
	var out []Instance
	for _, name := range names {
		instance, ok := known[name]
		if !ok {
			data, _, err := l.session.Get(l.ctx, candidates+"/"+name)
			if err != nil {
				continue // gone meanwhile, which the watch tells
			}
			if err := json.Unmarshal(data, &instance); err != nil {
				l.log.Warn("a candidate cannot be read", "node", name, "error", err)
			}
			known[name] = instance
		}
		out = append(out, instance)
	}
	for name := range known {
		if !slices.Contains(names, name) {
			delete(known, name)
		}
	}
	return out
}

func (l *ZooKeeper) show(instances []Instance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.EqualFunc(instances, l.instances, Instance.equal) {
		return
	}
	l.instances = instances
	close(l.changed)
	l.changed = make(chan struct{})
}

func (i Instance) equal(other Instance) bool {
	return i.URL == other.URL && i.Host == other.Host && i.Version == other.Version && i.Since.Equal(other.Since)
}

// complain logs and waits, longer when trying again is of little use.
func (l *ZooKeeper) complain(text string, err error) {
	if l.ctx.Err() != nil || errors.Is(err, zookeeper.ErrClosed) {
		return
	}
	l.log.Error(text, "error", err)
	wait := retryPause
	if errors.Is(err, zookeeper.ErrNoAuth) {
		wait = refusedPause
	}
	pause(l.ctx, wait)
}

// Acquire implements Lease. It fails with zookeeper.ErrNoAuth if the credentials are refused, with zookeeper.ErrClosed
// after Close.
func (l *ZooKeeper) Acquire(ctx context.Context) (Term, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, fmt.Errorf("acquire the lease: %w", zookeeper.ErrClosed)
	}
	l.running.Add(1) // before Close waits
	l.mu.Unlock()
	defer l.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	for {
		t, err := l.stand(ctx)
		switch {
		case t != nil:
			l.mu.Lock()
			l.term = t
			l.mu.Unlock()
			return t, nil
		case l.ctx.Err() != nil:
			return nil, fmt.Errorf("acquire the lease: %w", zookeeper.ErrClosed)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("acquire the lease: %w", ctx.Err())
		case errors.Is(err, zookeeper.ErrNoAuth), errors.Is(err, zookeeper.ErrClosed):
			return nil, fmt.Errorf("acquire the lease: %w", err)
		case err != nil:
			l.log.Warn("standing for election failed: trying again", "error", err)
			pause(ctx, retryPause)
		}
	}
}

// stand is one candidacy: from making the node until it leads. Neither a term nor an error: the session was lost, or the
// node removed.
func (l *ZooKeeper) stand(ctx context.Context) (*term, error) {
	if err := l.session.EnsurePath(ctx, candidates); err != nil {
		return nil, err
	}
	if err := l.session.EnsurePath(ctx, heartbeat); err != nil {
		return nil, err
	}
	token := strings.ToLower(rand.Text())
	lost := l.session.Lost() // before the node: if it belongs to a later session, this one tells
	t, err := l.run(ctx, token, lost)
	if t == nil {
		l.withdraw(token)
	}
	return t, err
}

// run is stand for one token: it leaves removing the node to its caller.
func (l *ZooKeeper) run(ctx context.Context, token string, lost <-chan struct{}) (*term, error) {
	path, err := l.enter(ctx, token)
	if err != nil {
		return nil, err
	}
	if won, err := l.wait(ctx, path, lost); err != nil || !won {
		return nil, err
	}
	there, gone, err := l.session.ExistsWatch(ctx, path)
	if err != nil || !there {
		return nil, err
	}
	t := newTerm(l, path, token, lost, gone)
	if err := t.beat(ctx, time.Now()); err != nil {
		t.cancel()
		return nil, err
	}
	l.running.Go(t.keep)
	l.running.Go(t.watch)
	return t, nil
}

// enter makes the node. When the answer is lost it is looked for by its token: making a second one would let the first
// lead with nobody behind it.
func (l *ZooKeeper) enter(ctx context.Context, token string) (string, error) {
	path, err := l.session.CreateEphemeral(ctx, candidates+"/"+token+"-", l.data)
	if !errors.Is(err, zookeeper.ErrUnsettled) || ctx.Err() != nil {
		return path, err
	}
	name, findErr := l.find(ctx, token)
	if findErr != nil {
		return "", findErr
	}
	if name == "" {
		return "", err // not carried out; what the old connection still held went with it
	}
	return candidates + "/" + name, nil
}

// find returns the name of the node with that token, empty if there is none.
func (l *ZooKeeper) find(ctx context.Context, token string) (string, error) {
	if err := l.session.Sync(ctx); err != nil {
		return "", err
	}
	names, err := l.session.Children(ctx, candidates)
	if err != nil {
		return "", err
	}
	if n := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, token+"-") }); n >= 0 {
		return names[n], nil
	}
	return "", nil
}

// wait returns when the node is the first of the candidates (true), or cannot become it (false).
func (l *ZooKeeper) wait(ctx context.Context, path string, lost <-chan struct{}) (bool, error) {
	own := strings.TrimPrefix(path, candidates+"/")
	for {
		names, watch, err := l.list(ctx)
		if err != nil {
			return false, err
		}
		switch slices.Index(names, own) {
		case 0:
			return true, nil
		case -1:
			return false, nil
		}
		l.awaitChange(ctx, names, watch) // which a lost session ends as well: it breaks the watch
		select {
		case <-lost:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		default:
		}
	}
}

// withdraw removes what is there of a candidacy, in the background until it is known to be gone: a first candidate who
// does not lead would be in the way of all others. The channel is closed in the end.
func (l *ZooKeeper) withdraw(token string) <-chan struct{} {
	done := make(chan struct{})
	l.mu.Lock()
	l.removals[done] = true
	l.mu.Unlock()
	l.running.Go(func() {
		defer func() {
			close(done)
			l.mu.Lock()
			delete(l.removals, done)
			l.mu.Unlock()
		}()
		for l.ctx.Err() == nil && l.remove(token) != nil {
			pause(l.ctx, retryPause)
		}
	})
	return done
}

// remove returns nil when there is no node with that token, or nothing can be done about it.
func (l *ZooKeeper) remove(token string) error {
	name, err := l.find(l.ctx, token)
	if err == nil && name != "" {
		err = l.session.Multi(l.ctx, zookeeper.Delete(candidates+"/"+name, zookeeper.AnyVersion))
	}
	for _, final := range []error{zookeeper.ErrNoNode, zookeeper.ErrNoAuth, zookeeper.ErrClosed} {
		if errors.Is(err, final) {
			return nil
		}
	}
	return err
}

// pause waits that long, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
