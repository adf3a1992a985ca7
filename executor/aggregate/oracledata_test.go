package aggregate_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A random table is made as values with three spellings, so that what the files say and what the engine that is asked
// directly gets are known to be the same without either of them reading what the other does.

// value is one value of the table; the zero value is a missing one.
type value struct {
	sql  string // a literal of the column's type
	text string // in CSV, without quotes, and in JSON, if it is a text there
	json string // in JSON lines
}

func (v value) missing() bool { return v.sql == "" }

// oracleColumn is a column of the table. Values of tame ones can be added up in any order, and take part in statistics.
type oracleColumn struct {
	name string
	kind string // the engine's type
	tame bool
	make func(r *rand.Rand) value
	null float64 // share of missing values
}

func (c *oracleColumn) number() bool {
	return c.kind == "BIGINT" || c.kind == "SMALLINT" || c.kind == "DOUBLE" || strings.HasPrefix(c.kind, "DECIMAL")
}

// table is a random table. One column may be in the files' paths only.
type table struct {
	columns   []*oracleColumn
	rows      [][]value
	partition int // the column in the path; -1: none
}

var words = []string{"", "a", "A", "ab", "ä", "ß", "日本", "🌊 tide", "x,y", `say "no"`, "line\nbreak", "cr\r\nlf", " padded ", "NA", "null", "\\", "'", "a b", "Ω≈ç", "0", "-1", "true"}

func plainValue(text string) value { return value{sql: text, text: text, json: text} }

func quotedJSON(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(text) + `"`
}

func typed(kind, text string) value {
	return value{sql: kind + " '" + strings.ReplaceAll(text, "'", "''") + "'", text: text, json: quotedJSON(text)}
}

// makers of values, by type.
func columnMakers(wild bool) []func() *oracleColumn {
	return []func() *oracleColumn{
		func() *oracleColumn {
			return &oracleColumn{kind: "BIGINT", tame: true, make: func(r *rand.Rand) value { return plainValue(fmt.Sprint(r.IntN(20) - 10)) }}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "BIGINT", make: func(r *rand.Rand) value { return plainValue(fmt.Sprint(int64(r.Uint64()) / 4)) }}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "SMALLINT", tame: true, make: func(r *rand.Rand) value { return plainValue(fmt.Sprint(r.IntN(65536) - 32768)) }}
		},
		func() *oracleColumn { // sums of eighths are exact
			return &oracleColumn{kind: "DOUBLE", tame: true, make: func(r *rand.Rand) value {
				v := plainValue(fmt.Sprint(float64(r.IntN(2_000_000)-1_000_000) / 8))
				v.sql = "CAST('" + v.text + "' AS DOUBLE)"
				return v
			}}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "DOUBLE", make: func(r *rand.Rand) value {
				text := []string{"0.0", "-0.0", "1.5", "1e300", "-2.25", "NaN", "Infinity", "-Infinity"}[r.IntN(map[bool]int{true: 8, false: 5}[wild])]
				return value{sql: "CAST('" + text + "' AS DOUBLE)", text: text, json: text}
			}}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "DECIMAL(12,2)", tame: true, make: func(r *rand.Rand) value {
				n := r.Int64N(2_000_000_000) - 1_000_000_000
				sign := ""
				if n < 0 {
					sign, n = "-", -n
				}
				return plainValue(fmt.Sprintf("%s%d.%02d", sign, n/100, n%100))
			}}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "VARCHAR", make: func(r *rand.Rand) value {
				text := words[r.IntN(len(words))]
				return value{sql: "'" + strings.ReplaceAll(text, "'", "''") + "'", text: text, json: quotedJSON(text)}
			}}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "BOOLEAN", make: func(r *rand.Rand) value { return plainValue(fmt.Sprint(r.IntN(2) == 0)) }}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "DATE", make: func(r *rand.Rand) value {
				return typed("DATE", fmt.Sprintf("%04d-%02d-%02d", 1969+r.IntN(3), 1+r.IntN(12), 1+r.IntN(28)))
			}}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "TIMESTAMP", make: func(r *rand.Rand) value { return typed("TIMESTAMP", instant(r)) }}
		},
		func() *oracleColumn {
			return &oracleColumn{kind: "TIMESTAMPTZ", make: func(r *rand.Rand) value {
				return typed("TIMESTAMPTZ", instant(r)+[]string{"+00", "+05:30", "-08"}[r.IntN(3)])
			}}
		},
	}
}

// instant is a time on one of three days, often close to others.
func instant(r *rand.Rand) string {
	text := fmt.Sprintf("19%d-12-%02d %02d:%02d:%02d", 69+r.IntN(2), 30+r.IntN(2), r.IntN(24), r.IntN(60), r.IntN(60))
	if r.IntN(3) == 0 {
		text += fmt.Sprintf(".%06d", r.IntN(1_000_000))
	}
	return text
}

