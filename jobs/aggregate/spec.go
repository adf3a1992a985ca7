package aggregate

// Section is the value of the spec's key "aggregate".
type Section struct {
	Input    Input
	Where    string // SQL; empty: every row
	GroupBy  []Group
	Measures []Measure // in the order of the spec
	Output   Output
	WorkURI  string // "work" of the section: where intermediates go; default <output>/_work
}

// Input is what is read.
type Input struct {
	URI            string   // s3://bucket/prefix/ (everything below it), an object, or a pattern with * and ?
	Connection     string   // default "s3"
	Format         string   // "csv" or "jsonl"
	Compression    string   // "auto" (by the name's ending: .gz, .zst), "none", "gzip", "zstd"
	Columns        []Column // declared types, in the order of the spec; the rest is found out by the plan stage
	NullValues     []string // csv: spellings of a missing value; an unquoted empty field is always one
	Delimiter      string   // csv: one character, default ","
	Quote          string   // csv: one character, default `"`; "" for none
	Escape         string   // csv: one character, default the quote
	Header         bool     // csv: default true
	QuotedNewlines bool     // csv: default true: fields may hold line breaks, so a file is never cut
	SplitSize      int64    // bytes as stored; default 64 MiB, at least 1 MiB
}

// Column declares a type. Types are the engine's: BOOLEAN, BIGINT, DOUBLE, DECIMAL(p,s), VARCHAR, DATE, TIMESTAMP, …
type Column struct {
	Name string
	Type string
}

// Group is one group key. Without Expr, Name is a column of the input.
type Group struct {
	Name string
	Expr string
}

// Functions of a [Measure].
const (
	Count          = "count"
	Sum            = "sum"
	Min            = "min"
	Max            = "max"
	Avg            = "avg"
	ApproxDistinct = "approx_distinct" // HLL
	ApproxQuantile = "approx_quantile" // KLL
)

// Measure is one result column.
type Measure struct {
	Name string
	Func string
	Expr string  // SQL; "*" for count of rows
	Q    float64 // ApproxQuantile: 0..1
}

// Output is where results go.
type Output struct {
	URI         string // a prefix, ends in "/"
	Connection  string // default "s3"
	Format      string // "parquet" (default) or "csv"
	Compression string // parquet: "zstd" (default), "snappy", "none"; csv: "none" (default), "gzip", "zstd"
}
