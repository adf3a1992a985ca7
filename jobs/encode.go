package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// MarshalJSON writes the spec with its defaults, as [Decode] would read it: fields in the order of the struct, sizes and
// durations as text. The section is written from the tags of its struct.
func (s Spec) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := encodeStruct(&b, reflect.ValueOf(s)); err != nil {
		return nil, fmt.Errorf("encode spec of job %q: %w", s.Name, err)
	}
	if s.Section == nil {
		return b.Bytes(), nil
	}
	b.Truncate(b.Len() - 1) // the brace at the end; the section follows
	fmt.Fprintf(&b, ",%q:", s.Kind)
	if err := encodeValue(&b, reflect.Indirect(reflect.ValueOf(s.Section)), &field{}); err != nil {
		return nil, fmt.Errorf("encode spec of job %q: %w", s.Name, err)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Equal says whether two decoded specs say the same: the order of fields, spaces, the spelling of sizes and durations
// and defaults that were spelled out make no difference. The order of a section's measures does: it is the order of the
// result's columns.
func Equal(a, b *Spec) bool {
	x, errX := a.MarshalJSON()
	y, errY := b.MarshalJSON()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func encodeStruct(b *bytes.Buffer, v reflect.Value) error {
	all := fields(v.Type())
	b.WriteByte('{')
	for i := range all {
		f, value := &all[i], v.Field(all[i].index)
		if f.omitEmpty && value.IsZero() || !f.applies(all, v) {
			continue
		}
		if last := b.Bytes()[b.Len()-1]; last != '{' {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, "%q:", f.name)
		if err := encodeValue(b, value, f); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func encodeValue(b *bytes.Buffer, v reflect.Value, f *field) error {
	_, shaped := reflect.New(v.Type()).Interface().(Shape)
	switch {
	case shaped:
		return encodePlain(b, v.Interface())
	case f.format == "size":
		return encodePlain(b, FormatSize(v.Int()))
	case f.format == "duration":
		return encodePlain(b, FormatDuration(time.Duration(v.Int())))
	case v.Kind() == reflect.Struct:
		return encodeStruct(b, v)
	case v.Kind() == reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encodeValue(b, v.Index(i), f.element()); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	default:
		return encodePlain(b, v.Interface())
	}
}

// encodePlain writes a value that encoding/json writes as a spec has it, without escaping < > & for HTML.
func encodePlain(b *bytes.Buffer, value any) error {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // Encode ends with a line break
	return nil
}
