package scheduler

import (
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// sources finds what the references of a spec to other jobs' results come to at present. The error is Invalid, with a
// problem for each that comes to nothing. A job may name itself, also before it exists.
func (c *Core) sources(spec *jobs.Spec) ([]proto.Source, *Error) {
	section, ok := spec.Section.(jobs.Referrer)
	if !ok {
		return nil, nil
	}
	var found []proto.Source
	var problems []jobs.Problem
	for _, ref := range section.References() {
		source, wrong := c.source(spec, ref)
		if wrong != "" {
			problems = append(problems, jobs.Problem{Pointer: ref.Pointer, Detail: wrong})
		}
		found = append(found, source)
	}
	if len(problems) > 0 {
		return nil, invalid("the spec names results that cannot be read", problems)
	}
	return found, nil
}

// source is one of them, or what is wrong with it.
func (c *Core) source(spec *jobs.Spec, ref jobs.Reference) (proto.Source, string) {
	source := proto.Source{Pointer: ref.Pointer, Job: ref.Job, Run: ref.Run}
	read := c.newestSpec(ref.Job)
	if ref.Job == spec.Name {
		read = spec
	}
	if ref.Run != "" {
		of, wrong := c.publishedBy(ref, &source)
		if wrong != "" {
			return source, wrong
		}
		if of != nil {
			read = of
		}
	}
	if read == nil {
		return source, c.unknownJob(ref.Job)
	}
	publisher, ok := read.Section.(jobs.Publisher)
	if !ok {
		return source, fmt.Sprintf("job %q is of kind %s, which publishes no result", ref.Job, read.Kind)
	}
	source.URI, source.Connection = publisher.Publishes()
	return source, ""
}

// publishedBy looks at the run whose result a reference asks for, and notes its manifest. It returns the spec that the
// run had, nil if the run is no longer kept: then it lies in the archive, or has never been, which comes out when its
// manifest is read.
func (c *Core) publishedBy(ref jobs.Reference, source *proto.Source) (*jobs.Spec, string) {
	job, _, err := jobs.ParseRunID(ref.Run)
	switch {
	case err != nil:
		return nil, err.Error()
	case job != ref.Job:
		return nil, fmt.Sprintf("run %q is one of job %q, not of %q", ref.Run, job, ref.Job)
	}
	r := c.runs[ref.Run]
	switch {
	case r == nil:
		return nil, ""
	case !r.ended():
		return nil, fmt.Sprintf("run %q has not ended yet; its result can be named when it has succeeded", ref.Run)
	case r.rec.State != proto.RUN_SUCCEEDED || r.rec.Output == nil:
		return nil, fmt.Sprintf("run %q has %s and published nothing", ref.Run, jobs.RunStateName(r.rec.State))
	}
	source.Manifest = r.rec.Output.Manifest
	return r.spec, ""
}

// newestSpec is that of a job which has not been deleted; nil if there is none that can be read.
func (c *Core) newestSpec(name string) *jobs.Spec {
	j := c.jobs[name]
	if j == nil || j.rec.Deleted {
		return nil
	}
	return j.newest().spec
}

// unknownJob says that there is no such job, with a suggestion among those whose results can be read.
func (c *Core) unknownJob(name string) string {
	if j := c.jobs[name]; j != nil && !j.rec.Deleted {
		return fmt.Sprintf("the stored spec of job %q can no longer be read; submit it again", name)
	}
	text := fmt.Sprintf("there is no job %q", name)
	var publishing []string
	for _, other := range sortedKeys(c.jobs) {
		if spec := c.newestSpec(other); spec != nil {
			if _, ok := spec.Section.(jobs.Publisher); ok {
				publishing = append(publishing, other)
			}
		}
	}
	if meant := jobs.Suggest(name, publishing); meant != "" {
		text += fmt.Sprintf("; did you mean %q?", meant)
	}
	return text
}

// readBy lists the other jobs whose newest revisions read the newest result of a job.
func (c *Core) readBy(name string) []string {
	var readers []string
	for _, other := range sortedKeys(c.jobs) {
		spec := c.newestSpec(other)
		if spec == nil || other == name {
			continue
		}
		section, ok := spec.Section.(jobs.Referrer)
		if ok && slices.ContainsFunc(section.References(), func(ref jobs.Reference) bool { return ref.Job == name && ref.Run == "" }) {
			readers = append(readers, other)
		}
	}
	return readers
}
