package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// CreateBucket makes a bucket of the root account; one that is there already is
// no error.
func (s *Server) CreateBucket(ctx context.Context, name string) error {
	url := s.URL()
	client := s3.New(s3.Options{
		BaseEndpoint: &url,
		Region:       s.Region(),
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey(), s.SecretKey(), ""),
	})
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	if _, owned := errors.AsType[*types.BucketAlreadyOwnedByYou](err); err != nil && !owned {
		return fmt.Errorf("create bucket %q: %w", name, err)
	}
	return nil
}
