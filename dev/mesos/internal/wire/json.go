package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/gogo/protobuf/proto"
)

// enumsBeyond holds enum names of current Mesos masters that mesos-go v0.0.11
// has not heard of, by the enum's full name.
var enumsBeyond = map[string]map[int32]string{
	"mesos.MasterInfo_Capability_Type": {3: "QUOTA_V2"},
}

// field is one field of a message, read from its struct tags once.
type field struct {
	index    int
	name     string
	required bool
	enum     string
}

var fieldsByType sync.Map // reflect.Type → []field

func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldsByType.Load(t); ok {
		return cached.([]field)
	}
	var fields []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("protobuf")
		if tag == "" {
			continue
		}
		f := field{index: i}
		for _, part := range strings.Split(tag, ",") {
			switch {
			case part == "req":
				f.required = true
			case strings.HasPrefix(part, "name="):
				f.name = part[len("name="):]
			case strings.HasPrefix(part, "enum="):
				f.enum = part[len("enum="):]
			}
		}
		fields = append(fields, f)
	}
	fieldsByType.Store(t, fields)
	return fields
}

// MarshalJSON gives the message as Mesos would write it. It does not fail for
// mesos-go's messages; a type that no such message holds makes it panic.
func MarshalJSON(m proto.Message) []byte {
	return appendValue(nil, reflect.ValueOf(m), field{})
}

func appendMessage(b []byte, v reflect.Value) []byte {
	b = append(b, '{')
	first := true
	for _, f := range fieldsOf(v.Type()) {
		fv := v.Field(f.index)
		if !present(fv, f) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = strconv.AppendQuote(b, f.name)
		b = append(b, ':')
		b = appendValue(b, fv, f)
	}
	return append(b, '}')
}

// present says whether Mesos would write the field: optional fields that hold
// nothing, and empty lists, are left out.
func present(v reflect.Value, f field) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return !v.IsNil() && (v.Kind() == reflect.Pointer || v.Len() > 0 || isBytes(v.Type()))
	case reflect.Struct:
		return true
	default:
		return f.required || !v.IsZero()
	}
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

func appendValue(b []byte, v reflect.Value, f field) []byte {
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(b, v.Elem(), f)
	case reflect.Struct:
		return appendMessage(b, v)
	case reflect.Slice:
		if isBytes(v.Type()) {
			b = append(b, '"')
			b = base64.StdEncoding.AppendEncode(b, v.Bytes())
			return append(b, '"')
		}
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, v.Index(i), f)
		}
		return append(b, ']')
	case reflect.Map:
		return appendMap(b, v, f)
	case reflect.String:
		return appendString(b, v.String())
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case reflect.Float64, reflect.Float32:
		return appendFloat(b, v.Float())
	case reflect.Int32, reflect.Int64:
		if f.enum != "" {
			return strconv.AppendQuote(b, enumName(f.enum, v))
		}
		return strconv.AppendInt(b, v.Int(), 10)
	case reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(b, v.Uint(), 10)
	}
	panic(fmt.Sprintf("wire: no JSON form for %s", v.Type()))
}

func appendMap(b []byte, v reflect.Value, f field) []byte {
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, key.String())
		b = append(b, ':')
		b = appendValue(b, v.MapIndex(key), f)
	}
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // strings always have a JSON form
		panic(err)
	}
	return append(b, quoted...)
}

// appendFloat writes whole numbers as Mesos does, with ".0".
func appendFloat(b []byte, x float64) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, x, 'g', -1, 64)
	if strings.Trim(string(b[start:]), "-0123456789") == "" {
		b = append(b, ".0"...)
	}
	return b
}

func enumName(enum string, v reflect.Value) string {
	if name, ok := enumsBeyond[enum][int32(v.Int())]; ok {
		return name
	}
	return v.Interface().(fmt.Stringer).String()
}

// enumNumber finds the number of an enum's name; false for a name that neither
// mesos-go nor enumsBeyond knows.
func enumNumber(enum, name string) (int32, bool) {
	if n, ok := proto.EnumValueMap(enum)[name]; ok {
		return n, true
	}
	for n, beyond := range enumsBeyond[enum] {
		if beyond == name {
			return n, true
		}
	}
	return 0, false
}
