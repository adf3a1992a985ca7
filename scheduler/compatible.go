package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// abilities are what an executor version can do: what every artefact of it can, for a task may run on any of them.
type abilities struct {
	kinds    []string // sorted
	features map[string]bool
}

// abilitiesOf works out what a version can do.
func abilitiesOf(rec *proto.ExecutorVersion, kinds jobs.Kinds) abilities {
	var all abilities
	for i := range rec.Artifacts {
		one := artifactAbilities(&rec.Artifacts[i].Description, kinds)
		if i == 0 {
			all = one
			continue
		}
		all.kinds = slices.DeleteFunc(all.kinds, func(kind string) bool { return !slices.Contains(one.kinds, kind) })
		for feature := range all.features {
			if !one.features[feature] {
				delete(all.features, feature)
			}
		}
	}
	return all
}

// artifactAbilities are what one artefact can do: what it names, and of a kind of which it names nothing what that kind
// had at first.
func artifactAbilities(said *proto.Description, kinds jobs.Kinds) abilities {
	able := abilities{kinds: slices.Sorted(slices.Values(said.Kinds)), features: map[string]bool{}}
	named := map[string]bool{}
	for _, feature := range said.Features {
		able.features[feature] = true
		kind, _, _ := strings.Cut(feature, ".")
		named[kind] = true
	}
	for _, kind := range able.kinds {
		old, ok := kinds.Lookup(kind).(jobs.FirstFeatures)
		if !ok || named[kind] {
			continue
		}
		for _, feature := range old.FirstFeatures() {
			able.features[feature] = true
		}
	}
	return able
}

// lacking says what a spec needs that the version does not have, a problem for each place: none if it suits. The spec's
// own choice of a version or channel makes no difference.
func (c *Core) lacking(v *version, spec *jobs.Spec) []jobs.Problem {
	if v.suits(spec) {
		return nil
	}
	best := c.newestVersion(func(other *version) bool { return other.suits(spec) })
	instead := func(verb string, able func(*version) bool) string {
		switch {
		case best != nil:
			return best.rec.Version + " " + verb
		case c.newestVersion(able) != nil:
			return "no registered version has all that the spec needs"
		default:
			return "no registered version " + verb
		}
	}
	if !v.does(spec.Kind) {
		detail := fmt.Sprintf("executor %s does no jobs of kind %q; %s", v.rec.Version, spec.Kind,
			instead("does", func(other *version) bool { return other.does(spec.Kind) }))
		return []jobs.Problem{{Pointer: "/kind", Detail: detail}}
	}
	var problems []jobs.Problem
	for _, need := range spec.Needs() {
		if v.able.features[need.Feature] {
			continue
		}
		detail := fmt.Sprintf("executor %s has no %s; %s", v.rec.Version, need.Feature,
			instead("has", func(other *version) bool { return other.able.features[need.Feature] }))
		problems = append(problems, jobs.Problem{Pointer: need.Pointer, Detail: detail})
	}
	return problems
}

// missingPlatforms are those for which another version has a file and v has none.
func (v *version) missingPlatforms(other *version) []string {
	var missing []string
	for i := range other.rec.Artifacts {
		if a := &other.rec.Artifacts[i]; v.artifact(a.OS, a.Arch) == nil {
			missing = append(missing, a.OS+"-"+a.Arch)
		}
	}
	return missing
}

func (v *version) does(kind string) bool { return slices.Contains(v.able.kinds, kind) }

// suits says whether the version can run jobs of that spec.
func (v *version) suits(spec *jobs.Spec) bool {
	return v.does(spec.Kind) && !slices.ContainsFunc(spec.Needs(), func(need jobs.Need) bool { return !v.able.features[need.Feature] })
}

// newestVersion is the version that was registered last among those that qualify, or nil.
func (c *Core) newestVersion(qualifies func(*version) bool) *version {
	var best *version
	for _, v := range c.versions {
		if qualifies(v) && (best == nil || v.newerThan(best)) {
			best = v
		}
	}
	return best
}

// newerThan goes by when versions were registered first, whatever they are called. Of two that were registered at one
// time the name decides, so that the answer is always the same.
func (v *version) newerThan(other *version) bool {
	return cmp.Or(v.rec.Registered.Compare(other.rec.Registered), cmp.Compare(v.rec.Version, other.rec.Version)) > 0
}
