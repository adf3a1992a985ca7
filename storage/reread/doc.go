// Package reread keeps what is made of small local files (tokens, certificates, keys) up to date: whoever asks for it
// has it made again when the files have changed. There is no goroutine and no watch: the files are looked at when
// somebody asks, at most once a second.
//
// New content that cannot be used changes nothing: the value stays as it was, and that is logged once and shown by Err.
// Files are compared by content, so that neither clocks nor links nor the way of replacing them matter. Replace them by
// a rename all the same: half a file may be a good one that says something else.
package reread
