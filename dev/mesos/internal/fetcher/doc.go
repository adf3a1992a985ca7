// Package fetcher brings the URIs of a command into a sandbox, as Mesos' fetcher
// does: http(s) and local paths, a cache shared by all containers of an agent, the
// executable bit, output files. Archives are unpacked when they are .tar, .tar.gz,
// .tgz or .zip.
//
// The cache is keyed by user and URI and never asks again whether something
// changed. Concurrent fetches of one URI share one download. It lives in a
// directory and survives the agent: what is there under its final name is whole.
// Sandboxes hold hard links to it where the file system allows, so a cached file is
// read-only: a program that wants to change it replaces it, which leaves the others
// alone. The caller gives back the room of what is not used any more with Collect.
package fetcher
