package aggregate

import "slices"

// Functions of a [Measure].
const (
	Count         = "count"          // rows in which the argument is not null; of all rows with "*". BIGINT
	Sum           = "sum"            // DECIMAL(38,0) of integers, DECIMAL of decimals, DOUBLE of doubles
	Min           = "min"            // the argument's type
	Max           = "max"            // the argument's type
	Avg           = "avg"            // DOUBLE, divided once from the exact sum and count
	CountDistinct = "count_distinct" // different values; BIGINT
	Median        = "median"         // Quantile with Q 0.5
	Quantile      = "quantile"       // DOUBLE, interpolated between the two values around rank Q
	Stddev        = "stddev"         // of a sample; DOUBLE
	StddevPop     = "stddev_pop"     // of the population; DOUBLE
	Variance      = "variance"       // of a sample; DOUBLE
	VariancePop   = "variance_pop"   // of the population; DOUBLE
	ArgMin        = "arg_min"        // the argument in the row where By is least; the argument's type
	ArgMax        = "arg_max"        // the argument in the row where By is greatest; the argument's type

	ApproxDistinct = "approx_distinct" // HLL; BIGINT
	ApproxQuantile = "approx_quantile" // KLL; DOUBLE
	ApproxTopK     = "approx_top_k"    // frequent items; LIST(STRUCT(value, count)), the most frequent first
	Membership     = "membership"      // Bloom; BLOB
	Theta          = "theta"           // theta; BIGINT
)

// Fields of a measure beside its function.
const (
	fieldWhere         = "where"
	fieldBy            = "by"
	fieldQ             = "q"
	fieldK             = "k"
	fieldAs            = "as"
	fieldExpected      = "expected"
	fieldFalsePositive = "false_positive"
)

// Values of the field as.
const (
	asEstimate = "estimate"
	asSketch   = "sketch"
)

// function is what a measure with it looks like. The field where is for all of them.
type function struct {
	name     string
	required []string
	optional []string
}

var functions = []function{
	{name: Count}, {name: Sum}, {name: Min}, {name: Max}, {name: Avg},
	{name: CountDistinct},
	{name: Median},
	{name: Quantile, required: []string{fieldQ}},
	{name: Stddev}, {name: StddevPop}, {name: Variance}, {name: VariancePop},
	{name: ArgMin, required: []string{fieldBy}},
	{name: ArgMax, required: []string{fieldBy}},
	{name: ApproxDistinct, optional: []string{fieldAs}},
	{name: ApproxQuantile, optional: []string{fieldQ, fieldAs}}, // q is for estimates
	{name: ApproxTopK, required: []string{fieldK}, optional: []string{fieldAs}},
	{name: Membership, required: []string{fieldExpected}, optional: []string{fieldFalsePositive}},
	{name: Theta, optional: []string{fieldAs}},
}

var everyField = []string{fieldWhere, fieldBy, fieldQ, fieldK, fieldAs, fieldExpected, fieldFalsePositive}

// takes are the fields of a measure with that function, beside it.
func (f function) takes() []string {
	return slices.Concat([]string{fieldWhere}, f.required, f.optional)
}

// Functions are the names of all functions.
func Functions() []string {
	names := make([]string, len(functions))
	for i, f := range functions {
		names[i] = f.name
	}
	return names
}

func findFunction(name string) (function, bool) {
	i := slices.IndexFunc(functions, func(f function) bool { return f.name == name })
	if i < 0 {
		return function{}, false
	}
	return functions[i], true
}

// with are the functions that take a field.
func with(field string) []string {
	var names []string
	for _, f := range functions {
		if slices.Contains(f.takes(), field) {
			names = append(names, f.name)
		}
	}
	return names
}
