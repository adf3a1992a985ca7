package aggregate

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemill/tidemill/jobs"
)

const (
	maxMeasures = 256
	maxSQL      = 10000 // characters

	maxTopK          = 1000
	maxExpected      = 1_000_000_000
	minFalsePositive = 1e-9
	maxFalsePositive = 0.5
	// maxFilter bounds a Bloom filter, of which a task holds two at a time.
	maxFilter = 32 << 20 // bytes

	defaultFalsePositive = 0.01
)

// DecodeSpec reads the object.
func (m *Measures) DecodeSpec(d *jobs.Decoder) {
	names, ok := d.Fields()
	if !ok {
		return
	}
	if len(names) > maxMeasures {
		d.Problem("want at most %d measures, got %d", maxMeasures, len(names))
		return
	}
	for _, name := range names {
		*m = append(*m, decodeMeasure(d.At(name), name))
	}
}

// decodeMeasure reads one function with its argument and its fields.
func decodeMeasure(d *jobs.Decoder, name string) Measure {
	m := Measure{Name: name}
	given, ok := d.Fields()
	if !ok {
		return m
	}
	if most := len(functions) + len(everyField); len(given) > most {
		d.Problem("a measure has one function, got %d fields", len(given))
		return m
	}
	f, ok := decodeFunction(d, given)
	if !ok {
		return m
	}
	m.Func = f.name
	m.Expr = decodeArgument(d.At(m.Func), m.Func)
	checkFields(d, f, given)
	if at := d.At(fieldWhere); at.Present() {
		m.Where = decodeSQL(at)
	}
	switch m.Func {
	case ArgMin, ArgMax:
		m.By = decodeSQL(d.At(fieldBy))
	case Median:
		m.Q = 0.5
	case Quantile:
		m.Q = decodeRank(d.At(fieldQ))
	case ApproxTopK:
		m.K = int(decodeWhole(d.At(fieldK), maxTopK))
	case Membership:
		m.Sketch = true
		decodeFilter(d, &m)
	}
	if slices.Contains(f.optional, fieldAs) {
		m.Sketch = decodeAs(d.At(fieldAs))
	}
	if m.Func == ApproxQuantile {
		m.Q = decodeApproxRank(d.At(fieldQ), m.Sketch)
	}
	return m
}

// decodeFunction finds the one function.
func decodeFunction(d *jobs.Decoder, given []string) (f function, ok bool) {
	var found, unknown []string
	for _, field := range given {
		switch {
		case slices.Contains(Functions(), field):
			found = append(found, field)
		case !slices.Contains(everyField, field):
			unknown = append(unknown, field)
		}
	}
	if len(found) == 1 {
		return findFunction(found[0])
	}
	for _, field := range unknown {
		d.At(field).Unknown("function", field, Functions())
	}
	switch {
	case len(found) > 1:
		d.Problem("a measure has one function, got %d: %s", len(found), strings.Join(found, ", "))
	case len(unknown) == 0:
		d.Problem("the measure has no function; functions are %s", strings.Join(Functions(), ", "))
	}
	return f, false
}

// checkFields makes sure that the measure has the fields of its function and no others.
func checkFields(d *jobs.Decoder, f function, given []string) {
	for _, field := range given {
		at := d.At(field)
		switch {
		case field == f.name || slices.Contains(f.takes(), field):
		case slices.Contains(everyField, field):
			at.Problem("field %q is only for %s", field, strings.Join(with(field), ", "))
		default:
			at.Unknown("field", field, append(f.takes(), Functions()...))
		}
	}
}

func decodeArgument(d *jobs.Decoder, function string) string {
	text, ok := d.String()
	if ok && strings.TrimSpace(text) == AllRows {
		if function == Count {
			return AllRows
		}
		d.Problem("only count takes \"*\"; %s wants a column or an expression", function)
		return text
	}
	return checkSQL(d, text, ok)
}

func decodeSQL(d *jobs.Decoder) string {
	text, ok := d.String()
	return checkSQL(d, text, ok)
}

func checkSQL(d *jobs.Decoder, text string, ok bool) string {
	switch {
	case !ok:
	case strings.TrimSpace(text) == "":
		d.Problem("the expression is empty")
	case utf8.RuneCountInString(text) > maxSQL:
		d.Problem("want at most %d characters, got %d", maxSQL, utf8.RuneCountInString(text))
	}
	return text
}

func decodeRank(d *jobs.Decoder) float64 {
	q, ok := d.Number()
	if ok && (q < 0 || q > 1) {
		d.Problem("want a number from 0 to 1, such as 0.95")
	}
	return q
}

