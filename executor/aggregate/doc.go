// Package aggregate does the work of jobs of kind "aggregate": it is what a task process runs for the stages check,
// plan, map, reduce, commit and clean.
//
//   - check judges expressions without data.
//   - plan lists the input, fixes column types, binds the expressions to them and cuts the input into splits. If there is
//     only one, it does everything at once.
//   - map computes the partial aggregates of one split: a row for each group, with one column for each part that measures
//     are made of (count, sum, min, max, sketch, …), in partitions by hash of the group key. A group may have several rows
//     where merging them here would cost more than it saves. The different values that count_distinct, median and quantile
//     need are rows of their own among them: see values.go.
//   - reduce merges some partitions of all splits, in rounds of as many as fit its memory, finishes the measures and writes
//     result files.
//   - commit publishes the files of several reduce tasks; clean closes the commit point of a run that failed.
//
// A run with new_since plans only the files that the result before has not, has its reduce tasks merge that result's
// partial aggregates with theirs, and leaves both, merged, for the next run: see incremental.go.
//
// DuckDB (package engine) computes; objects are read by our own code (package input), which hands the engine
// plain rows in scratch files of limited size. Packages segment, expression, commit and jobs/sketch are the other parts.
//
// Parquet is read by its footers (package parquet): the plan finds columns, types and row groups in them, and leaves out
// row groups of which they say that no row passes the filter. Tasks fetch the chunks of the used columns only.
//
// What holds for results:
//
//   - Missing values (NULL) are ignored by every measure but {"count": "*"}. A group key may be missing: that is a group.
//     A sum, min, max, avg or quantile of nothing is missing; a count of nothing is 0.
//   - Sums of integers are exact, DECIMAL(38,0); of decimals, DECIMAL(38,s); of floating-point numbers, compensated
//     DOUBLE. BOOLEAN counts as 0 and 1. avg is DOUBLE, divided once. A sum beyond 38 digits is an error.
//   - NaN is larger than every other number for min and max, makes a sum NaN, is one value for approx_distinct, and is
//     ignored by approx_quantile.
//   - A measure's own filter makes its argument missing in other rows, and is never evaluated after the argument.
//   - count_distinct is exact: negative zero is zero, every NaN is one value. median and quantile are exact, too: of n
//     values in order, counted from 0, the one at q (n-1), interpolated between its neighbours, as DOUBLE. That is the
//     engine's quantile_cont over DOUBLE (SQL's PERCENTILE_CONT). NaN is the largest value.
//   - variance and stddev divide by n-1 and are missing for fewer than two values; those of the population divide by n.
//     Each piece is computed by Welford's method (B. P. Welford 1962), pieces are merged by the formula of Chan, Golub and
//     LeVeque (1979). They are NaN if a value is infinite or NaN; sums of squares beyond DOUBLE are an error.
//   - arg_min and arg_max leave out rows in which one of the two is missing. Among equal rows, arg_min takes the smallest
//     argument and arg_max the largest, so that results do not depend on the order of the rows.
//   - HLL, theta and Bloom sketches depend only on the values, not on how they were divided. Frequent items do so as long
//     as no group has more different values than there is room for, and then go by the order of the splits. KLL draws
//     random numbers: two runs may differ, within its bound (a rank error of 1.33 % at 99 % confidence). A sketch of no
//     values is an empty one.
//   - HUGEINT and UHUGEINT results are DECIMAL(38,0). Rows are in the order of windows, group keys and sets, missing keys
//     last, if nothing else is asked for; that order also settles what is equal in another one.
//   - Windows are UTC and count from 1970. A row without a time is in none, nor is one whose time is infinite or so far
//     away that a TIMESTAMP cannot hold a bound of its windows. Rows are of one session if they are closer than the gap.
//   - Grouping sets are told apart by their number. The set of no keys has a row even if there are no rows, without windows.
//   - A quoted CSV field is never missing: "" is empty text, and "NA" is the text NA whatever null_values says. Decimals
//     with too many digits behind the point are rounded to the column's scale; whole numbers with a fraction are errors.
//     Numbers in JSON that are not whole are exact to 15 digits. A DATE with a time of day and a TIMESTAMP with a
//     distance from UTC are errors, too.
//   - INTERVAL, ENUM and TIME WITH TIME ZONE are neither keys nor minima or maxima: Parquet does not keep them as they are.
//     Names of JSON members are told from one another by capitals, too, names of columns are not.
//   - Text that is read is UTF-8. Line ends are LF, CRLF or CR.
package aggregate
