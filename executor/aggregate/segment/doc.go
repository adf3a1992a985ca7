// Package segment is the form of a map task's output: one object that holds a Parquet file for each partition, one
// after another, and an index at its end, so that a reduce task reads only the range it needs.
//
//	segment 0 │ segment 1 │ … │ index
//
// A Parquet file that is cut out of the object is a whole file of its own. The index is binary: the offsets of all
// segments and their end, their number, a checksum, and a mark:
//
//	(n+1) × uint64 │ uint32 n │ uint32 CRC-32C of all that │ "TMSEGv1\n"        (little-endian)
package segment
