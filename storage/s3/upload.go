package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/storage"
)

const (
	// largestPut is the most bytes that one PutObject sends; more go in parts.
	largestPut = 16 << 20
	partSize   = 8 << 20
	mostParts  = 10_000 // S3's limit
	// parallelParts of one upload share the network with the other tasks.
	parallelParts = 4
	partAttempts  = 4
	abortTimeout  = 30 * time.Second
)

// Put implements storage.Store: one request, or a multipart upload whose
// completion carries the condition.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	if err := storage.CheckKey(key); err != nil {
		return storage.Object{}, err
	}
	if size < 0 {
		return storage.Object{}, &storage.Error{Op: "put", URI: s.uri(key), Kind: storage.ErrInvalid, Cause: fmt.Errorf("size %d", size)}
	}
	if etag, ok := cond.Match(); ok && etag == "" {
		return storage.Object{}, &storage.Error{Op: "put", URI: s.uri(key), Kind: storage.ErrCondition, Cause: errors.New("no version has an empty ETag")}
	}
	var etag string
	var err error
	if size <= largestPut {
		etag, err = s.putWhole(ctx, key, body, size, cond)
	} else {
		etag, err = s.putParts(ctx, key, body, size, cond)
	}
	if err != nil {
		return storage.Object{}, err
	}
	s.seen.Store(true)
	return storage.Object{Key: key, Size: size, ETag: etag}, nil
}

func (s *Store) putWhole(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (string, error) {
	source := &readerAtErrors{ReaderAt: body}
	input := &awss3.PutObjectInput{Bucket: &s.bucket, Key: &key, ContentLength: &size}
	rewind := func() { input.Body = io.NewSectionReader(source, 0, size) }
	rewind()
	input.IfMatch, input.IfNoneMatch = headers(cond)
	out, err := s.putObject(ctx, input, rewind)
	if err != nil {
		return "", s.putFailure(ctx, key, cond, source, err)
	}
	return unquote(out.ETag), nil
}

func (s *Store) putParts(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (string, error) {
	source := &readerAtErrors{ReaderAt: body}
	id, algorithm, err := s.createUpload(ctx, key)
	if err != nil {
		return "", failure(ctx, "put", s.uri(key), err)
	}
	etag, err := s.completeParts(ctx, upload{key, id, algorithm}, source, size, cond)
	if err == nil {
		return etag, nil
	}
	err = s.putFailure(ctx, key, cond, source, err)
	if abortErr := s.abort(ctx, key, id); abortErr != nil {
		return "", fmt.Errorf("%w; the parts that were uploaded remain: %v", err, abortErr)
	}
	return "", err
}

// upload is a multipart upload that has begun.
type upload struct {
	key       string
	id        *string
	algorithm types.ChecksumAlgorithm // of its parts; empty: none
}

func (s *Store) completeParts(ctx context.Context, u upload, source io.ReaderAt, size int64, cond storage.Condition) (string, error) {
	each := max(partSize, (size+mostParts-1)/mostParts)
	parts := make([]types.CompletedPart, (size+each-1)/each)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelParts)
	for i := range parts {
		group.Go(func() error {
			offset := int64(i) * each
			part, err := s.uploadPart(groupCtx, u, int32(i+1), io.NewSectionReader(source, offset, min(each, size-offset)))
			parts[i] = part
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	input := &awss3.CompleteMultipartUploadInput{
		Bucket:          &s.bucket,
		Key:             &u.key,
		UploadId:        u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	input.IfMatch, input.IfNoneMatch = headers(cond)
	out, err := s.client.CompleteMultipartUpload(ctx, input)
	if err != nil {
		return "", err
	}
	return unquote(out.ETag), nil
}

// uploadPart tries a few times by itself: a part is small beside the upload.
func (s *Store) uploadPart(ctx context.Context, u upload, number int32, body *io.SectionReader) (types.CompletedPart, error) {
	out, err := s.client.UploadPart(ctx, &awss3.UploadPartInput{
		Bucket:            &s.bucket,
		Key:               &u.key,
		UploadId:          u.id,
		PartNumber:        &number,
		Body:              body,
		ContentLength:     aws.Int64(body.Size()),
		ChecksumAlgorithm: u.algorithm,
	}, func(o *awss3.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = partAttempts
			o.MaxBackoff = 2 * time.Second
		})
	})
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{ETag: out.ETag, PartNumber: &number, ChecksumCRC32C: out.ChecksumCRC32C}, nil
}

// abort removes the parts, also when ctx has ended. An upload that is not there
// has been completed or removed.
func (s *Store) abort(ctx context.Context, key string, upload *string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &key, UploadId: upload})
	if _, gone := errors.AsType[*types.NoSuchUpload](err); err == nil || gone {
		return nil
	}
	return failure(ctx, "abort upload to", s.uri(key), err)
}

// putFailure is failure for a write: an unreadable body is final, and
// a version that is gone altogether does not match either.
func (s *Store) putFailure(ctx context.Context, key string, cond storage.Condition, source *readerAtErrors, err error) error {
	if local := source.failed(); local != nil {
		return &storage.Error{Op: "put", URI: s.uri(key), Kind: storage.ErrInvalid, Cause: fmt.Errorf("read what to write: %w", local)}
	}
	err = failure(ctx, "put", s.uri(key), err)
	if _, match := cond.Match(); match && errors.Is(err, storage.ErrNotFound) {
		return &storage.Error{Op: "put", URI: s.uri(key), Kind: storage.ErrCondition, Cause: errors.New("the object is gone")}
	}
	return err
}

func headers(cond storage.Condition) (match, noneMatch *string) {
	if etag, ok := cond.Match(); ok {
		return quote(etag), nil
	}
	if cond.Absent() {
		return nil, aws.String("*")
	}
	return nil, nil
}
