// Package audit keeps a record of who changed what, from where: JSON lines, one for each [Entry], in a file that is only
// ever added to, and that is put aside when it has grown large.
//
// The caller (api's middleware) writes an entry "asked" before a change is carried out and "answered" with the status
// after it, both with the same request ID, or one "refused" if it was not to be done at all. A line is with the operating
// system when [Log.Write] returns: it survives the end of the process, be it by kill -9, but the last ones may be lost with the
// machine's power. A change whose "asked" cannot be written must not be carried out.
package audit
