package aggregate

import (
	"strconv"

	"github.com/tidemill/tidemill/jobs"
)

// Section is the value of the spec's key "aggregate".
type Section struct {
	Input    Input    `json:"input" required:"true" doc:"What is read."`
	Where    string   `json:"where,omitempty" format:"sql" maxlen:"10000" doc:"Only rows for which this scalar SQL expression is true. Every row if missing." example:"month <= 6"`
	GroupBy  []Group  `json:"group_by,omitempty" maxitems:"64" doc:"Group keys. One row for the whole input if missing."`
	Measures Measures `json:"measures,omitempty" doc:"Result columns beside the group keys."`
	Output   Output   `json:"output" required:"true" doc:"Where results go."`
	WorkURI  string   `json:"work,omitempty" format:"prefix" doc:"A prefix for intermediate results and logs, reached by the output's connection. <output>/_work/ if missing." example:"s3://scratch/work/"`
}

// Input is what is read.
type Input struct {
	URI            string   `json:"uri" required:"true" format:"uri" doc:"A prefix that ends in a slash (everything below it), one object, or a pattern in which * and ? stand for characters other than a slash." example:"s3://flights/2013/"`
	Connection     string   `json:"connection" default:"s3" format:"name" doc:"The name of the connection that reaches it."`
	Format         string   `json:"format" required:"true" enum:"csv,jsonl" doc:"csv, or jsonl: one JSON object a line."`
	Compression    string   `json:"compression" default:"auto" enum:"auto,none,gzip,zstd" doc:"auto goes by the object's name: .gz, .zst, or none."`
	Columns        Columns  `json:"columns,omitempty" doc:"Types of columns by name. The types of other columns are found out from the data."`
	NullValues     []string `json:"null_values,omitempty" only:"format=csv" maxitems:"32" minlen:"1" maxlen:"100" doc:"Spellings of a missing value. An unquoted empty field is always one." example:"NA"`
	Delimiter      string   `json:"delimiter" only:"format=csv" default:"," format:"character" minlen:"1" doc:"The character between two fields."`
	Quote          string   `json:"quote" only:"format=csv" default:"\"" format:"optional character" doc:"The character around fields; empty for none."`
	Escape         string   `json:"escape" only:"format=csv" format:"optional character" doc:"The character before a quote inside a quoted field. The quote if missing."`
	Header         bool     `json:"header" only:"format=csv" default:"true" doc:"Whether the first line of each file names the columns."`
	QuotedNewlines bool     `json:"quoted_newlines" only:"format=csv" default:"true" doc:"Whether quoted fields may hold line breaks. If not, large plain files are cut into several splits."`
	SplitSize      int64    `json:"split_size" format:"size" default:"64MiB" min:"1MiB" max:"1TiB" doc:"About how much stored input one task reads."`
}

// Group is one group key. Without Expr, Name is a column of the input.
type Group struct {
	Name string `json:"name" required:"true" doc:"The result column, and the input column if there is no expr." example:"day"`
	Expr string `json:"expr,omitempty" format:"sql" maxlen:"10000" doc:"A scalar SQL expression." example:"make_date(year, month, day)"`
}

// Output is where results go.
type Output struct {
	URI         string `json:"uri" required:"true" format:"prefix" doc:"A prefix. Results are published below it; readers find them through its _latest.json and the manifests." example:"s3://results/flights-by-carrier/"`
	Connection  string `json:"connection" default:"s3" format:"name" doc:"The name of the connection that reaches it."`
	Format      string `json:"format" default:"parquet" enum:"parquet,csv" doc:"The format of result files."`
	Compression string `json:"compression" enum:"zstd,snappy,gzip,none" doc:"For parquet zstd (the default), snappy or none; for csv none (the default), gzip or zstd."`
}

// Work is where intermediate objects and logs lie.
func (s *Section) Work() (uri, connection string) { return s.WorkURI, s.Output.Connection }

// Expressions are where, the group keys and the measures' arguments, in the order of the spec. A plain column name is one.
func (s *Section) Expressions() []jobs.Expression {
	var all []jobs.Expression
	add := func(text string, path ...string) {
		all = append(all, jobs.Expression{Pointer: jobs.JoinPointer("/"+Name, path...), Text: text})
	}
	if s.Where != "" {
		add(s.Where, "where")
	}
	for i, g := range s.GroupBy {
		if g.Expr != "" {
			add(g.Expr, "group_by", strconv.Itoa(i), "expr")
		}
	}
	for _, m := range s.Measures {
		if !m.Rows() {
			add(m.Expr, "measures", m.Name, m.Func)
		}
	}
	return all
}
