package aggregate

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemill/tidemill/jobs"
)

// Functions of a [Measure].
const (
	Count          = "count"           // rows in which the argument is not null; of all rows with "*". BIGINT
	Sum            = "sum"             // DECIMAL(38,0) of integers, DECIMAL of decimals, DOUBLE of doubles
	Min            = "min"             // the argument's type
	Max            = "max"             // the argument's type
	Avg            = "avg"             // DOUBLE, divided once from the exact sum and count
	ApproxDistinct = "approx_distinct" // HLL; BIGINT
	ApproxQuantile = "approx_quantile" // KLL; DOUBLE
)

// Functions are the names of all functions.
func Functions() []string {
	return []string{Count, Sum, Min, Max, Avg, ApproxDistinct, ApproxQuantile}
}

// AllRows is the argument of [Count] that counts rows.
const AllRows = "*"

// Measure is one result column.
type Measure struct {
	Name string
	Func string
	Expr string  // scalar SQL, often just a column; AllRows for a count of rows
	Q    float64 // ApproxQuantile: 0..1
}

// Rows says whether the measure counts rows, so that Expr is no expression.
func (m Measure) Rows() bool { return m.Func == Count && m.Expr == AllRows }

// Measures are in the order of the spec, where they are an object: {"p95": {"approx_quantile": "delay", "q": 0.95}}.
type Measures []Measure

const (
	maxMeasures = 256
	maxSQL      = 10000 // characters
	rankField   = "q"
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

// decodeMeasure reads one function with its argument.
func decodeMeasure(d *jobs.Decoder, name string) Measure {
	m := Measure{Name: name}
	given, ok := d.Fields()
	if !ok {
		return m
	}
	if most := len(Functions()) + 1; len(given) > most {
		d.Problem("a measure has one function, got %d fields", len(given))
		return m
	}
	var functions, unknown []string
	for _, field := range given {
		switch {
		case slices.Contains(Functions(), field):
			functions = append(functions, field)
		case field != rankField:
			unknown = append(unknown, field)
		}
	}
	for _, field := range unknown {
		d.At(field).Unknown("function", field, Functions())
	}
	switch {
	case len(functions) > 1:
		d.Problem("a measure has one function, got %d: %s", len(functions), strings.Join(functions, ", "))
		return m
	case len(functions) == 0 && len(unknown) == 0:
		d.Problem("the measure has no function; functions are %s", strings.Join(Functions(), ", "))
		return m
	case len(functions) == 0:
		return m
	}
	m.Func = functions[0]
	m.Expr = decodeArgument(d.At(m.Func), m.Func)
	m.Q = decodeRank(d.At(rankField), m.Func)
	return m
}

func decodeArgument(d *jobs.Decoder, function string) string {
	text, ok := d.String()
	switch {
	case !ok:
	case strings.TrimSpace(text) == "":
		d.Problem("the expression is empty")
	case utf8.RuneCountInString(text) > maxSQL:
		d.Problem("want at most %d characters, got %d", maxSQL, utf8.RuneCountInString(text))
	case strings.TrimSpace(text) == AllRows && function != Count:
		d.Problem("only count takes \"*\"; %s wants a column or an expression", function)
	case strings.TrimSpace(text) == AllRows:
		return AllRows
	}
	return text
}

// decodeRank reads q, which belongs to approx_quantile alone.
func decodeRank(d *jobs.Decoder, function string) float64 {
	switch {
	case function != ApproxQuantile && d.Present():
		d.Problem("field %q is only for %s", rankField, ApproxQuantile)
		return 0
	case function != ApproxQuantile:
		return 0
	}
	q, ok := d.Number()
	if ok && (q < 0 || q > 1) {
		d.Problem("want a number from 0 to 1, such as 0.95")
	}
	return q
}

// Schema describes the object: one alternative for each function.
func (Measures) Schema() map[string]any {
	text := map[string]any{"type": "string", "minLength": 1, "maxLength": maxSQL, "pattern": `\S`}
	var alternatives []any
	for _, function := range Functions() {
		properties := map[string]any{function: text}
		required := []any{function}
		if function == ApproxQuantile {
			properties[rankField] = map[string]any{"type": "number", "minimum": 0, "maximum": 1}
			required = append(required, rankField)
		}
		if function != Count {
			properties[function] = map[string]any{"allOf": []any{text, map[string]any{"pattern": `[^*\s]`}}}
		}
		alternatives = append(alternatives, map[string]any{
			"type": "object", "properties": properties, "required": required, "additionalProperties": false,
		})
	}
	return map[string]any{
		"type":                 "object",
		"maxProperties":        maxMeasures,
		"propertyNames":        columnNameSchema(),
		"additionalProperties": map[string]any{"oneOf": alternatives},
		"examples": []any{map[string]any{
			"flights": map[string]any{Count: AllRows},
			"p95":     map[string]any{ApproxQuantile: "dep_delay", rankField: 0.95},
		}},
	}
}

// Choices are the functions.
func (Measures) Choices() []string { return Functions() }

// Chosen are the functions of the measures.
func (m Measures) Chosen(use func(choice string, path ...string)) {
	for _, measure := range m {
		use(measure.Func, measure.Name, measure.Func)
	}
}

// MarshalJSON writes the object in the order of the measures.
func (m Measures) MarshalJSON() ([]byte, error) {
	return marshalObject(len(m), func(i int) (string, any) {
		if m[i].Func == ApproxQuantile {
			return m[i].Name, map[string]any{m[i].Func: m[i].Expr, rankField: m[i].Q}
		}
		return m[i].Name, map[string]any{m[i].Func: m[i].Expr}
	})
}

// marshalObject writes a JSON object of n fields in order.
func marshalObject(n int, field func(i int) (name string, value any)) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	b.WriteByte('{')
	for i := range n {
		name, value := field(i)
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encoder.Encode(name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encoder.Encode(value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
