package jobs

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// field is one field of a struct as its tags describe it: what the decoder, the encoder and the schema go by.
type field struct {
	name      string
	index     int
	typ       reflect.Type
	required  bool
	omitEmpty bool
	fallback  *string // the default
	enum      []string
	format    string
	min, max  string // empty: none
	minLen    int
	maxLen    int // 0: none
	minItems  int
	maxItems  int // 0: none
	only      *condition
	doc       string
	example   string
}

// condition limits a field to certain values of another field of the same struct.
type condition struct {
	field  string
	values []string
}

var durationType = reflect.TypeFor[time.Duration]()

// knownFields are the results of readFields by type: a scheduler that starts decodes every stored spec.
var knownFields sync.Map

// fields describes the fields of a struct type. The answer is shared and must not be changed.
func fields(t reflect.Type) []field {
	if known, ok := knownFields.Load(t); ok {
		return known.([]field)
	}
	all := readFields(t)
	knownFields.Store(t, all)
	return all
}

// readFields reads the tags of a struct type; fields without a json tag are not part of the spec.
func readFields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		f := field{
			name:      name,
			index:     i,
			typ:       sf.Type,
			required:  sf.Tag.Get("required") == "true",
			omitEmpty: options == "omitempty",
			format:    sf.Tag.Get("format"),
			min:       sf.Tag.Get("min"),
			max:       sf.Tag.Get("max"),
			minLen:    numberTag(sf, "minlen"),
			maxLen:    numberTag(sf, "maxlen"),
			minItems:  numberTag(sf, "minitems"),
			maxItems:  numberTag(sf, "maxitems"),
			doc:       sf.Tag.Get("doc"),
			example:   sf.Tag.Get("example"),
		}
		if text, ok := sf.Tag.Lookup("default"); ok {
			f.fallback = &text
		}
		if text := sf.Tag.Get("enum"); text != "" {
			f.enum = strings.Split(text, ",")
		}
		if other, values, ok := strings.Cut(sf.Tag.Get("only"), "="); ok {
			f.only = &condition{field: other, values: strings.Split(values, "|")}
		}
		if f.typ == durationType {
			f.format = "duration"
		}
		all = append(all, f)
	}
	return all
}

func numberTag(sf reflect.StructField, name string) int {
	text := sf.Tag.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(fmt.Sprintf("field %s: tag %s: %v", sf.Name, name, err))
	}
	return n
}

// applies says whether the field exists, given the struct's other fields.
func (f *field) applies(all []field, v reflect.Value) bool {
	if f.only == nil {
		return true
	}
	i := slices.IndexFunc(all, func(o field) bool { return o.name == f.only.field })
	return slices.Contains(f.only.values, v.Field(all[i].index).String())
}

// element is the field as it holds for each element of its slice.
func (f *field) element() *field {
	e := *f
	e.typ, e.minItems, e.maxItems = f.typ.Elem(), 0, 0
	return &e
}
