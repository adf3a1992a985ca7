// Package sql does the work of jobs of kind "sql": it is what a task process runs for the stages check, query and clean.
//
//   - check judges the statement without data: one SELECT over the tables of the spec, see package expression.
//   - query does the whole run in one task. It lists the files of the tables that the statement reads, finds their columns,
//     binds the statement to them, brings what it needs of them into the scratch directory, runs it once, writes the
//     result and publishes it.
//   - clean closes the commit point of a run that failed.
//
// What is needed of a table are the columns that the statement names, of the folders and Parquet row groups in which a row
// can pass those conditions of WHERE that are about this table alone. Parquet is read from sparse files with these byte
// ranges; text is converted, batch by batch, to Parquet files. A table is fetched once, however often it is read.
// Tables and what the engine spills share the disk that the task asked for.
//
// The statement's session is one in which nothing but the tables can be reached: see package engine. Sessions run in UTC.
// Rows of the result are in the order of the statement; HUGEINT columns become DECIMAL(38,0).
package sql
