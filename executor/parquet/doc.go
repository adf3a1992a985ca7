// Package parquet reads as little as possible of Parquet objects: their footers, and of the data the column chunks that
// somebody needs. It decodes no data. What it fetches becomes a scratch file that the engine reads as an ordinary Parquet
// file: the chunks at the offsets that they have in the object, nothing between them, and a footer that knows of the kept
// row groups and columns only.
//
// A footer says where chunks lie and what is in them. A row group holds some rows of the file, a chunk those of one leaf
// column in one row group. A column is a top-level field of the schema; it has one leaf, or several if it is nested.
//
// Executors' kinds call it: [Read] a footer, choose row groups and columns by [Footer.Columns] and [Group.Bounds], then
// [Fetch] them. Columns have the names [Name](0), [Name](1), … in the scratch file, because the names in objects may be
// anything, even the same twice.
//
// Footers are not trusted: what they say is checked against the object's size, and no more memory is used than a small
// multiple of their own length. What is wrong with one is an error that wraps [ErrDamaged] or [ErrEncrypted] and does not
// name the object: the caller does. Errors of storage come through as they are.
package parquet
