package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/tidemill/tidemill/storage"
)

// deleteBatch is the most keys that one DeleteObjects takes.
const deleteBatch = 1000

// Store is one bucket.
type Store struct {
	client *awss3.Client
	bucket string
	seen   atomic.Bool // the bucket is known to exist
	// of the client, for what all its stores learn
	checksums *checksums
}

var _ storage.Store = (*Store)(nil)

func (s *Store) uri(key string) string {
	return storage.URI{Scheme: storage.SchemeS3, Bucket: s.bucket, Key: key}.String()
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		input := &awss3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix}
		if after != "" {
			input.StartAfter = &after
		}
		pages := awss3.NewListObjectsV2Paginator(s.client, input)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(storage.Object{}, failure(ctx, "list", s.uri(prefix), err))
				return
			}
			s.seen.Store(true)
			for _, found := range page.Contents {
				obj := storage.Object{
					Key:      aws.ToString(found.Key),
					Size:     aws.ToInt64(found.Size),
					ETag:     unquote(found.ETag),
					Modified: aws.ToTime(found.LastModified).Truncate(time.Second), // as the other calls give it
				}
				if !yield(obj, nil) {
					return
				}
			}
		}
	}
}

// Stat implements storage.Store. For a missing object it asks once whether the
// bucket is there, since the answer to HEAD does not say what is missing.
func (s *Store) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := storage.CheckKey(key); err != nil {
		return storage.Object{}, err
	}
	out, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		err = failure(ctx, "stat", s.uri(key), err)
		if errors.Is(err, storage.ErrNotFound) && !s.seen.Load() {
			if bucketErr := s.checkBucket(ctx); bucketErr != nil {
				return storage.Object{}, bucketErr
			}
		}
		return storage.Object{}, err
	}
	s.seen.Store(true)
	return storage.Object{
		Key:      key,
		Size:     aws.ToInt64(out.ContentLength),
		ETag:     unquote(out.ETag),
		Modified: aws.ToTime(out.LastModified),
	}, nil
}

func (s *Store) checkBucket(ctx context.Context) error {
	_, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &s.bucket})
	if err == nil {
		s.seen.Store(true)
		return nil
	}
	err = failure(ctx, "find bucket", s.uri(""), err)
	if errors.Is(err, storage.ErrNotFound) {
		return &storage.Error{Op: "find bucket", URI: s.uri(""), Kind: storage.ErrNoBucket}
	}
	return err
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, storage.Object{}, err
	}
	if r.Offset < 0 || r.Length < 0 {
		return nil, storage.Object{}, s.badRange(key, r)
	}
	input := &awss3.GetObjectInput{Bucket: &s.bucket, Key: &key}
	if r.ETag != "" {
		input.IfMatch = quote(r.ETag)
	}
	switch {
	case r.Length > 0:
		input.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1))
	case r.Offset > 0:
		input.Range = aws.String(fmt.Sprintf("bytes=%d-", r.Offset))
	default:
		input.ChecksumMode = s.checksums.mode() // servers give none for ranges
	}
	out, err := s.client.GetObject(ctx, input)
	if err != nil {
		if status(err) != http.StatusRequestedRangeNotSatisfiable {
			return nil, storage.Object{}, failure(ctx, "get", s.uri(key), err)
		}
		if r.Offset == 0 { // an empty object has no first byte
			return s.Get(ctx, key, storage.Range{ETag: r.ETag})
		}
		return nil, storage.Object{}, s.badRange(key, r)
	}
	s.seen.Store(true)
	length := aws.ToInt64(out.ContentLength)
	obj := storage.Object{
		Key:      key,
		Size:     wholeSize(out.ContentRange, length),
		ETag:     unquote(out.ETag),
		Modified: aws.ToTime(out.LastModified),
	}
	return &body{ctx: ctx, uri: s.uri(key), stream: out.Body, left: length}, obj, nil
}

func (s *Store) badRange(key string, r storage.Range) error {
	return &storage.Error{
		Op: "get", URI: s.uri(key), Kind: storage.ErrInvalid,
		Cause: fmt.Errorf("the object has no range %d+%d", r.Offset, r.Length),
	}
}

// wholeSize is the size behind the slash of "bytes 0-9/100", or length.
func wholeSize(contentRange *string, length int64) int64 {
	if contentRange == nil {
		return length
	}
	_, total, _ := strings.Cut(*contentRange, "/")
	if size, err := strconv.ParseInt(total, 10, 64); err == nil {
		return size
	}
	return length
}

// body gives the errors of a stream their kind.
type body struct {
	ctx    context.Context
	uri    string
	stream io.ReadCloser
	left   int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.stream.Read(p)
	b.left -= int64(n)
	if err == nil || err == io.EOF && b.left <= 0 {
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, failure(b.ctx, "read", b.uri, err)
}

func (b *body) Close() error {
	if err := b.stream.Close(); err != nil {
		return failure(b.ctx, "close", b.uri, err)
	}
	return nil
}

// Copy implements storage.Store, for objects of up to 5 GiB.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	if err := errors.Join(storage.CheckKey(from), storage.CheckKey(to)); err != nil {
		return err
	}
	source := s.bucket + "/" + strings.ReplaceAll(url.QueryEscape(from), "+", "%20")
	_, err := s.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &s.bucket, Key: &to, CopySource: &source})
	if err != nil {
		return failure(ctx, "copy", s.uri(from), err)
	}
	return nil
}

// Delete implements storage.Store, a thousand keys a request.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := storage.CheckKey(key); err != nil {
			return err
		}
	}
	for len(keys) > 0 {
		n := min(len(keys), deleteBatch)
		if err := s.deleteBatch(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (s *Store) deleteBatch(ctx context.Context, keys []string) error {
	batch := make([]types.ObjectIdentifier, len(keys))
	for i := range keys {
		batch[i].Key = &keys[i]
	}
	out, err := s.client.DeleteObjects(ctx, &awss3.DeleteObjectsInput{
		Bucket: &s.bucket,
		Delete: &types.Delete{Objects: batch, Quiet: aws.Bool(true)},
	})
	if err != nil {
		return failure(ctx, "delete", s.uri(keys[0]), err)
	}
	for _, failed := range out.Errors {
		code := aws.ToString(failed.Code)
		kind := codeKind(code, 0)
		if errors.Is(kind, storage.ErrNotFound) {
			continue
		}
		return &storage.Error{
			Op: "delete", URI: s.uri(aws.ToString(failed.Key)), Kind: kind,
			Cause: fmt.Errorf("%s: %s (%d of %d keys failed)", code, aws.ToString(failed.Message), len(out.Errors), len(keys)),
		}
	}
	return nil
}

func quote(etag string) *string { return aws.String(`"` + etag + `"`) }

func unquote(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }
