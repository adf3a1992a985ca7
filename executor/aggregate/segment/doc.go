// Package segment is the form of a map task's output: one object that holds a Parquet file for each partition, one
// after another, and an index at its end, so that a reduce task reads only the range it needs.
//
//	segment 0 │ segment 1 │ … │ index
//
// A Parquet file that is cut out of the object is a whole file of its own. The index is binary, little-endian: the length
// and the CRC-32C of each segment, their number, the CRC-32C of all that, and a mark:
//
//	n × (uint64 │ uint32) │ uint32 n │ uint32 │ "TMSEGv1\n"
//
// What is read through [Copy] is what was written, or an error: decoders behind it need not expect broken bytes.
package segment
