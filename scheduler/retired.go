package scheduler

import (
	"maps"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// retiredKept is how many deleted versions are remembered. CI makes a name once: one that is older than so many
// deletions does not come back.
const retiredKept = 10_000

// retireVersion remembers a version that is deleted, so that its name never stands for other bytes.
func (c *Core) retireVersion(v *version, by string) {
	name := v.rec.Version
	rec := &proto.Retired{Version: name, Files: map[string]string{}, Deleted: c.now, By: by}
	if earlier := c.retired[name]; earlier != nil {
		rec.Files = maps.Clone(earlier.Files)
	}
	for i := range v.rec.Artifacts {
		a := &v.rec.Artifacts[i]
		rec.Files[a.OS+"-"+a.Arch] = a.SHA256
	}
	c.retired[name] = rec
	c.changes.put(Key{KindRetired, name}, rec)
	if len(c.retired) > retiredKept {
		c.forgetRetired()
	}
}

// forgetRetired forgets the version that was deleted first.
func (c *Core) forgetRetired() {
	var first *proto.Retired
	for _, name := range sortedKeys(c.retired) {
		if rec := c.retired[name]; first == nil || rec.Deleted.Before(first.Deleted) {
			first = rec
		}
	}
	delete(c.retired, first.Version)
	c.remove(KindRetired, first.Version)
}

// otherBytes refuses an artefact of a version that was deleted, unless it has the bytes that it had then.
func (c *Core) otherBytes(artifact *proto.Artifact) *Error {
	name, platform := artifact.Description.Version, artifact.OS+"-"+artifact.Arch
	rec := c.retired[name]
	if rec == nil || rec.Files[platform] == "" || rec.Files[platform] == artifact.SHA256 {
		return nil
	}
	return errorf(Conflict, "executor version %q for %s had other bytes (SHA-256 %s) until it was deleted on %s; a version never changes, register a new one",
		name, platform, rec.Files[platform], rec.Deleted.UTC().Format(time.DateOnly))
}
