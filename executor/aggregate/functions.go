package aggregate

import (
	"encoding/json"
	"strconv"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs/sketch"
)

// functions are those that the SQL of sketches calls. Sketches of no values are NULL until somebody asks them.
func functions() []engine.Function {
	all := hashFunctions()
	all = append(all, distinctFunctions()...)
	all = append(all, thetaFunctions()...)
	all = append(all, quantileFunctions()...)
	all = append(all, frequentFunctions()...)
	return append(all, filterFunctions()...)
}

// hashFunctions hash values of each type for each kind of sketch.
func hashFunctions() []engine.Function {
	var all []engine.Function
	for suffix, parameter := range map[string]engine.Type{"long": engine.BigInt, "double": engine.Double, "text": engine.Varchar} {
		hashing := func(name string, result engine.Type, set func(out engine.Vector, i int, value []byte)) {
			all = append(all, engine.Function{
				Name: "tidemill_" + name + "_" + suffix, Parameters: []engine.Type{parameter}, Result: result,
				Call: func(rows int, in []engine.Vector, out engine.Vector) error {
					value := valueBytes(in[0], parameter)
					for i := range rows {
						if in[0].Null(i) {
							out.SetNull(i)
						} else {
							set(out, i, value(i))
						}
					}
					return nil
				},
			})
		}
		hashing("coupon", engine.UInteger, func(out engine.Vector, i int, value []byte) { out.Uint32s()[i] = sketch.HashOf(value).Coupon() })
		hashing("theta", engine.UBigInt, func(out engine.Vector, i int, value []byte) { out.Uint64s()[i] = sketch.HashOf(value).Theta() })
		hashing("bloom", engine.UHugeInt, func(out engine.Vector, i int, value []byte) { out.Uint128s()[i] = sketch.FilterHashOf(value) })
	}
	return all
}

// valueBytes gives the bytes of a vector's values as sketches hash them.
func valueBytes(v engine.Vector, kind engine.Type) func(i int) []byte {
	buffer := new([8]byte)
	switch kind {
	case engine.BigInt:
		return func(i int) []byte { return sketch.Long(v.Int64s()[i], buffer) }
	case engine.Double:
		return func(i int) []byte { return sketch.Double(v.Float64s()[i], buffer) }
	}
	return func(i int) []byte { return sketch.Text(v.Bytes(i)) }
}

// ofList is a function of a list, and of numbers behind it, that gives bytes, or NULL of NULL.
func ofList(name string, list engine.Type, numbers []engine.Type, call func(elements engine.Vector, from, to int, row int, in []engine.Vector) ([]byte, error)) engine.Function {
	return engine.Function{
		Name: name, Parameters: append([]engine.Type{list}, numbers...), Result: engine.Blob,
		Call: func(rows int, in []engine.Vector, out engine.Vector) error {
			elements := in[0].Elements()
			for i := range rows {
				if in[0].Null(i) {
					out.SetNull(i)
					continue
				}
				from, to := in[0].List(i)
				data, err := call(elements, from, to, i, in)
				if err != nil {
					return err
				}
				out.SetBytes(i, data)
			}
			return nil
		},
	}
}

// merging is a function of a list of sketches.
func merging[S interface{ Merge(data []byte) error }](name string, numbers []engine.Type, begin func(row int, in []engine.Vector) (S, error), bytes func(S) ([]byte, error)) engine.Function {
	return ofList(name, engine.Blobs, numbers, func(elements engine.Vector, from, to, row int, in []engine.Vector) ([]byte, error) {
		if to == from+1 {
			return elements.Bytes(from), nil
		}
		s, err := begin(row, in)
		if err != nil {
			return nil, err
		}
		for k := from; k < to; k++ {
			if err := s.Merge(elements.Bytes(k)); err != nil {
				return nil, err
			}
		}
		return bytes(s)
	})
}

