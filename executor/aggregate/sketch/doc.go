// Package sketch wraps the two mergeable sketches behind approximate measures, in the formats of Apache DataSketches:
// HLL (lgK 12, type HLL_4) for approx_distinct and KLL of doubles (k 200) for approx_quantile.
//
// What is put into an HLL sketch is hashed as DataSketches does it: text as its UTF-8 bytes, whole numbers up to 64 bits
// as longs, floating-point numbers as doubles (negative zero as zero, every NaN as one). Other values are put in as the
// text that the engine gives them. One thing differs: DataSketches ignores empty text; here it is a value like any
// other, put in as one zero byte.
//
// Estimates depend only on what is in a sketch, not on the order or the sketches that it came from: HLL's composite
// estimator is used throughout, never HIP. KLL's answers vary between runs, within its bound: a rank error of 1.33 % at
// 99 % confidence.
//
// Sketches are for one goroutine. Merge refuses bytes that are no sketch of these kinds, but the library trusts those
// that look like one: callers hand over what Bytes gave, unchanged, which package segment's checksums see to.
package sketch
