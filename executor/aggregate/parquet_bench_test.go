package aggregate_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkParquet compares the CPU time of a whole run over a local file with that of DuckDB reading the same file.
func BenchmarkParquet(b *testing.B) {
	l := newLake(b)
	l.memory = 1 << 30
	l.written("a.parquet", "SELECT range AS id, hash(range) % 1000 AS k, 'customer ' || hash(range) % 5000 AS name, (hash(range) % 100000)::DOUBLE / 100 AS price, "+
		"DATE '2020-01-01' + (range // 20000)::INTEGER AS day, 'a text that is not read ' || range AS rest FROM range(5000000)", "")
	section := overParquet("price > 100", "name;year(day)", `"n": {"count": "*"}, "s": {"sum": "price"}, "m": {"max": "id"}`, "")
	direct := "SELECT name, year(day), count(*), sum(price), max(id) FROM read_parquet('" + filepath.Join(l.root, "in", "a.parquet") + "') WHERE price > 100 GROUP BY ALL ORDER BY ALL"
	var ours, theirs time.Duration
	for b.Loop() {
		before := cpu(b)
		if _, err := l.run(section, 1); err != nil {
			b.Fatal(err)
		}
		between := cpu(b)
		query(b, "SELECT count(*) FROM ("+direct+")")
		ours, theirs = ours+between-before, theirs+cpu(b)-between
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "duckdb-cpu-s/op")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "times-duckdb")
}

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
