package jobs

import "reflect"

// Decode reads a spec, which is JSON, checks everything that can be checked without an executor or the outside world,
// and fills in defaults. It reports all problems that it finds, not only the first, each with a pointer to the field at
// fault; the spec is nil if there are any. It is strict: unknown and repeated fields, bad UTF-8, text after the end, more
// than [MaxBytes] bytes and deep nesting are problems. It accepts any input and never panics on it.
//
// At most 100 problems are listed. Syntax ends the reading, so a document that is not JSON has one.
func Decode(data []byte, kinds Kinds) (*Spec, []Problem) {
	problems := &problemList{}
	root := readDocument(data, problems)
	if root == nil {
		return nil, problems.all()
	}
	d := &Decoder{node: root, problems: problems}
	spec := d.spec(kinds)
	if all := problems.all(); len(all) > 0 {
		return nil, all
	}
	spec.needs = d.At(spec.Kind).needs(reflect.Indirect(reflect.ValueOf(spec.Section)), spec.Kind)
	return spec, nil
}

// spec reads the whole document.
func (d *Decoder) spec(kinds Kinds) *Spec {
	spec := &Spec{}
	if d.node.kind != '{' {
		d.Problem("want an object with the fields of a job, got %s", kindNames[d.node.kind])
		return spec
	}
	names := kinds.names()
	// Sections are read below; here they only must not count as unknown.
	d.object(reflect.ValueOf(spec).Elem(), names)
	d.executor(&spec.Executor)
	kind := kinds.Lookup(spec.Kind)
	switch at := d.At("kind"); {
	case !at.Sound():
		return spec
	case kind == nil:
		at.Unknown("kind", spec.Kind, names)
		return spec
	}
	for _, name := range names {
		if at := d.At(name); name != spec.Kind && at.Present() {
			at.Problem("section %q does not belong to a job of kind %q; remove it, or make the kind %q", name, spec.Kind, name)
		}
	}
	section := d.At(spec.Kind)
	if !section.Present() {
		section.missing()
		return spec
	}
	spec.Section = kind.DecodeSection(section)
	return spec
}

// executor settles channel and version, of which exactly one holds.
func (d *Decoder) executor(ref *ExecutorRef) {
	at := d.At("executor")
	switch {
	case at.At("channel").Present() && at.At("version").Present():
		at.Problem("channel and version exclude one another: follow a channel or pin a version")
	case ref.Channel == "" && ref.Version == "":
		ref.Channel = DefaultChannel
	}
}

// names are the names of the kinds, in the order of registration.
func (k Kinds) names() []string {
	names := make([]string, 0, len(k))
	for _, kind := range k {
		names = append(names, kind.Name())
	}
	return names
}
