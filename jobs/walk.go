package jobs

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// object reads the value into the struct v. Beside the struct's fields, also names fields that the caller reads itself.
func (d *Decoder) object(v reflect.Value, also []string) {
	known := fields(v.Type())
	names := make([]string, 0, len(known)+len(also))
	for _, f := range known {
		names = append(names, f.name)
	}
	names = append(names, also...)
	for _, f := range known {
		f.setDefault(v.Field(f.index))
	}
	if !d.want('{') {
		return
	}
	for _, c := range d.node.children {
		i := slices.IndexFunc(known, func(f field) bool { return f.name == c.name })
		switch {
		case i >= 0:
			d.child(c).value(v.Field(known[i].index), &known[i])
		case !slices.Contains(also, c.name):
			d.child(c).Unknown("field", c.name, names)
		}
	}
	for _, f := range known {
		d.settle(v, &f, known)
	}
}

// settle checks what a field can only be checked for when all fields of its struct are read.
func (d *Decoder) settle(v reflect.Value, f *field, all []field) {
	at := d.At(f.name)
	switch applies := f.applies(all, v); {
	case !applies:
		v.Field(f.index).SetZero()
		if at.Present() && d.At(f.only.field).Sound() {
			at.Problem("field %q is only for %s %s", f.name, f.only.field, orList(f.only.values))
		}
	case f.required && !at.Present() && (f.only == nil || d.At(f.only.field).Sound()):
		at.missing()
	}
}

// setDefault gives v its default, or the defaults of its fields.
func (f *field) setDefault(v reflect.Value) {
	v.SetZero()
	if f.fallback == nil {
		if v.Kind() == reflect.Struct && !isShape(v) {
			for _, inner := range fields(v.Type()) {
				inner.setDefault(v.Field(inner.index))
			}
		}
		return
	}
	if detail := f.parse(v, *f.fallback); detail != "" {
		panic("default of field " + f.name + ": " + detail)
	}
}

func isShape(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(Shape)
	return ok
}

// value reads the value into v, as f describes it.
func (d *Decoder) value(v reflect.Value, f *field) {
	if shape, ok := v.Addr().Interface().(Shape); ok {
		shape.DecodeSpec(d)
		return
	}
	switch {
	case f.format != "" && v.Kind() == reflect.Int64:
		d.quantity(v, f)
	case v.Kind() == reflect.Struct:
		d.object(v, nil)
	case v.Kind() == reflect.Slice:
		d.array(v, f)
	case v.Kind() == reflect.String:
		if text, ok := d.String(); ok {
			d.set(v, f, text)
		}
	case v.Kind() == reflect.Bool:
		if d.node.kind != 't' && d.node.kind != 'f' {
			d.mismatch("true or false")
			return
		}
		v.SetBool(d.node.kind == 't')
	default:
		if d.want('0') {
			d.set(v, f, d.node.text)
		}
	}
}

// quantity reads a size, which may be a number of bytes, or a duration, which may not be a number.
func (d *Decoder) quantity(v reflect.Value, f *field) {
	switch {
	case d.node.kind == '"':
		d.set(v, f, d.node.text)
	case d.node.kind == '0' && f.format == "size":
		n, detail := wholeNumber(d.node.text)
		if detail == "" {
			if detail = f.bounds(float64(n)); detail != "" {
				detail += f.suggestUnit(n)
			}
		}
		if detail != "" {
			d.Problem("%s", detail)
			return
		}
		v.SetInt(n)
	case d.node.kind == '0':
		d.Problem("want a duration with a unit, such as %q, got a number", d.node.text+"s")
	default:
		d.mismatch(map[string]string{"size": `a size such as "512MiB"`, "duration": `a duration such as "90s"`}[f.format])
	}
}

// array reads the value into the slice v. An empty one is nil.
func (d *Decoder) array(v reflect.Value, f *field) {
	if !d.want('[') {
		return
	}
	n := len(d.node.children)
	switch {
	case n < f.minItems:
		d.Problem("want at least %s, got %d", plural(f.minItems, "element"), n)
	case f.maxItems > 0 && n > f.maxItems:
		d.Problem("want at most %s, got %d", plural(f.maxItems, "element"), n)
		return
	}
	if n == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	element := f.element()
	for i := range n {
		d.Index(i).value(v.Index(i), element)
	}
}

