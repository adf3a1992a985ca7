// Package result writes the rows of an engine's query as result files, and stores them: Parquet, CSV or JSON lines, of
// about the sizes that the spec asks for, in one folder or in one for each partition, as Hive names them.
//
//	part-00000.parquet                        without partition_by
//	carrier=UA/day=2013-01-31/part-00000.csv  with it: these columns are not in the file
//
// A file's rows are in the order of the query. One file at a time is written in the scratch directory and removed as soon
// as it is stored, so memory and disk are bounded whatever the number of partitions; small files are stored in the
// background.
//
// The stages that end in rows call it: reduce, or whatever comes last. The caller gives a folder that is the attempt's own,
// and names in its manifest what [Writer.Finish] returns; nothing is visible before.
package result
