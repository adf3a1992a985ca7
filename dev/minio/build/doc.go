// Command build builds MinIO into the user's cache folder, if it is not there, for the tests that start it:
//
//	go run ./dev/minio/build
package main
