package s3

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// The values of Config.Checksums.
const (
	// ChecksumsAuto sends and compares CRC32C until the server turns out not to know it.
	ChecksumsAuto = "auto"
	// ChecksumsOff leaves it to TCP, TLS and the signature.
	ChecksumsOff = "off"
)

// checksums says whether writes carry a CRC32C, which the server compares and keeps, and whether reads of whole objects
// compare what came with it. A server that answers a write with "not implemented" or the like is not asked again.
type checksums struct{ unknown atomic.Bool }

func (c *checksums) algorithm() types.ChecksumAlgorithm {
	if c.unknown.Load() {
		return ""
	}
	return types.ChecksumAlgorithmCrc32c
}

func (c *checksums) mode() types.ChecksumMode {
	if c.unknown.Load() {
		return ""
	}
	return types.ChecksumModeEnabled
}

// refused says that err may be about the checksum of a request that had one, and that it should be sent without.
func (c *checksums) refused(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || c.unknown.Load() {
		return false
	}
	switch api.ErrorCode() {
	case "NotImplemented", "XNotImplemented":
		return true
	case "InvalidArgument", "InvalidRequest", "MalformedTrailerError":
		text := strings.ToLower(api.ErrorMessage())
		return strings.Contains(text, "checksum") || strings.Contains(text, "trailer") || strings.Contains(text, "sdk")
	}
	return false
}

// putObject sends a small object, once more without a checksum if the server does not know those.
func (s *Store) putObject(ctx context.Context, input *awss3.PutObjectInput, rewind func()) (*awss3.PutObjectOutput, error) {
	input.ChecksumAlgorithm = s.checksums.algorithm()
	out, err := s.client.PutObject(ctx, input)
	if !s.checksums.refused(err) {
		return out, err
	}
	rewind()
	input.ChecksumAlgorithm = ""
	out, err = s.client.PutObject(ctx, input)
	if err == nil {
		s.checksums.unknown.Store(true)
	}
	return out, err
}

// createUpload begins a multipart upload, without checksums if the server does not know those.
func (s *Store) createUpload(ctx context.Context, key string) (id *string, algorithm types.ChecksumAlgorithm, err error) {
	input := &awss3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: &key, ChecksumAlgorithm: s.checksums.algorithm()}
	out, err := s.client.CreateMultipartUpload(ctx, input)
	if s.checksums.refused(err) {
		input.ChecksumAlgorithm = ""
		if out, err = s.client.CreateMultipartUpload(ctx, input); err == nil {
			s.checksums.unknown.Store(true)
		}
	}
	if err != nil {
		return nil, "", err
	}
	return out.UploadId, input.ChecksumAlgorithm, nil
}
