// Package minio runs MinIO, an S3 server of another make than dev/s3, for tests: a process on loopback that dies with the
// one that started it.
//
// MinIO is under the AGPL. It is never linked or imported: `go install` builds its program once for a machine, in five
// minutes at most, into the user's cache folder.
package minio