// set reads text into v and reports what is wrong with it; v then keeps its default.
func (d *Decoder) set(v reflect.Value, f *field, text string) {
	if detail := f.parse(v, text); detail != "" {
		d.Problem("%s", detail)
	}
}

// parse reads text, a string's content or a number as written, into v. It returns what is wrong with it.
func (f *field) parse(v reflect.Value, text string) (detail string) {
	switch {
	case v.Kind() == reflect.String:
		text, detail = f.text(text)
		if detail == "" {
			v.SetString(text)
		}
	case v.Kind() == reflect.Bool:
		v.SetBool(text == "true")
	case f.format == "size":
		n, detail := ParseSize(text)
		return f.setInt(v, n, detail)
	case f.format == "duration":
		n, detail := ParseDuration(text)
		return f.setInt(v, int64(n), detail)
	case v.Kind() == reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return "the number is too large"
		}
		if detail = f.bounds(x); detail == "" {
			v.SetFloat(x)
		}
	default:
		n, detail := wholeNumber(text)
		return f.setInt(v, n, detail)
	}
	return detail
}

func (f *field) setInt(v reflect.Value, n int64, detail string) string {
	if detail == "" {
		detail = f.bounds(float64(n))
	}
	if detail == "" {
		v.SetInt(n)
	}
	return detail
}

// text checks a string and returns it in its normal form.
func (f *field) text(s string) (normal, detail string) {
	n := utf8.RuneCountInString(s)
	switch {
	case f.enum != nil && !slices.Contains(f.enum, s):
		if suggestion := suggest(s, f.enum); suggestion != "" {
			return "", "want one of " + quoteAll(f.enum) + ", got " + excerpt(s) + "; did you mean " + strconv.Quote(suggestion) + "?"
		}
		return "", "want one of " + quoteAll(f.enum) + ", got " + excerpt(s)
	case n < f.minLen && n == 0:
		return "", "the text is empty"
	case n < f.minLen:
		return "", "want at least " + plural(f.minLen, "character") + ", got " + strconv.Itoa(n)
	case f.maxLen > 0 && n > f.maxLen:
		return "", "want at most " + plural(f.maxLen, "character") + ", got " + strconv.Itoa(n)
	case f.format != "":
		return formats[f.format].check(s)
	}
	return s, ""
}

// bounds says whether x is too small or too large.
func (f *field) bounds(x float64) (detail string) {
	switch {
	case f.min != "" && x < f.bound(f.min):
		return "want at least " + f.min
	case f.max != "" && x > f.bound(f.max):
		return "want at most " + f.max
	}
	return ""
}

// suggestUnit is the end of a message about a number of bytes that is out of bounds, if a unit was likely forgotten.
func (f *field) suggestUnit(n int64) string {
	for _, unit := range []string{"MiB", "GiB"} {
		text := strconv.FormatInt(n, 10) + unit
		if size, detail := ParseSize(text); n > 0 && detail == "" && f.bounds(float64(size)) == "" {
			return "; a number is in bytes; did you mean " + strconv.Quote(text) + "?"
		}
	}
	return ""
}

// bound is a bound's value; sizes and durations are written as in a spec.
func (f *field) bound(text string) float64 {
	var detail string
	var x float64
	switch f.format {
	case "size":
		var n int64
		n, detail = ParseSize(text)
		x = float64(n)
	case "duration":
		n, problem := ParseDuration(text)
		x, detail = float64(n), problem
	default:
		var err error
		if x, err = strconv.ParseFloat(text, 64); err != nil {
			detail = err.Error()
		}
	}
	if detail != "" {
		panic("bound of field " + f.name + ": " + detail)
	}
	return x
}

// wholeNumber reads a JSON number that has no fraction, however it is written.
func wholeNumber(text string) (n int64, detail string) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, ""
	}
	x, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return 0, "the number is too large"
	case x != math.Trunc(x):
		return 0, fmt.Sprintf("want a whole number, got %.30s", text)
	case math.Abs(x) > 1<<53:
		return 0, "the number is too large"
	}
	return int64(x), ""
}

// plural is a count for people.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// excerpt quotes text for a message, shortened if it is long.
func excerpt(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "…"
	}
	return strconv.Quote(s)
}
