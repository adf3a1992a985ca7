package artifacts

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	devs3 "github.com/tidemill/tidemill/dev/s3"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/s3"
)

// server is the S3 that all tests of this package share: there can be only one in a process.
var server *devs3.Server

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "artifacts-test")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if server, err = devs3.Start(context.Background(), devs3.Config{DataDir: dir}); err != nil {
		return 1, err
	}
	return m.Run(), server.Stop()
}

var buckets atomic.Int64

// newBucket is a place below a prefix in an empty bucket of its own.
func newBucket(t *testing.T) storage.Store {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", buckets.Add(1))
	if err := server.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	client, err := s3.NewClient(t.Context(), s3.Config{
		Endpoint:  server.URL(),
		AccessKey: server.AccessKey(),
		SecretKey: storage.NewSecret(server.SecretKey()),
		PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return storage.Below(client.Bucket(name), "tidemill/production/")
}