// decodeApproxRank reads q, which a sketch is asked for only later.
func decodeApproxRank(d *jobs.Decoder, sketch bool) float64 {
	switch {
	case !sketch:
		return decodeRank(d)
	case d.Present():
		d.Problem("field %q is only for estimates: a sketch can be asked for every quantile", fieldQ)
	}
	return 0
}

// decodeAs says whether the sketch itself is wanted.
func decodeAs(d *jobs.Decoder) bool {
	if !d.Present() {
		return false
	}
	text, ok := d.String()
	if ok && text != asEstimate && text != asSketch {
		d.Unknown("form", text, []string{asEstimate, asSketch})
	}
	return text == asSketch
}

// decodeWhole reads a whole number from 1 to most.
func decodeWhole(d *jobs.Decoder, most int64) int64 {
	x, ok := d.Number()
	if !ok {
		return 0
	}
	if x != math.Trunc(x) || x < 1 || x > float64(most) {
		d.Problem("want a whole number from 1 to %d", most)
		return 0
	}
	return int64(x)
}

func decodeFilter(d *jobs.Decoder, m *Measure) {
	m.Expected = decodeWhole(d.At(fieldExpected), maxExpected)
	m.FalsePositive = defaultFalsePositive
	if at := d.At(fieldFalsePositive); at.Present() {
		p, ok := at.Number()
		if ok && (p < minFalsePositive || p > maxFalsePositive) {
			at.Problem("want a share from %g to %g, such as 0.01", minFalsePositive, maxFalsePositive)
			return
		}
		m.FalsePositive = p
	}
	if size := m.filterBytes(); size > maxFilter {
		d.At(fieldExpected).Problem("the filter would have %.0f MiB, and at most %d are allowed: expect fewer values, or accept a larger %s", math.Ceil(size/(1<<20)), maxFilter>>20, fieldFalsePositive)
	}
}

// filterBytes is how large a Bloom filter of that accuracy is.
func (m Measure) filterBytes() float64 {
	return -float64(m.Expected) * math.Log(m.FalsePositive) / (math.Ln2 * math.Ln2) / 8
}

// Schema describes the object: one alternative for each function.
func (Measures) Schema() map[string]any {
	var alternatives []any
	for _, f := range functions {
		alternatives = append(alternatives, f.schema())
	}
	return map[string]any{
		"type":                 "object",
		"maxProperties":        maxMeasures,
		"propertyNames":        columnNameSchema(),
		"additionalProperties": map[string]any{"oneOf": alternatives},
		"examples": []any{map[string]any{
			"flights": map[string]any{Count: AllRows},
			"late":    map[string]any{Count: AllRows, fieldWhere: "dep_delay > 15"},
			"p95":     map[string]any{ApproxQuantile: "dep_delay", fieldQ: 0.95},
			"farthest": map[string]any{
				ArgMax: "dest", fieldBy: "distance",
			},
		}},
	}
}

func (f function) schema() map[string]any {
	text := map[string]any{"type": "string", "minLength": 1, "maxLength": maxSQL, "pattern": `\S`}
	properties := map[string]any{f.name: text}
	if f.name != Count {
		properties[f.name] = map[string]any{"allOf": []any{text, map[string]any{"pattern": `[^*\s]`}}}
	}
	fields := map[string]any{
		fieldWhere:         text,
		fieldBy:            text,
		fieldQ:             map[string]any{"type": "number", "minimum": 0, "maximum": 1},
		fieldK:             map[string]any{"type": "integer", "minimum": 1, "maximum": maxTopK},
		fieldAs:            map[string]any{"enum": []any{asEstimate, asSketch}, "default": asEstimate},
		fieldExpected:      map[string]any{"type": "integer", "minimum": 1, "maximum": maxExpected},
		fieldFalsePositive: map[string]any{"type": "number", "minimum": minFalsePositive, "maximum": maxFalsePositive, "default": defaultFalsePositive},
	}
	for _, field := range f.takes() {
		properties[field] = fields[field]
	}
	required := []any{f.name}
	for _, field := range f.required {
		required = append(required, field)
	}
	object := map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	if f.name == ApproxQuantile { // q, or as: sketch
		object["oneOf"] = []any{
			map[string]any{"required": []any{fieldQ}, "properties": map[string]any{fieldAs: map[string]any{"const": asEstimate}}},
			map[string]any{"required": []any{fieldAs}, "properties": map[string]any{fieldAs: map[string]any{"const": asSketch}, fieldQ: false}},
		}
	}
	return object
}
