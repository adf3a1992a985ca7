// Package miniotest starts a MinIO for a test. Where its program has not been built yet, which takes minutes, such tests
// are skipped; with CI set in the environment it is built.
package miniotest
