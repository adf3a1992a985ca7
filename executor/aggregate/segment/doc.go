// Package segment is the form of partial results: one object that holds Parquet files, one after another, and an index at
// its beginning, so that a reduce task fetches only the ranges that it needs, and a small object at one go.
//
//	index │ segment 0 │ segment 1 │ …
//
// A segment is a Parquet file with the rows of one relation that are in some consecutive partitions. How many segments
// an object has is the writer's decision: one of few groups has one for all partitions, and one whose writer had to make
// room in the middle has several for the same.
//
// The index is binary, little-endian: a mark, the number of segments, for each of them the number of its relation, its
// first partition and the one behind its last, its rows, its length and its CRC-32C, and the CRC-32C of all that:
//
//	"TMSEGv2\n" │ uint32 n │ n × (uint16 │ uint16 │ uint16 │ uint64 │ uint64 │ uint32) │ uint32
//
// What [Object.Copy] writes is what was written, or an error: decoders behind it need not expect broken bytes.
package segment
