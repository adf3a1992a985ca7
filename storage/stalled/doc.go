// Package stalled gives up network connections on which nothing moves: a server that is gone without a word is noticed
// although nothing bounds a transfer as a whole. storage/s3 and storage/hdfs put it around what they dial.
package stalled
