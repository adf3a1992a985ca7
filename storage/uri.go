package storage

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The schemes of a URI.
const (
	SchemeS3   = "s3"
	SchemeFile = "file"
	SchemeHDFS = "hdfs"
)

// maxKey is S3's limit for a key, in bytes.
const maxKey = 1024

// URI names an object, or the prefix of many, for people and specs. Its text
// is taken literally, as S3's own tools do: no percent decoding, and ? and #
// are characters of the key.
type URI struct {
	Scheme string // SchemeS3, SchemeFile or SchemeHDFS
	Bucket string // empty for SchemeFile; a nameservice or host:port for SchemeHDFS
	Key    string // without the leading slash; may be empty or end in a slash
}

// ParseURI reads s3://bucket/key, file:///absolute/path or hdfs://nameservice/absolute/path. Its errors match
// ErrInvalid and quote the text.
func ParseURI(s string) (URI, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return URI{}, invalidURI(s, "it has no scheme: write s3://bucket/key, file:///path or hdfs://nameservice/path")
	}
	u := URI{Scheme: scheme}
	switch scheme {
	case SchemeS3:
		u.Bucket, u.Key, _ = strings.Cut(rest, "/")
		if reason := checkBucket(u.Bucket); reason != "" {
			return URI{}, invalidURI(s, reason)
		}
	case SchemeFile:
		if !strings.HasPrefix(rest, "/") {
			return URI{}, invalidURI(s, "a file has no host: write file:///path with three slashes")
		}
		u.Key = rest[1:]
		if reason := checkSegments(u.Key); reason != "" {
			return URI{}, invalidURI(s, reason)
		}
	case SchemeHDFS:
		u.Bucket, u.Key, _ = strings.Cut(rest, "/")
		reason := CheckAuthority(u.Bucket)
		if reason == "" {
			reason = checkSegments(u.Key)
		}
		if reason != "" {
			return URI{}, invalidURI(s, reason)
		}
	default:
		return URI{}, invalidURI(s, fmt.Sprintf("scheme %q is unknown: use s3, file or hdfs", scheme))
	}
	if reason := checkText(u.Key); reason != "" {
		return URI{}, invalidURI(s, reason)
	}
	return u, nil
}

// String is the text that ParseURI reads back as the same URI.
func (u URI) String() string { return u.Scheme + "://" + u.Bucket + "/" + u.Key }

// Join is the URI below u, with one slash between its key and each element.
// Elements are taken as they are; a slash at the end of the last one stays.
func (u URI) Join(elem ...string) URI {
	for _, e := range elem {
		if u.Key != "" {
			u.Key = strings.TrimSuffix(u.Key, "/") + "/"
		}
		u.Key += e
	}
	return u
}

// CheckKey reports a key that no store takes: empty, longer than 1024 bytes,
// not UTF-8, or with control characters. Its errors match ErrInvalid. A store
// may refuse more: storage/file has no keys with empty, "." or ".." segments.
func CheckKey(key string) error {
	reason := checkText(key)
	if key == "" {
		reason = "it is empty"
	}
	if reason != "" {
		return fmt.Errorf("check key %q: %w: %s", key, ErrInvalid, reason)
	}
	return nil
}

func invalidURI(s, reason string) error {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Errorf("parse URI %q: %w: %s", s, ErrInvalid, reason)
}

func checkText(key string) string {
	switch {
	case len(key) > maxKey:
		return fmt.Sprintf("the key has %d bytes, at most %d are allowed", len(key), maxKey)
	case !utf8.ValidString(key):
		return "the key is not UTF-8"
	case strings.ContainsFunc(key, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return "the key has a control character"
	}
	return ""
}

// checkBucket is looser than what AWS allows for new buckets: old ones may have
// capitals and underscores.
func checkBucket(bucket string) string {
	if bucket == "" {
		return "the bucket is missing: write s3://bucket/key"
	}
	if len(bucket) < 3 || len(bucket) > 255 {
		return fmt.Sprintf("bucket %q has %d characters, 3 to 255 are allowed", bucket, len(bucket))
	}
	for _, r := range bucket {
		if !isAlphanumeric(r) && !strings.ContainsRune(".-_", r) {
			return fmt.Sprintf("bucket %q has the character %q: letters, digits, '.', '-' and '_' are allowed", bucket, r)
		}
	}
	if !isAlphanumeric(rune(bucket[0])) || !isAlphanumeric(rune(bucket[len(bucket)-1])) {
		return fmt.Sprintf("bucket %q must begin and end with a letter or digit", bucket)
	}
	return ""
}

// CheckAuthority says what is wrong with the nameservice, host or host:port of an HDFS; empty if nothing is.
func CheckAuthority(authority string) string {
	name, port, hasPort := strings.Cut(authority, ":")
	if name == "" {
		return "the nameservice is missing: write hdfs://nameservice/path or hdfs://host:port/path"
	}
	if len(authority) > 255 {
		return fmt.Sprintf("nameservice %.20q… has %d characters, at most 255 are allowed", authority, len(authority))
	}
	for _, r := range name {
		if !isAlphanumeric(r) && !strings.ContainsRune(".-_", r) {
			return fmt.Sprintf("nameservice %q has the character %q: letters, digits, '.', '-' and '_' are allowed", authority, r)
		}
	}
	if number, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || number == 0 || port[0] == '0') {
		return fmt.Sprintf("nameservice %q has no port from 1 to 65535 behind its colon", authority)
	}
	return ""
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// checkSegments refuses what a file system would read as another path. A slash
// at the end says that it is a folder's.
func checkSegments(path string) string {
	if path == "" {
		return ""
	}
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
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
