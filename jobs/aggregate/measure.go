package aggregate

import (
	"bytes"
	"encoding/json"
)

// AllRows is the argument of [Count] that counts rows.
const AllRows = "*"

// Measure is one result column.
type Measure struct {
	Name   string
	Func   string
	Expr   string  // scalar SQL, often just a column; AllRows for a count of rows
	Where  string  // scalar SQL: only rows for which it is true; empty: all rows
	By     string  // ArgMin, ArgMax: scalar SQL
	Q      float64 // Quantile, ApproxQuantile: 0..1; Median: 0.5
	K      int     // ApproxTopK: so many values
	Sketch bool    // the column holds the sketch's bytes, not what it estimates; always so for Membership

	Expected      int64   // Membership: so many different values
	FalsePositive float64 // Membership: the share of other values that are taken for members once there are so many
}

// Rows says whether the measure counts rows, so that Expr is no expression.
func (m Measure) Rows() bool { return m.Func == Count && m.Expr == AllRows }

// Measures are in the order of the spec, where they are an object: {"p95": {"approx_quantile": "delay", "q": 0.95}}.
type Measures []Measure

// Choices are the functions, and the fields that came after the first executors.
func (Measures) Choices() []string { return append(Functions(), fieldAs, fieldWhere) }

// Chosen are those of the measures.
func (m Measures) Chosen(use func(choice string, path ...string)) {
	for _, measure := range m {
		use(measure.Func, measure.Name, measure.Func)
		if measure.Where != "" {
			use(fieldWhere, measure.Name, fieldWhere)
		}
		if measure.Sketch && measure.Func != Membership {
			use(fieldAs, measure.Name, fieldAs)
		}
	}
}

// MarshalJSON writes the object in the order of the measures.
func (m Measures) MarshalJSON() ([]byte, error) {
	return marshalObject(len(m), func(i int) (string, any) { return m[i].Name, m[i].fields() })
}

// fields are the measure as it stands in the spec.
func (m Measure) fields() map[string]any {
	fields := map[string]any{m.Func: m.Expr}
	if m.Where != "" {
		fields[fieldWhere] = m.Where
	}
	switch m.Func {
	case ArgMin, ArgMax:
		fields[fieldBy] = m.By
	case Quantile:
		fields[fieldQ] = m.Q
	case ApproxQuantile:
		if !m.Sketch {
			fields[fieldQ] = m.Q
		}
	case ApproxTopK:
		fields[fieldK] = m.K
	case Membership:
		fields[fieldExpected] = m.Expected
		fields[fieldFalsePositive] = m.FalsePositive
	}
	if m.Sketch && m.Func != Membership {
		fields[fieldAs] = asSketch
	}
	return fields
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
