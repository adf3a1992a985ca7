package jobs

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Decoder is one value of a spec that is being read, together with the list of everything that is wrong with the spec.
//
// A kind declares its section as a struct with tags (see [Decoder.Into]), calls Into once, and then checks what
// concerns several fields, reporting to the Decoder of the field at fault:
//
//	section := &Section{}
//	d.Into(section)
//	if out := d.At("output", "uri"); out.Sound() && inside(section.Output.URI, section.Input.URI) {
//		out.Problem("the output lies inside the input")
//	}
type Decoder struct {
	node     *node // nil: the value is missing
	pointer  string
	problems *problemList
}

// Shape is a field's type with a form of its own, which the tags cannot describe. It is implemented on the pointer,
// together with [encoding/json.Marshaler] on the value, which writes what DecodeSpec reads.
type Shape interface {
	DecodeSpec(d *Decoder)
	// Schema is the JSON Schema of what DecodeSpec reads. It is called on a zero value.
	Schema() map[string]any
}

// Pointer is the JSON Pointer of the value.
func (d *Decoder) Pointer() string { return d.pointer }

// Problem reports something that is wrong with the value, in a sentence without a full stop.
func (d *Decoder) Problem(format string, args ...any) { d.problems.add(d.pointer, format, args...) }

// Present says whether the spec has the value.
func (d *Decoder) Present() bool { return d.node != nil }

// Sound says whether nothing is known to be wrong with the value or anything inside it. A check of several fields
// first asks whether each is sound, so that one fault is reported once.
func (d *Decoder) Sound() bool { return !d.problems.below(d.pointer) }

// At is the value that lies inside this one at that path of field names and indexes. It may be missing.
func (d *Decoder) At(path ...string) *Decoder {
	at := &Decoder{node: d.node, pointer: d.pointer, problems: d.problems}
	for _, name := range path {
		at.node = at.node.find(name)
		at.pointer = JoinPointer(at.pointer, name)
	}
	return at
}

// Index is the element of an array.
func (d *Decoder) Index(i int) *Decoder {
	c := child{name: strconv.Itoa(i)}
	if d.node != nil && d.node.kind == '[' && i < len(d.node.children) {
		c.node = d.node.children[i].node
	}
	return d.child(c)
}

// Fields are the names of an object's fields, in the order of the spec. ok is false, and the problem is reported,
// if the value is not an object.
func (d *Decoder) Fields() (names []string, ok bool) {
	if !d.want('{') {
		return nil, false
	}
	for _, c := range d.node.children {
		names = append(names, c.name)
	}
	return names, true
}

// Elements is how many elements an array has; see [Decoder.Index]. ok is false, and the problem is reported, if the value is
// not an array.
func (d *Decoder) Elements() (n int, ok bool) {
	if !d.want('[') {
		return 0, false
	}
	return len(d.node.children), true
}

// String is the value's text. ok is false, and the problem is reported, if it is not a string.
func (d *Decoder) String() (text string, ok bool) {
	if !d.want('"') {
		return "", false
	}
	return d.node.text, true
}

// Number is the value as a number. ok is false, and the problem is reported, if it is not a number that fits.
func (d *Decoder) Number() (x float64, ok bool) {
	if !d.want('0') {
		return 0, false
	}
	x, err := strconv.ParseFloat(d.node.text, 64)
	if err != nil {
		d.Problem("the number is too large")
		return 0, false
	}
	return x, true
}

// Unknown reports the value as a field that is not one of known, with a suggestion.
func (d *Decoder) Unknown(what, name string, known []string) {
	if d.problems.full() {
		d.Problem("unknown %s", what)
		return
	}
	switch suggestion := suggest(name, known); {
	case suggestion != "":
		d.Problem("unknown %s %s; did you mean %q?", what, excerpt(name), suggestion)
	case len(known) == 0:
		d.Problem("unknown %s %s", what, excerpt(name))
	default:
		d.Problem("unknown %s %s; known are %s", what, excerpt(name), quoteAll(known))
	}
}

// child is one value inside this one, which the caller has found already.
func (d *Decoder) child(c child) *Decoder {
	return &Decoder{node: c.node, pointer: JoinPointer(d.pointer, c.name), problems: d.problems}
}

// Into reads the value, an object, into the struct that into points at, and reports everything in it that the struct's
// tags do not allow. Fields that are missing or wrong get their defaults. The tags are
//
//	json:"name"             the field's name in the spec; ",omitempty" leaves a zero value out when the spec is shown
//	required:"true"         the field must be given
//	default:"4"             what a missing field is, as text
//	enum:"csv,jsonl"        the only values allowed
//	format:"size"           a form of text: see formats in format.go; time.Duration fields need none
//	min:"1" max:"1000"      bounds of a number, size or duration
//	minlen:"1" maxlen:"80"  bounds of a text's length in characters (of each one, for an array of texts)
//	maxitems:"64"           bound of an array's length; minitems likewise
//	only:"format=csv"       the field exists only if another field of the struct has one of the values (a|b)
//	doc:"…" example:"…"     for the JSON Schema
//
// Fields may be string, bool, int, int64, float64, time.Duration, structs, slices of these, and types with a [Shape].
func (d *Decoder) Into(into any) { d.object(reflect.ValueOf(into).Elem(), nil) }

// names of the kinds of JSON values for people.
var kindNames = map[jsontext.Kind]string{
	'{': "an object", '[': "an array", '"': "a string", '0': "a number", 't': "true", 'f': "false", 'n': "null",
}

// want reports a value that is missing or of another kind.
func (d *Decoder) want(kind jsontext.Kind) bool {
	if d.node != nil && d.node.kind == kind {
		return true
	}
	d.mismatch(kindNames[kind])
	return false
}

// mismatch reports that something else was wanted.
func (d *Decoder) mismatch(want string) {
	switch {
	case d.node == nil:
		d.missing()
	case d.node.kind == 'n':
		d.Problem("want %s, got null; leave it out instead", want)
	case d.node.kind == '"' && want == kindNames['0'] && jsonNumber.MatchString(d.node.text):
		d.Problem("want %s, got a string; remove the quotes", want)
	case d.node.kind != '{' && d.node.kind != '[' && want == kindNames['"']:
		d.Problem("want %s, got %s; put it in quotes", want, kindNames[d.node.kind])
	default:
		d.Problem("want %s, got %s", want, kindNames[d.node.kind])
	}
}

// missing reports that the value is required.
func (d *Decoder) missing() {
	d.Problem("required field %q is missing", unescapePointer.Replace(d.pointer[strings.LastIndexByte(d.pointer, '/')+1:]))
}

var (
	escapePointer   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapePointer = strings.NewReplacer("~1", "/", "~0", "~")
)

// JoinPointer is the JSON Pointer (RFC 6901) of what lies inside the value at pointer under names or indexes.
func JoinPointer(pointer string, path ...string) string {
	for _, name := range path {
		pointer += "/" + escapePointer.Replace(name)
	}
	return pointer
}
