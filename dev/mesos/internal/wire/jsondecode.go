package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/gogo/protobuf/proto"
)

// SyntaxError says that a body is no JSON; its text is that of Mesos.
type SyntaxError struct{ message string }

func (e *SyntaxError) Error() string { return e.message }

// UnmarshalJSON reads a message out of JSON as Mesos does: unknown fields are
// skipped, unknown enum names count as unset, and what is required must be there.
// The error is a *SyntaxError when the body is no JSON at all; otherwise it names
// the fields that are missing or wrong.
func UnmarshalJSON(body []byte, m proto.Message) error {
	tree, err := parseJSON(body)
	if err != nil {
		return err
	}
	object, ok := tree.(map[string]any)
	if !ok {
		//lint:ignore ST1005 Mesos' own words
		return errors.New("Expecting a JSON object")
	}
	d := decoder{}
	v := reflect.ValueOf(m).Elem()
	d.message(v, object, "")
	if len(d.wrong) > 0 {
		return errors.New(d.wrong[0])
	}
	if len(d.missing) > 0 {
		//lint:ignore ST1005 Mesos' own words
		return fmt.Errorf("Missing required fields: %s", strings.Join(d.missing, ", "))
	}
	return nil
}

func parseJSON(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, syntaxError(body, err)
	}
	rest := body[dec.InputOffset():]
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &SyntaxError{"Parsed JSON included non-whitespace trailing characters: " + string(rest)}
	}
	return tree, nil
}

// syntaxError words an error like the parser of Mesos, which names the line and
// shows what stands from the offending byte to the end of that line.
func syntaxError(body []byte, err error) error {
	at := len(body)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset > 0 && int(syntax.Offset) <= len(body) {
		at = int(syntax.Offset) - 1
	}
	near := body[at:]
	if end := bytes.IndexByte(near, '\n'); end >= 0 {
		near = near[:end]
	}
	line := 1 + bytes.Count(body[:at], []byte{'\n'})
	return &SyntaxError{fmt.Sprintf("syntax error at line %d near: %s", line, near)}
}

// decoder gathers what is wrong with a message instead of stopping at the first
// missing field: Mesos lists all of them.
type decoder struct {
	missing, wrong []string
}

func (d *decoder) fail(path, format string, args ...any) {
	d.wrong = append(d.wrong, fmt.Sprintf(format, args...)+" for field '"+path+"'")
}

func (d *decoder) message(v reflect.Value, object map[string]any, path string) {
	for _, f := range fieldsOf(v.Type()) {
		fieldPath := f.name
		if path != "" {
			fieldPath = path + "." + f.name
		}
		value, given := object[f.name]
		set := given && value != nil && d.set(v.Field(f.index), f, value, fieldPath)
		if f.required && !set {
			d.missing = append(d.missing, fieldPath)
		}
	}
}

// set stores a value and reports whether the field is now set; an enum name that
// nobody knows leaves it unset.
func (d *decoder) set(v reflect.Value, f field, value any, path string) bool {
	switch v.Kind() {
	case reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		if !d.set(target.Elem(), f, value, path) {
			return false
		}
		v.Set(target)
	case reflect.Struct:
		object, ok := value.(map[string]any)
		if !ok {
			d.fail(path, "Expecting a JSON object")
			return true
		}
		d.message(v, object, path)
	case reflect.Map:
		return d.setMap(v, f, value, path)
	case reflect.Slice:
		if isBytes(v.Type()) {
			return d.setBytes(v, value, path)
		}
		return d.setList(v, f, value, path)
	case reflect.String:
		s, ok := value.(string)
		if !ok {
			d.fail(path, "Expecting a JSON string")
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			d.fail(path, "Expecting a JSON boolean")
		}
		v.SetBool(b)
	default:
		if f.enum != "" {
			return d.setEnum(v, f, value, path)
		}
		d.setNumber(v, value, path)
	}
	return true
}

func (d *decoder) setMap(v reflect.Value, f field, value any, path string) bool {
	object, ok := value.(map[string]any)
	if !ok {
		d.fail(path, "Expecting a JSON object")
		return true
	}
	m := reflect.MakeMapWithSize(v.Type(), len(object))
	for key, item := range object {
		element := reflect.New(v.Type().Elem()).Elem()
		if item != nil && d.set(element, f, item, path+"."+key) {
			m.SetMapIndex(reflect.ValueOf(key), element)
		}
	}
	v.Set(m)
	return true
}

func (d *decoder) setList(v reflect.Value, f field, value any, path string) bool {
	list, ok := value.([]any)
	if !ok {
		d.fail(path, "Expecting a JSON array")
		return true
	}
	out := reflect.MakeSlice(v.Type(), 0, len(list))
	for i, item := range list {
		element := reflect.New(v.Type().Elem()).Elem()
		if item == nil {
			d.fail(path, "Not expecting a JSON null")
			continue
		}
		if d.set(element, f, item, path+"["+strconv.Itoa(i)+"]") {
			out = reflect.Append(out, element)
		}
	}
	v.Set(out)
	return true
}

func (d *decoder) setBytes(v reflect.Value, value any, path string) bool {
	s, ok := value.(string)
	if !ok {
		d.fail(path, "Expecting a JSON string")
		return true
	}
	decoded, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		d.fail(path, "Failed to base64 decode bytes (%v)", err)
		return true
	}
	if decoded == nil {
		decoded = []byte{}
	}
	v.SetBytes(decoded)
	return true
}

func (d *decoder) setEnum(v reflect.Value, f field, value any, path string) bool {
	switch value := value.(type) {
	case string:
		number, known := enumNumber(f.enum, value)
		if !known {
			return false
		}
		v.SetInt(int64(number))
	case json.Number:
		number, err := strconv.ParseInt(value.String(), 10, 32)
		if err != nil {
			d.fail(path, "Expecting an enum")
		}
		v.SetInt(number)
	default:
		d.fail(path, "Expecting an enum")
	}
	return true
}

// setNumber takes 4 and 4.0 for an integer alike, and numbers in strings, as the
// JSON form of protobuf does.
func (d *decoder) setNumber(v reflect.Value, value any, path string) {
	text := ""
	switch value := value.(type) {
	case json.Number:
		text = value.String()
	case string:
		text = value
	default:
		d.fail(path, "Expecting a JSON number")
		return
	}
	var err error
	switch v.Kind() {
	case reflect.Float64, reflect.Float32:
		var x float64
		if x, err = strconv.ParseFloat(text, 64); err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
			err = strconv.ErrRange
		}
		v.SetFloat(x)
	case reflect.Int32, reflect.Int64:
		var n int64
		if n, err = strconv.ParseInt(wholeNumber(text), 10, v.Type().Bits()); err == nil {
			v.SetInt(n)
		}
	case reflect.Uint32, reflect.Uint64:
		var n uint64
		if n, err = strconv.ParseUint(wholeNumber(text), 10, v.Type().Bits()); err == nil {
			v.SetUint(n)
		}
	default:
		panic(fmt.Sprintf("wire: no JSON form for %s", v.Type()))
	}
	if err != nil {
		d.fail(path, "Expecting a number of type %s, not %q", v.Kind(), text)
	}
}

func wholeNumber(text string) string {
	whole, fraction, found := strings.Cut(text, ".")
	if found && strings.Trim(fraction, "0") == "" {
		return whole
	}
	return text
}
