// Package sketch is the mergeable sketches behind approximate measures, in the formats of Apache DataSketches, which
// that project's libraries in Java, C++, Python and Go read.
//
//	measure          sketch                            parameters           off by, for one standard deviation
//	approx_distinct  HLL, type HLL_4                   lgK 12               1.6 %; exact for very few values
//	theta            theta, compact and ordered        lgK 12, seed 9001    1.6 %; exact up to 4096 values
//	approx_quantile  KLL of doubles                    k 200                rank: 1.33 % at 99 % confidence
//	approx_top_k     frequent items, longs or strings  see [NewFrequent]    count: 3.5/size of all, at most
//	membership       Bloom, XXH64, seed 9001           as the spec says     no member is missed
//
// What is put in is hashed as DataSketches does it: text as its UTF-8 bytes, whole numbers up to 64 bits as longs,
// floating-point numbers as doubles (negative zero as zero, every NaN as one). Other values are put in as the text that the
// engine gives them. One thing differs: DataSketches ignores empty text; here it is a value like any other, put in as
// one zero byte.
//
// [Distinct], [Theta] and [Filter] depend only on what was put in, not on the order or on the sketches that it came
// from: registers are maxima, a theta sketch holds the smallest 4096 hashes, bits are set. For that they are built here,
// out of hashes ([HashOf], [FilterHashOf]), and only written and read as DataSketches does it; HLL's composite estimator is used
// throughout, never HIP. [Frequent] depends on the order only once it has had to drop items. [Quantiles] draws random
// numbers: its answers vary between runs, within its bound.
//
// Executors build and merge; the CLI reads bytes of any origin with [Read], [Merge] and the set operations, which
// refuse what is no sketch: they never panic, and take no more memory than a small multiple of what they are given.
// Sketches are for one goroutine.
package sketch
