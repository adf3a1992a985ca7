package hdfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"time"

	"github.com/tidemill/tidemill/storage"
)

const (
	// patience is how long a claim may stand still before another writer overtakes its holder, who then can do nothing
	// any more. Whoever holds a claim needs it for three short calls.
	patience = 3 * time.Second
	// abandoned is how old a draft or claim must be to be taken for that of a dead writer.
	abandoned = 24 * time.Hour
)

// tree is what claims need of a file system. Each call happens at once or not at all; fs.ErrNotExist if the path, or
// for rename the folder of to, is not there.
type tree interface {
	// stat gives the ETag of a file.
	stat(at string) (etag string, err error)
	// child gives the name of one entry of a folder; empty if there is none.
	child(folder string) (string, error)
	// rename replaces a file by a file and an empty folder by a folder, and fails for a folder that is not empty.
	rename(from, to string) error
	// remove removes a file or a folder, an empty one only unless all is set.
	remove(at string, all bool) error
}

// claims is how writers take turns. The claim of a path is a folder beside it. It is taken by renaming a folder with one
// entry, the token, to it, which fails as long as there is an entry in it. Whoever holds it changes the path by one
// rename that needs the token: a draft that is renamed away, or a folder into which the old object is renamed. Removing
// the token of a holder that stands still ends its claim for good, since a token's name is never used twice.
type claims struct {
	patience  time.Duration
	abandoned time.Duration
	// at is called before each step of a writer, if it is set: a test can make it wait there, or die with an error
	// that matches errDied.
	at func(step string) error
}

var (
	// errOvertaken: another writer has ended the claim. Nothing was changed.
	errOvertaken = fmt.Errorf("%w: another writer has taken over", storage.ErrUnavailable)
	// errDied ends a writer without tidying, for tests.
	errDied = errors.New("died")
)

// folderOf is the claim of a path.
func folderOf(at string) string {
	sum := sha256.Sum256([]byte(path.Base(at)))
	return beside(at, hidden+"claim-"+hex.EncodeToString(sum[:16]))
}

func (c claims) step(name string) error {
	if c.at == nil {
		return nil
	}
	return c.at(name)
}

// allowed reports errCondition unless cond holds for what is at a path.
func allowed(t tree, at string, cond storage.Condition) error {
	if cond == storage.Always {
		return nil
	}
	etag, err := t.stat(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !cond.Allows(storage.Object{ETag: etag}, err == nil) {
		return storage.ErrCondition
	}
	return nil
}

// take renames folder, whose only entry is token, to the claim of a path. It waits for other holders, and gives up with
// ErrCondition as soon as cond does not hold any more.
func (c claims) take(ctx context.Context, t tree, at, folder, token string, cond storage.Condition) error {
	claim := folderOf(at)
	var holder string
	var stands time.Time // since when holder has been seen
	refused := 0         // in a row without a holder
	if err := c.step("take"); err != nil {
		return err
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := t.rename(folder, claim)
		if err == nil {
			return nil
		}
		now, childErr := t.child(claim)
		switch {
		case childErr != nil && !errors.Is(childErr, fs.ErrNotExist):
			return childErr
		case now == token:
			return nil // the rename had happened
		case now == "":
			if refused++; refused == 5 {
				return err // and not because of a holder
			}
			continue
		case now != holder:
			holder, stands, refused = now, time.Now(), 0
		case time.Since(stands) >= c.patience:
			if err := t.remove(path.Join(claim, holder), true); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		if err := allowed(t, at, cond); err != nil {
			return err
		}
		if err := wait(ctx, pause/2+rand.N(pause)); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish renames the draft <folder>/<token>, of which etag is known, to a path if cond holds. Whatever the outcome,
// neither folder nor claim is left, unless the connection fails.
func (c claims) publish(ctx context.Context, t tree, at, folder, token, etag string, cond storage.Condition) error {
	if err := c.take(ctx, t, at, folder, token, cond); err != nil {
		return err
	}
	claim := folderOf(at)
	draft := path.Join(claim, token)
	err := c.step("check")
	if err == nil {
		err = allowed(t, at, cond)
	}
	if err == nil {
		err = c.step("publish")
	}
	if err == nil {
		err = t.rename(draft, at)
	}
	if errors.Is(err, errDied) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errOvertaken
		if now, statErr := t.stat(at); statErr == nil && now == etag {
			err = nil // an answer was lost
		}
	}
	if err != nil {
		_ = t.remove(draft, false) // the draft of a broken connection is removed by the caller
	} else if err := c.step("release"); err != nil {
		return err
	}
	_ = t.remove(claim, false) // an empty one hinders nobody; one that is not empty has been taken again
	return err
}

// delete removes the file at a path. The token of folder is a folder, too.
func (c claims) delete(ctx context.Context, t tree, at, folder, token string) error {
	if err := c.take(ctx, t, at, folder, token, storage.Always); err != nil {
		return err
	}
	claim := folderOf(at)
	err := c.step("delete")
	if err == nil {
		err = t.rename(at, path.Join(claim, token, "gone"))
	}
	if errors.Is(err, errDied) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		_, statErr := t.stat(at)
		switch {
		case errors.Is(statErr, fs.ErrNotExist):
			err = nil
		case statErr == nil:
			err = errOvertaken
		default:
			err = statErr
		}
	}
	if stepErr := c.step("release"); stepErr != nil {
		return stepErr
	}
	if removeErr := t.remove(path.Join(claim, token), true); err == nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = removeErr
	}
	_ = t.remove(claim, false)
	return err
}

// sweep removes a draft or claim that was last touched so long ago that its writer is dead, and reports whether it did.
// Whoever may only read leaves it to others.
func (c claims) sweep(t tree, at string, modified time.Time) bool {
	if time.Since(modified) < c.abandoned {
		return false
	}
	return t.remove(at, true) == nil
}
