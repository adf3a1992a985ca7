// Command aggregate compares the CPU that an aggregation costs in executor processes with what DuckDB needs for the same
// when it is called directly, on the same local files: the flights of 12 months × copies, by carrier and day.
//
//	go run ./bench/aggregate [-copies 20] [-tasks 4] [-rounds 3] [-exact] [-format csv.gz|csv.zst|jsonl.gz]
//
// Each task is a process of its own, as on an agent, one after another; the files are reached through storage/file.
// DuckDB gets the columns declared, as our plan does. Printed are the CPU seconds (user and system) of each round, the
// least of each side, and their ratio.
package main
