package jobs

import (
	"reflect"
	"slices"
	"strings"
	"unique"
)

// Need is a feature that a spec uses, and where it does.
//
// A feature is a field that a kind's section may have: the names on the way to it, joined by dots and beginning with the
// kind's, without indexes and the names that a spec makes up. A field that allows certain values only is one feature for
// each, with the value at the end: aggregate.where, aggregate.input.format.csv. A Shape with [Choices] has one for each of
// these beside its own: aggregate.measures, aggregate.measures.approx_quantile. Required fields without such values are
// none: whoever knows the object knows them.
type Need struct {
	Feature string
	Pointer string // into the spec
}

// Choices is implemented by a [Shape] of which an executor version may know some values and not others, on the pointer.
// All methods are pure.
type Choices interface {
	// Choices are the names of all values, each of a-z 0-9 _ -. It is called on a zero value.
	Choices() []string
	// Chosen calls use for each one in the value, with the path to it from the field.
	Chosen(use func(choice string, path ...string))
}

// FirstFeatures is implemented by a [Kind] that is older than features: executors were built that do the kind and name
// none of its features.
type FirstFeatures interface {
	// FirstFeatures are those that every such executor has, sorted. The answer never changes.
	FirstFeatures() []string
}

// Features are all that specs of these kinds can need, sorted.
func Features(kinds Kinds) []string {
	var all []string
	for _, kind := range kinds {
		all = structFeatures(all, sectionType(kind), kind.Name())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// structFeatures appends the features of a struct's fields, where at is the feature's name up to there.
func structFeatures(all []string, t reflect.Type, at string) []string {
	for _, f := range fields(t) {
		name := at + "." + f.name
		if f.isFeature() {
			all = append(all, name)
		}
		if f.isArray() {
			f = *f.element()
		}
		for _, value := range f.enum {
			all = append(all, name+"."+value)
		}
		if f.isURI() {
			all = append(all, name+"."+laterScheme)
		}
		switch value := reflect.New(f.typ).Interface().(type) {
		case Choices:
			for _, choice := range value.Choices() {
				all = append(all, name+"."+choice)
			}
		case Shape:
		default:
			if f.typ.Kind() == reflect.Struct {
				all = structFeatures(all, f.typ, name)
			}
		}
	}
	return all
}

// isFeature says whether naming the field is a feature, whatever its value.
func (f *field) isFeature() bool { return !f.required && f.enum == nil }

// laterScheme is the scheme of URIs that the first executors did not know.
const laterScheme = "hdfs"

// isURI says whether the value is text that names an object or a prefix.
func (f *field) isURI() bool {
	return f.typ.Kind() == reflect.String && (f.format == "uri" || f.format == "prefix")
}

// isArray says whether the value is a JSON array, as the tags describe it.
func (f *field) isArray() bool {
	return f.typ.Kind() == reflect.Slice && !reflect.PointerTo(f.typ).Implements(reflect.TypeFor[Shape]())
}

// Needs are the features that the spec names, in the order of the struct's fields, one for each place. What it leaves out
// needs nothing, and a default that it spells out is needed like any other value: executors get the spec as it was
// written, and refuse a field that they do not know. The answer is shared and must not be changed; it is empty for a
// Spec that [Decode] has not made.
func (s *Spec) Needs() []Need { return s.needs }

// needs finds the features of the section at d, of which v is what was read.
func (d *Decoder) needs(v reflect.Value, kind string) []Need {
	var all needList
	all.object(d, v, kind)
	return slices.Clip(all)
}

type needList []Need

// add keeps one copy of each feature's name, for there are as many specs as revisions.
func (l *needList) add(feature, pointer string) {
	*l = append(*l, Need{Feature: unique.Make(feature).Value(), Pointer: pointer})
}

func (l *needList) object(d *Decoder, v reflect.Value, name string) {
	for _, f := range fields(v.Type()) {
		at, name := d.At(f.name), name+"."+f.name
		if !at.Present() {
			continue
		}
		if f.isFeature() {
			l.add(name, at.pointer)
		}
		if !f.isArray() {
			l.value(at, v.Field(f.index), &f, name)
			continue
		}
		for i := range v.Field(f.index).Len() {
			l.value(at.Index(i), v.Field(f.index).Index(i), f.element(), name)
		}
	}
}

// value adds what is behind a field's name.
func (l *needList) value(d *Decoder, v reflect.Value, f *field, name string) {
	if f.enum != nil {
		l.add(name+"."+v.String(), d.pointer)
	}
	if f.isURI() && strings.HasPrefix(v.String(), laterScheme+"://") {
		l.add(name+"."+laterScheme, d.pointer)
	}
	switch value := v.Addr().Interface().(type) {
	case Choices:
		value.Chosen(func(choice string, path ...string) {
			l.add(name+"."+choice, JoinPointer(d.pointer, path...))
		})
	case Shape:
	default:
		if v.Kind() == reflect.Struct {
			l.object(d, v, name)
		}
	}
}

// sectionType is the struct of a kind's section: that of one which was decoded from nothing.
func sectionType(kind Kind) reflect.Type {
	section := kind.DecodeSection(&Decoder{pointer: JoinPointer("", kind.Name()), problems: &problemList{}})
	return reflect.Indirect(reflect.ValueOf(section)).Type()
}
