// Package gunzip decompresses gzip files (RFC 1952, RFC 1951) that are read from the beginning to the end. It is there
// because this is what tasks that read JSON lines spend most of their own time with; the decoders of the usual libraries
// take about twice as long.
//
// What makes it quick: 64 bits of input are taken at a time, codes are looked up by their first 11 (8) bits, and what is
// made stays in one buffer that is also the window. That wants some bytes of input ahead, so zeros are put behind the end of
// the file; what came of them is never given away.
//
// Package input calls it. A [Reader] is used by one goroutine.
package gunzip
