package aggregate

import (
	"strconv"
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// Section is the value of the spec's key "aggregate".
type Section struct {
	Input        Input        `json:"input" required:"true" doc:"What is read."`
	Where        string       `json:"where,omitempty" format:"sql" maxlen:"10000" doc:"Only rows for which this scalar SQL expression is true. Every row if missing." example:"month <= 6"`
	Time         Time         `json:"time,omitempty" doc:"When a row happened. Needed with window."`
	Window       Window       `json:"window,omitempty" doc:"Time windows: each group has one row for each window, whose bounds are the result's first columns, window_start and window_end (TIMESTAMP, UTC, the end excluded)."`
	GroupBy      []Group      `json:"group_by,omitempty" maxitems:"64" doc:"Group keys. One row for the whole input if missing."`
	GroupingSets GroupingSets `json:"grouping_sets,omitempty" doc:"Which of the group keys make groups together: one set of rows for each list of their names. A key that is not in the list is missing in its rows; the column grouping_set (INTEGER, after the keys) says which list a row is of, from 0 on."`
	Measures     Measures     `json:"measures,omitempty" doc:"Result columns beside the group keys."`
	Having       string       `json:"having,omitempty" format:"sql" maxlen:"10000" doc:"Only result rows for which this scalar SQL expression over the result's columns is true." example:"flights > 100"`
	OrderBy      []Order      `json:"order_by,omitempty" maxitems:"64" doc:"The order of the rows in each result file, and with limit of all rows. The order of windows and group keys if missing, which also settles what is equal here."`
	Limit        int64        `json:"limit,omitempty" min:"1" max:"10000000" doc:"Only the first so many rows in that order."`
	Output       Output       `json:"output" required:"true" doc:"Where results go."`
	WorkURI      string       `json:"work,omitempty" format:"prefix" doc:"A prefix for intermediate results and logs, reached by the output's connection. <output>/_work/ if missing." example:"s3://scratch/work/"`
}

// Input is what is read.
type Input struct {
	URI            string   `json:"uri" required:"true" format:"uri" doc:"A prefix that ends in a slash (everything below it), one object, or a pattern in which * and ? stand for characters other than a slash." example:"s3://flights/2013/"`
	Connection     string   `json:"connection" default:"s3" format:"name" doc:"The name of the connection that reaches it."`
	Format         string   `json:"format" required:"true" enum:"csv,jsonl,parquet" doc:"csv, jsonl (one JSON object a line) or parquet."`
	Compression    string   `json:"compression" only:"format=csv|jsonl" default:"auto" enum:"auto,none,gzip,zstd,lz4,snappy,bzip2" doc:"auto goes by the object's name: .gz, .zst, .lz4, .sz or .snappy, .bz2, or none."`
	Columns        Columns  `json:"columns,omitempty" doc:"Types of columns by name. The types of other columns are found out from the data."`
	HivePartitions bool     `json:"hive_partitions" default:"true" doc:"Whether folders such as month=7/ below the prefix are columns."`
	NewSince       string   `json:"new_since,omitempty" enum:"last_success" doc:"last_success: read only the files that no committed run of this output has read, and merge into the previous result. All files if missing."`
	BadRows        BadRows  `json:"bad_rows,omitempty" doc:"What becomes of rows that cannot be read. One of them fails the run if missing."`
	NullValues     []string `json:"null_values,omitempty" only:"format=csv" maxitems:"32" minlen:"1" maxlen:"100" doc:"Spellings of a missing value. An unquoted empty field is always one." example:"NA"`
	Delimiter      string   `json:"delimiter" only:"format=csv" default:"," format:"character" minlen:"1" doc:"The character between two fields."`
	Quote          string   `json:"quote" only:"format=csv" default:"\"" format:"optional character" doc:"The character around fields; empty for none."`
	Escape         string   `json:"escape" only:"format=csv" format:"optional character" doc:"The character before a quote inside a quoted field. The quote if missing."`
	Header         bool     `json:"header" only:"format=csv" default:"true" doc:"Whether the first line of each file names the columns."`
	QuotedNewlines bool     `json:"quoted_newlines" only:"format=csv" default:"true" doc:"Whether quoted fields may hold line breaks. If not, large plain files are cut into several splits."`
	SplitSize      int64    `json:"split_size" format:"size" default:"64MiB" min:"1MiB" max:"1TiB" doc:"About how much stored input one task reads."`
}

// BadRows is what becomes of rows that cannot be read: malformed ones, and those with a value that does not fit its
// column's type.
type BadRows struct {
	Max        int64  `json:"max,omitempty" min:"0" max:"1000000000" doc:"The run fails if there are more. 0 if missing."`
	Quarantine string `json:"quarantine,omitempty" format:"prefix" doc:"A prefix at which they are kept as JSON lines with file, row, reason and text, reached by the output's connection. They are only counted if missing." example:"s3://results/bad/"`
}

// Time says when a row happened.
type Time struct {
	Expr string `json:"expr,omitempty" format:"sql" maxlen:"10000" doc:"A scalar SQL expression that gives a TIMESTAMP, TIMESTAMPTZ or DATE. Rows for which it is missing are in no window." example:"departed_at"`
}

// Window divides time; one of Tumbling, Sliding and Session is set, or none of them.
type Window struct {
	Tumbling time.Duration `json:"tumbling,omitempty" min:"1ms" max:"87600h" doc:"Windows of this length, one after another from 1970-01-01T00:00:00Z on." example:"10s"`
	Sliding  time.Duration `json:"sliding,omitempty" min:"1ms" max:"87600h" doc:"Windows of this length, one beginning at each multiple of every. A row is in several of them." example:"10m"`
	Every    time.Duration `json:"every,omitempty" min:"1ms" max:"87600h" doc:"From one sliding window to the next; it divides their length." example:"1m"`
	Session  time.Duration `json:"session,omitempty" min:"1ms" max:"87600h" doc:"Windows that end when a group has no row for this long: from the first row to the last one and this." example:"30m"`
}

// Windowed says whether there are windows.
func (w Window) Windowed() bool { return w != Window{} }

// Group is one group key. Without Expr, Name is a column of the input.
type Group struct {
	Name string `json:"name" required:"true" doc:"The result column, and the input column if there is no expr." example:"day"`
	Expr string `json:"expr,omitempty" format:"sql" maxlen:"10000" doc:"A scalar SQL expression." example:"make_date(year, month, day)"`
}

// Order is one sort key of the result.
type Order struct {
	Name       string `json:"name" required:"true" doc:"A result column." example:"flights"`
	Descending bool   `json:"descending,omitempty" doc:"Largest first."`
	NullsFirst bool   `json:"nulls_first,omitempty" doc:"Missing values first. They are last if missing, whatever the direction."`
}

// Modes of an [Output].
const (
	Replace           = "replace"            // the result is what this run has written
	ReplacePartitions = "replace_partitions" // partitions that this run has written replace those of the previous result, which keeps the others
	Append            = "append"             // this run's files and those of the previous result
	FailIfExists      = "fail_if_exists"     // the run fails if there is a result
)

// Output is where results go.
type Output struct {
	URI          string   `json:"uri" required:"true" format:"prefix" doc:"A prefix. Results are published below it; readers find them through its _latest.json and the manifests." example:"s3://results/flights-by-carrier/"`
	Connection   string   `json:"connection" default:"s3" format:"name" doc:"The name of the connection that reaches it."`
	Format       string   `json:"format" default:"parquet" enum:"parquet,csv,jsonl" doc:"The format of result files."`
	Compression  string   `json:"compression" enum:"zstd,snappy,gzip,none" doc:"For parquet zstd (the default), snappy or none; for csv and jsonl none (the default), gzip or zstd."`
	Mode         string   `json:"mode" default:"replace" enum:"replace,replace_partitions,append,fail_if_exists" doc:"What becomes of the previous result. replace_partitions keeps its other partitions, append all of it."`
	PartitionBy  []string `json:"partition_by,omitempty" maxitems:"16" doc:"Result columns that make folders such as carrier=UA/ and are not in the files." example:"carrier"`
	FileSize     int64    `json:"file_size" format:"size" default:"256MiB" min:"1MiB" max:"64GiB" doc:"About how large one result file becomes."`
	RowGroupSize int64    `json:"row_group_size" only:"format=parquet" format:"size" default:"64MiB" min:"1MiB" max:"4GiB" doc:"About how much data, before compression, one row group holds."`
}

// Work is where intermediate objects and logs lie.
func (s *Section) Work() (uri, connection string) { return s.WorkURI, s.Output.Connection }

// Publishes is where results go.
func (s *Section) Publishes() (uri, connection string) { return s.Output.URI, s.Output.Connection }

// Expressions are where, the time, the group keys, those of the measures and having, in the order of the spec. A plain
// column name is one.
func (s *Section) Expressions() []jobs.Expression {
	var all []jobs.Expression
	add := func(text string, path ...string) {
		all = append(all, jobs.Expression{Pointer: jobs.JoinPointer("/"+Name, path...), Text: text})
	}
	if s.Where != "" {
		add(s.Where, "where")
	}
	if s.Time.Expr != "" {
		add(s.Time.Expr, "time", "expr")
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
		if m.By != "" {
			add(m.By, "measures", m.Name, fieldBy)
		}
		if m.Where != "" {
			add(m.Where, "measures", m.Name, fieldWhere)
		}
	}
	if s.Having != "" {
		add(s.Having, "having")
	}
	return all
}
