// Package file is a storage.Store over a folder of a local or shared POSIX file
// system: for tests, single machines and mounted data.
//
// An object is a file; its key is its path below the root, with a fixed prefix
// in front if the store was opened with one. Nothing outside the root can be
// reached, not by ".." and not through symbolic links.
//
// How it keeps the promises of storage.Store:
//
//   - A Put writes and syncs a file in .tidemill/ below the root, then links or
//     renames it into place and syncs the folder: readers see the old version or the
//     new one, also after a crash.
//   - Writes and deletions of all processes take turns by flock(2) on
//     .tidemill/lock for that last step, so that no condition can be overtaken.
//   - The ETag is inode, modification time in nanoseconds, and size. Every Put
//     makes a new file and stamps it with its own time. Of files that others
//     change in place it tells two versions apart only as far as their times do.
//
// Limits: segments of keys must not be empty, "." or ".."; a key p and a key
// p/q cannot both exist; keys below .tidemill are refused. On NFS, locks need a
// server that supports them. Unfinished files of killed processes stay in
// .tidemill until someone removes them.
package file
