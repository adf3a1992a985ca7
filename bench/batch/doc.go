// Command batch compares whole batch jobs with what else a data engineer would take for them, on the same machine, the same
// data and as many threads: DuckDB (the engine's version) and polars on local files, and pyspark with local[n].
//
//	go run ./bench/batch [-rows 10000000] [-high-rows 40000000] [-flights 100] [-formats jsonl,csv,parquet]
//	    [-cardinalities low,medium,high] [-threads 1,2] [-peers duckdb,polars,pyspark] [-rounds 1] [-dir DIR]
//
// Two data sets: generated rows with keys of low (100), medium (100,000) and high (20 million) cardinality, and the flights
// of New York in 2013 as often as -flights says. Each is written as JSON lines (gzip), CSV (zstd) and Parquet, in eight files,
// once for all runs with the same -dir. The job counts, sums, averages and finds the largest value by key.
//
// Ours runs on `tidemill-dev up`: scheduler, Mesos master, agents and S3 are one process, whose CPU is printed apart; ours is
// the CPU of all executor processes and the tasks below them, from the request that starts the run until the last of them has
// been idle, with the S3 client, the exchange and the commit in it. Wall time is from that request to the run's end, and for
// peers from the start of the process to its end: both include start-up. Peak memory is the most that all processes of
// one side had resident at one time, looked at 50 times a second.
//
// Results are compared: the number of rows, and a hash over all rows in any order, with averages rounded to six digits
// behind the point (not at halves, where averages of hundredths often lie and the last bit would decide). A peer that
// cannot read a format says so. The peers are fetched into a virtual environment (python3 -m venv) in the user's cache
// directory at the first run.
package main
