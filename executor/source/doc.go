// Package source gives the rows of an input to the engine: the listed files of package input as relations in SQL, with
// the columns that are used and their types, whatever the format and however the files differ from one another.
//
// A [Source] looks at the files ([Source.Look]: columns and their types, row groups), leaves out folders and row groups in
// which no row can matter ([Source.Prune]), and reads them batch by batch ([Source.Rows]): of text, plain rows in scratch
// files of limited size; of Parquet, the byte ranges that are needed, at their places in sparse ones.
//
//   - Declared types win; the others are the narrowest that hold what the heads of some files of text have, or what the
//     footers of Parquet say. Types of one column in several files become one that holds the values of all; see unify.
//   - A column that a file lacks is missing in its rows. Columns in the names of folders win over those inside files.
//   - A value that does not fit its column, or would change in it without a word, makes its row a bad one: [BadRows].
//
// The stages that read input call it: of kind aggregate plan and map, of kind sql the only one. Errors are a
// *task.Failure where they are about data or the spec; those of storage come as they are.
package source
