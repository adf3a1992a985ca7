// Package generate makes rows for tests and benchmarks: as many as one likes, fast, the same every time, and of which one
// knows without reading them what an aggregation must find.
//
// Everything in a row follows from its number. A row as a JSON line:
//
//	{"id":7,"at":"2026-01-01T00:00:00.049","low":9,"medium":94360,"high":18725206,"skewed":18725206,
//	 "amount":871,"price":2086.99,"city":"Turin","note":"note 84669"}
//
// low, medium and high are keys of 100, 100,000 and 20 million values; skewed is 0 in every other row and as high in the
// rest.
package generate
