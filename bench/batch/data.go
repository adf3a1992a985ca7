package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/duckdb/duckdb-go/v2"
)

// parts is how many files a data set has.
const parts = 8

// generated is the query for rows [from, to): everything follows from the number of the row.
const generated = `SELECT i AS id, TIMESTAMP '2026-01-01' + to_milliseconds(i * 7) AS at,
	(hash(i) %% 100)::BIGINT AS low, (hash(i + 1) %% 100000)::BIGINT AS medium, (hash(i + 2) %% 20000000)::BIGINT AS high,
	(hash(i + 3) %% 1000)::BIGINT AS amount, round((hash(i + 4) %% 1000000) / 100, 2)::DOUBLE AS price,
	['Hamburg', 'Lagos', 'Quito', 'Osaka', 'Perth', 'Turin', 'Malmö'][1 + (hash(i + 5) %% 7)::INT] AS city,
	'note ' || (hash(i + 6) %% 100000) AS note
	FROM range(%d, %d) AS numbers(i)`

// options of COPY, and how files are called.
var options = map[string][2]string{
	"jsonl":   {"FORMAT json, COMPRESSION gzip", "jsonl.gz"},
	"csv":     {"FORMAT csv, HEADER true, COMPRESSION zstd, NULLSTR 'NA'", "csv.zst"},
	"parquet": {"FORMAT parquet, COMPRESSION zstd", "parquet"},
}

// prepare writes a data set in one format, if it is not there, and returns its folder.
func prepare(ctx context.Context, dir, dataset, format string, size int64) (folder string, err error) {
	folder = filepath.Join(dir, fmt.Sprintf("%s-%d-%s", dataset, size, format))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	draft := folder + ".new"
	if err := errors.Join(os.RemoveAll(draft), os.MkdirAll(draft, 0o755)); err != nil {
		return "", fmt.Errorf("make folder of data: %w", err)
	}
	fmt.Fprintf(os.Stderr, "writing %s\n", folder)
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return "", fmt.Errorf("generate data: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for part := range int64(parts) {
		query := fmt.Sprintf(generated, part*size/parts, (part+1)*size/parts)
		if dataset == "flights" {
			query = fmt.Sprintf("SELECT f.* FROM read_csv('examples/data/flights/*.csv.gz', nullstr='NA') AS f, range(%d)", (part+1)*size/parts-part*size/parts)
		}
		to := filepath.Join(draft, fmt.Sprintf("part-%d.%s", part, options[format][1]))
		if _, err := db.ExecContext(ctx, fmt.Sprintf("COPY (%s) TO '%s' (%s)", query, to, options[format][0])); err != nil {
			return "", fmt.Errorf("generate %s: %w", to, err)
		}
	}
	return folder, os.Rename(draft, folder)
}

// fingerprint is the number of rows of a result and a hash of all of them, in any order.
func fingerprint(ctx context.Context, c testCase, files string) (text string, err error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return "", fmt.Errorf("compare results: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	row := ""
	for _, key := range c.keys() {
		row += key + "::VARCHAR, "
	}
	query := fmt.Sprintf("SELECT count(*) || ' rows, hash ' || sum(hash(%sn::BIGINT, total::BIGINT, round(mean::DOUBLE + 1.618034e-7, 6), most::DOUBLE)::HUGEINT) FROM read_parquet('%s')", row, files)
	if err := db.QueryRowContext(ctx, query).Scan(&text); err != nil {
		return "", fmt.Errorf("read result %s: %w", files, err)
	}
	return text, nil
}
