// Package reread keeps what is made of small local files (tokens, certificates, keys) up to date: whoever asks for it
// has it made again when the files have changed. There is no goroutine and no watch: the files are looked at when
// somebody asks, at most once a second.
//
// New content that cannot be used changes nothing: the value stays as it was, and that is logged once and shown by Err.
// Files are compared by content, so that neither links nor the way of replacing them matter. Half a file may be a good one
// that says something else, so new content is used only when nobody has written to the files for a second, or when two
// looks, a second apart, find the same. A writer that pauses for longer is still seen half-way: replace files by a rename.
package reread
