package jobs

import (
	"fmt"
	"strconv"
	"strings"
)

// uriPattern is a part of what NormalURI checks, for the schema.
const uriPattern = `^(s3://[A-Za-z0-9][A-Za-z0-9._-]+|file:///|hdfs://[A-Za-z0-9._-]+(:[1-9][0-9]*)?/)`

// maxURI bounds a URI in a spec. S3 itself allows 1024 bytes of key; results need some of them below the prefix.
const maxURI = 700

// NormalURI checks the form of s3://bucket/key, file:///path or hdfs://nameservice/path and returns it with a slash after
// the bucket.
// The text is literal: no percent decoding, and ? and # are characters of the key. detail says what is wrong with it.
func NormalURI(s string) (normal, detail string) {
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case !ok:
		return "", "want a URI such as \"s3://bucket/prefix/\", got " + excerpt(s)
	case len(s) > maxURI:
		return "", fmt.Sprintf("the URI has %d bytes; at most %d are allowed", len(s), maxURI)
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return "", "the URI has a control character"
	}
	switch scheme {
	case "s3":
		bucket, key, _ := strings.Cut(rest, "/")
		if detail := bucketProblem(bucket); detail != "" {
			return "", detail
		}
		return "s3://" + bucket + "/" + key, ""
	case "file":
		path, ok := strings.CutPrefix(rest, "/")
		if !ok {
			return "", "a file has no host: write file:///path with three slashes"
		}
		return s, segmentsProblem(strings.TrimSuffix(path, "/"))
	case "hdfs":
		authority, path, ok := strings.Cut(rest, "/")
		if detail := authorityProblem(authority); detail != "" {
			return "", detail
		}
		if !ok {
			return "", "the path is missing: write hdfs://nameservice/path"
		}
		return s, segmentsProblem(strings.TrimSuffix(path, "/"))
	default:
		return "", "unknown scheme " + excerpt(scheme) + "; use s3, file or hdfs"
	}
}

// normalPrefix is NormalURI for a prefix, to which it adds the slash at the end.
func normalPrefix(s string) (normal, detail string) {
	normal, detail = NormalURI(s)
	if detail != "" {
		return "", detail
	}
	if strings.ContainsAny(normal, "*?") {
		return "", "want a prefix without * and ?"
	}
	return strings.TrimSuffix(normal, "/") + "/", ""
}

// bucketProblem is looser than S3's rule for new buckets: old ones may have capitals and underscores.
func bucketProblem(bucket string) string {
	alphanumeric := func(b byte) bool {
		return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
	}
	if bucket == "" {
		return "the bucket is missing: write s3://bucket/prefix/"
	}
	if len(bucket) < 3 || len(bucket) > 255 {
		return fmt.Sprintf("bucket %s has %s; 3 to 255 are allowed", excerpt(bucket), plural(len(bucket), "character"))
	}
	for i, r := range bucket {
		if r > 0x7f || !alphanumeric(bucket[i]) && !strings.ContainsRune(".-_", r) {
			return fmt.Sprintf("bucket %s has %q, which is not allowed; it has A-Z a-z 0-9 . - _", excerpt(bucket), r)
		}
	}
	if !alphanumeric(bucket[0]) || !alphanumeric(bucket[len(bucket)-1]) {
		return fmt.Sprintf("bucket %s must begin and end with a letter or digit", excerpt(bucket))
	}
	return ""
}

// authorityProblem is about the name of an HDFS, or host:port of its name node.
func authorityProblem(authority string) string {
	name, port, hasPort := strings.Cut(authority, ":")
	if name == "" {
		return "the nameservice is missing: write hdfs://nameservice/path or hdfs://host:port/path"
	}
	for _, r := range name {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_", r)) {
			return fmt.Sprintf("nameservice %s has %q, which is not allowed; it has A-Z a-z 0-9 . - _", excerpt(authority), r)
		}
	}
	if number, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || number == 0 || port[0] == '0') {
		return "nameservice " + excerpt(authority) + " has no port from 1 to 65535 behind its colon"
	}
	return ""
}

// segmentsProblem refuses what a file system would read as another path.
func segmentsProblem(path string) string {
	if path == "" {
		return "the path is empty"
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "":
			return "the path has an empty segment"
		case ".", "..":
			return fmt.Sprintf("the path has the segment %q", segment)
		}
	}
	return ""
}
