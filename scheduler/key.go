package scheduler

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	keyKept     = 7 * 24 * time.Hour // an idempotency key stays so long after its run's creation, and as long as the run
	keysAtOnce  = 256                // forgotten in one step
	keyIDDigits = 32                 // of the key's SHA-256
)

// runKey is an idempotency key; each job has keys of its own, so that a date can be one.
type runKey struct{ job, key string }

// keys remember which runs idempotency keys have started, also when these are in the archive.
type keys struct {
	alarm
	byKey  map[runKey]*proto.IdempotencyKey
	oldest []*proto.IdempotencyKey // by creation
}

func keyID(job, key string) string {
	sum := sha256.Sum256([]byte(key))
	return job + "/" + hex.EncodeToString(sum[:])[:keyIDDigits]
}

// paramsDigest is equal for equal parameters only.
func paramsDigest(params map[string]string) []byte {
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(hash, "%d:%s%d:%s", len(name), name, len(params[name]), params[name])
	}
	return hash.Sum(nil)
}

func newKey(run *proto.Run) *proto.IdempotencyKey {
	return &proto.IdempotencyKey{Job: run.Job, Key: run.IdempotencyKey, Run: run.ID, Params: paramsDigest(run.Params), Created: run.Created}
}

// find returns what is known of a command's key, or nil.
func (k *keys) find(cmd StartRun) *proto.IdempotencyKey {
	if cmd.IdempotencyKey == "" {
		return nil
	}
	return k.byKey[runKey{cmd.Job, cmd.IdempotencyKey}]
}

// repeatRun answers a command whose key has started a run before.
func (c *Core) repeatRun(earlier *proto.IdempotencyKey, cmd StartRun) (StartRunResult, *Error) {
	if !slices.Equal(earlier.Params, paramsDigest(cmd.Params)) {
		return StartRunResult{}, errorf(Conflict, "idempotency key %q was used for run %s, which has other parameters", cmd.IdempotencyKey, earlier.Run)
	}
	if r := c.runs[earlier.Run]; r != nil {
		return StartRunResult{Run: cloneRun(r.rec), Repeat: true}, nil
	}
	return StartRunResult{Run: &proto.Run{ID: earlier.Run, Job: earlier.Job}, Repeat: true, Archived: true}, nil
}

// rememberKey stores the key that has started a run, if there is one.
func (c *Core) rememberKey(r *run) {
	if r.rec.IdempotencyKey == "" {
		return
	}
	rec := newKey(r.rec)
	c.keys.add(rec)
	c.keys.oldest = append(c.keys.oldest, rec)
	c.changes.put(Key{KindKey, keyID(rec.Job, rec.Key)}, rec)
	c.keys.rearm(c)
}

func (k *keys) add(rec *proto.IdempotencyKey) { k.byKey[runKey{rec.Job, rec.Key}] = rec }

// load takes over what is stored.
func (k *keys) load(all []*proto.IdempotencyKey) {
	for _, rec := range all {
		k.add(rec)
	}
	slices.SortFunc(all, func(a, b *proto.IdempotencyKey) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Run, b.Run))
	})
	k.oldest = all
}

// forget forgets a key that is too old and whose run is no longer kept.
func (k *keys) forget(c *Core, rec *proto.IdempotencyKey) {
	at := runKey{rec.Job, rec.Key}
	if k.byKey[at] != rec || c.runs[rec.Run] != nil || c.now.Before(rec.Created.Add(keyKept)) {
		return
	}
	delete(k.byKey, at)
	c.remove(KindKey, keyID(rec.Job, rec.Key))
}

// fire forgets old keys, not too many in one step. Those whose runs are still kept go with them.
func (k *keys) fire(c *Core) {
	for n := 0; n < keysAtOnce && len(k.oldest) > 0 && !c.now.Before(k.oldest[0].Created.Add(keyKept)); n++ {
		rec := k.oldest[0]
		k.oldest = k.oldest[1:]
		k.forget(c, rec)
	}
	k.rearm(c)
}

func (k *keys) rearm(c *Core) {
	if len(k.oldest) > 0 {
		c.arm(k, k.oldest[0].Created.Add(keyKept))
	}
}
