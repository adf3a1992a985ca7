package jobs

import (
	"fmt"
	"strings"
)

// uriPattern is a part of what NormalURI checks, for the schema.
const uriPattern = `^(s3://[A-Za-z0-9][A-Za-z0-9._-]+|file:///)`

// maxURI bounds a URI in a spec. S3 itself allows 1024 bytes of key; results need some of them below the prefix.
const maxURI = 700

// NormalURI checks the form of s3://bucket/key or file:///path and returns it with a slash after the bucket.
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
	default:
		return "", "unknown scheme " + excerpt(scheme) + "; use s3 or file"
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