// oracleTable makes between 0 and 600 rows of 3 to 7 columns c0, c1, …, some with many missing values. With wild, numbers
// that JSON does not have are among them.
func oracleTable(r *rand.Rand, wild bool) *table {
	makers := columnMakers(wild)
	t := &table{partition: -1}
	for i := range 3 + r.IntN(5) {
		c := makers[r.IntN(len(makers))]()
		if i == 0 {
			c = makers[0]() // there is always something to add up
		}
		c.name = fmt.Sprintf("c%d", i)
		c.null = []float64{0, 0.1, 0.5, 1}[min(r.IntN(8), 3)]
		if c.null == 1 && r.IntN(3) > 0 {
			c.null = 0.1
		}
		t.columns = append(t.columns, c)
	}
	n := []int{0, 1, 7, 60, 300, 600}[r.IntN(6)]
	for range n {
		row := make([]value, len(t.columns))
		for i, c := range t.columns {
			if r.Float64() >= c.null {
				row[i] = c.make(r)
			}
		}
		t.rows = append(t.rows, row)
	}
	if last := t.columns[len(t.columns)-1]; r.IntN(4) == 0 && n > 0 && (last.kind == "VARCHAR" || last.kind == "BIGINT" && last.tame || last.kind == "DATE") {
		t.partition = len(t.columns) - 1
	}
	return t
}

// create is the table for the engine that is asked directly.
func (t *table) create() []string {
	var definitions []string
	for _, c := range t.columns {
		definitions = append(definitions, c.name+" "+c.kind)
	}
	statements := []string{"CREATE TABLE truth (" + strings.Join(definitions, ", ") + ")"}
	if len(t.rows) > 0 {
		statements = append(statements, "INSERT INTO truth VALUES "+t.literals(t.rows))
	}
	return statements
}

func (t *table) literals(rows [][]value) string {
	all := make([]string, len(rows))
	for i, row := range rows {
		fields := make([]string, len(row))
		for k, v := range row {
			if fields[k] = v.sql; v.missing() {
				fields[k] = "NULL"
			}
		}
		all[i] = "(" + strings.Join(fields, ", ") + ")"
	}
	return strings.Join(all, ", ")
}

// file is one file of the input.
type oracleFile struct {
	name    string
	content []byte    // of CSV and JSON lines
	rows    [][]value // of Parquet, which the engine writes
}

// files spreads the rows over some files, each in the folder of its partition.
func (t *table) files(r *rand.Rand, format string) []oracleFile {
	parts := map[string][][]value{}
	var order []string
	n := 1 + r.IntN(4)
	for _, row := range t.rows {
		name := fmt.Sprintf("part-%d", r.IntN(n))
		if t.partition >= 0 {
			folder := "__HIVE_DEFAULT_PARTITION__"
			if v := row[t.partition]; !v.missing() {
				folder = hiveEscape(v.text)
			}
			name = t.columns[t.partition].name + "=" + folder + "/" + name
		}
		if parts[name] == nil {
			order = append(order, name)
		}
		parts[name] = append(parts[name], row)
	}
	if len(order) == 0 {
		order = []string{"part-0"}
	}
	var all []oracleFile
	for _, name := range order {
		f := oracleFile{name: name + "." + format, rows: parts[name]}
		switch format {
		case "csv":
			f.content = t.csv(parts[name])
		case "jsonl":
			f.content = t.jsonLines(r, parts[name])
		}
		if f.content != nil {
			f.compress(r)
		}
		all = append(all, f)
	}
	return all
}

// hiveEscape writes a partition's value as Hive does: what a path cannot hold as %XX. An empty text cannot be told from a
// missing one there.
func hiveEscape(text string) string { return strings.ReplaceAll(url.PathEscape(text), "=", "%3D") }

func (f *oracleFile) compress(r *rand.Rand) {
	var b bytes.Buffer
	switch r.IntN(3) {
	case 0:
		w := gzip.NewWriter(&b)
		_, _ = w.Write(f.content) // into memory
		_ = w.Close()
		f.name, f.content = f.name+".gz", b.Bytes()
	case 1:
		w, err := zstd.NewWriter(&b)
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(f.content)
		_ = w.Close()
		f.name, f.content = f.name+".zst", b.Bytes()
	}
}

func (t *table) csv(rows [][]value) []byte {
	var b bytes.Buffer
	line := func(field func(i int, c *oracleColumn) string) {
		var fields []string
		for i, c := range t.columns {
			if i != t.partition {
				fields = append(fields, field(i, c))
			}
		}
		b.WriteString(strings.Join(fields, ",") + "\n")
	}
	line(func(_ int, c *oracleColumn) string { return c.name })
	for _, row := range rows {
		line(func(i int, c *oracleColumn) string {
			switch {
			case row[i].missing():
				return ""
			case c.kind == "VARCHAR":
				return `"` + strings.ReplaceAll(row[i].text, `"`, `""`) + `"`
			}
			return row[i].text
		})
	}
	return b.Bytes()
}

// jsonLines leaves some missing values out and writes others as null.
func (t *table) jsonLines(r *rand.Rand, rows [][]value) []byte {
	b := []byte{}
	for _, row := range rows {
		var members []string
		for i, v := range row {
			switch {
			case i == t.partition:
			case !v.missing():
				members = append(members, `"`+t.columns[i].name+`": `+v.json)
			case r.IntN(2) == 0:
				members = append(members, `"`+t.columns[i].name+`": null`)
			}
		}
		b = append(b, "{"+strings.Join(members, ", ")+"}\n"...)
	}
	return b
}

// key of the file among the objects.
func (f *oracleFile) key(folder string) string { return path.Join(folder, f.name) }