// asking is a function of a sketch, which is empty if it is NULL.
func asking[S interface{ Merge(data []byte) error }](name string, numbers []engine.Type, result engine.Type, begin func(row int, in []engine.Vector) (S, error), answer func(s S, row int, in []engine.Vector, out engine.Vector) error) engine.Function {
	return engine.Function{
		Name: name, Parameters: append([]engine.Type{engine.Blob}, numbers...), Result: result,
		Call: func(rows int, in []engine.Vector, out engine.Vector) error {
			for i := range rows {
				s, err := begin(i, in)
				if err != nil {
					return err
				}
				if !in[0].Null(i) {
					if err := s.Merge(in[0].Bytes(i)); err != nil {
						return err
					}
				}
				if err := answer(s, i, in, out); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func distinctFunctions() []engine.Function {
	begin := func(int, []engine.Vector) (*sketch.Distinct, error) { return &sketch.Distinct{}, nil }
	return []engine.Function{
		ofList("tidemill_hll", engine.UIntegers, nil, func(elements engine.Vector, from, to, _ int, _ []engine.Vector) ([]byte, error) {
			var d sketch.Distinct
			d.Add(elements.Uint32s()[from:to])
			return d.Bytes(), nil
		}),
		merging("tidemill_hll_merge", nil, begin, func(d *sketch.Distinct) ([]byte, error) { return d.Bytes(), nil }),
		asking("tidemill_hll_estimate", nil, engine.BigInt, begin, func(d *sketch.Distinct, i int, _ []engine.Vector, out engine.Vector) (err error) {
			out.Int64s()[i], err = d.Estimate()
			return err
		}),
		asking("tidemill_hll_sketch", nil, engine.Blob, begin, func(d *sketch.Distinct, i int, _ []engine.Vector, out engine.Vector) error {
			data, err := d.Published()
			out.SetBytes(i, data)
			return err
		}),
	}
}

func thetaFunctions() []engine.Function {
	begin := func(int, []engine.Vector) (*sketch.Theta, error) { return &sketch.Theta{}, nil }
	return []engine.Function{
		ofList("tidemill_theta", engine.UBigInts, nil, func(elements engine.Vector, from, to, _ int, _ []engine.Vector) ([]byte, error) {
			var t sketch.Theta
			t.Add(elements.Uint64s()[from:to])
			return t.Bytes(), nil
		}),
		merging("tidemill_theta_merge", nil, begin, func(t *sketch.Theta) ([]byte, error) { return t.Bytes(), nil }),
		asking("tidemill_theta_estimate", nil, engine.BigInt, begin, func(t *sketch.Theta, i int, _ []engine.Vector, out engine.Vector) error {
			out.Int64s()[i] = t.Estimate()
			return nil
		}),
		asking("tidemill_theta_sketch", nil, engine.Blob, begin, func(t *sketch.Theta, i int, _ []engine.Vector, out engine.Vector) error {
			out.SetBytes(i, t.Bytes())
			return nil
		}),
	}
}

func quantileFunctions() []engine.Function {
	begin := func(int, []engine.Vector) (*sketch.Quantiles, error) { return sketch.NewQuantiles() }
	return []engine.Function{
		ofList("tidemill_kll", engine.Doubles, nil, func(elements engine.Vector, from, to, _ int, _ []engine.Vector) ([]byte, error) {
			q, err := sketch.NewQuantiles()
			if err != nil {
				return nil, err
			}
			q.Add(elements.Float64s()[from:to])
			return q.Bytes()
		}),
		merging("tidemill_kll_merge", nil, begin, (*sketch.Quantiles).Bytes),
		asking("tidemill_kll_quantile", []engine.Type{engine.Double}, engine.Double, begin, func(q *sketch.Quantiles, i int, in []engine.Vector, out engine.Vector) error {
			value, ok, err := q.At(in[1].Float64s()[i])
			if out.Float64s()[i] = value; !ok {
				out.SetNull(i)
			}
			return err
		}),
		asking("tidemill_kll_sketch", nil, engine.Blob, begin, func(q *sketch.Quantiles, i int, _ []engine.Vector, out engine.Vector) error {
			data, err := q.Bytes()
			out.SetBytes(i, data)
			return err
		}),
	}
}

func frequentFunctions() []engine.Function {
	// Behind what they are of, these take k, and most whether items are longs.
	numbers := []engine.Type{engine.BigInt, engine.BigInt}
	begin := func(i int, in []engine.Vector) (*sketch.Frequent, error) {
		return sketch.NewFrequent(int(in[1].Int64s()[i]), in[2].Int64s()[i] != 0)
	}
	counting := func(name string, list engine.Type, longs bool, add func(f *sketch.Frequent, elements engine.Vector, k int, times int64) error) engine.Function {
		return ofList(name, list, []engine.Type{engine.BigInts, engine.BigInt}, func(elements engine.Vector, from, to, row int, in []engine.Vector) ([]byte, error) {
			f, err := sketch.NewFrequent(int(in[2].Int64s()[row]), longs)
			if err != nil {
				return nil, err
			}
			counts, _ := in[1].List(row)
			times := in[1].Elements().Int64s()[counts:]
			for k := from; k < to; k++ {
				if err := add(f, elements, k, times[k-from]); err != nil {
					return nil, err
				}
			}
			return f.Bytes()
		})
	}
	return []engine.Function{
		counting("tidemill_top_long", engine.BigInts, true, func(f *sketch.Frequent, elements engine.Vector, k int, times int64) error {
			return f.AddLong(elements.Int64s()[k], times)
		}),
		counting("tidemill_top_text", engine.Varchars, false, func(f *sketch.Frequent, elements engine.Vector, k int, times int64) error {
			return f.AddText(string(elements.Bytes(k)), times)
		}),
		merging("tidemill_top_merge", numbers, begin, (*sketch.Frequent).Bytes),
		asking("tidemill_top", numbers, engine.Varchar, begin, func(f *sketch.Frequent, i int, in []engine.Vector, out engine.Vector) error {
			text, err := top(f, int(in[1].Int64s()[i]))
			out.SetBytes(i, text)
			return err
		}),
		asking("tidemill_top_sketch", numbers, engine.Blob, begin, func(f *sketch.Frequent, i int, _ []engine.Vector, out engine.Vector) error {
			data, err := f.Bytes()
			out.SetBytes(i, data)
			return err
		}),
	}
}

// top is the k most frequent items as JSON.
func top(f *sketch.Frequent, k int) ([]byte, error) {
	type row struct {
		Value string `json:"value"`
		Count int64  `json:"count"`
	}
	items, err := f.Top(k)
	if err != nil {
		return nil, err
	}
	rows := make([]row, len(items))
	for i, item := range items {
		if rows[i] = (row{item.Text, item.Count}); f.Longs() {
			rows[i].Value = strconv.FormatInt(item.Long, 10)
		}
	}
	return json.Marshal(rows)
}

func filterFunctions() []engine.Function {
	accuracy := []engine.Type{engine.BigInt, engine.Double}
	begin := func(i int, in []engine.Vector) (*sketch.Filter, error) {
		return sketch.NewFilter(in[1].Int64s()[i], in[2].Float64s()[i]), nil
	}
	return []engine.Function{
		ofList("tidemill_bloom", engine.UHugeInts, accuracy, func(elements engine.Vector, from, to, row int, in []engine.Vector) ([]byte, error) {
			f, err := begin(row, in)
			if err != nil {
				return nil, err
			}
			f.Add(elements.Uint128s()[from:to])
			return f.Bytes(), nil
		}),
		asking("tidemill_bloom_sketch", accuracy, engine.Blob, begin, func(f *sketch.Filter, i int, _ []engine.Vector, out engine.Vector) error {
			out.SetBytes(i, f.Published())
			return nil
		}),
	}
}
