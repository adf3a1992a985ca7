package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemill/tidemill/dev/minio"
	"github.com/tidemill/tidemill/dev/minio/miniotest"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/storagetest"
)

// conformance runs the suite on a server, with a function that makes an empty bucket.
func conformance(t *testing.T, config Config, newBucket func(t *testing.T) string) {
	t.Helper()
	client := connect(t, config)
	wrong := config
	wrong.SecretKey = storage.NewSecret("not-the-secret")
	names := map[storage.Store]string{}
	storagetest.Run(t, storagetest.Target{
		Empty: func(t *testing.T) storage.Store {
			name := newBucket(t)
			s := storage.Store(client.Bucket(name))
			names[s] = name
			return s
		},
		Missing: client.Bucket("no-such-bucket"),
		Denied:  connect(t, wrong).Bucket(newBucket(t)),
		Leftovers: func(t *testing.T, s storage.Store) []string {
			t.Helper()
			return unfinishedAt(t, config, names[s])
		},
	})
}

func TestConformance(t *testing.T) {
	conformance(t, serverConfig(server.URL()), newBucket)
}

func TestConformanceOfMinIO(t *testing.T) {
	config := Config{
		Endpoint:  miniotest.Start(t).URL(),
		AccessKey: minio.AccessKey,
		SecretKey: storage.NewSecret(minio.SecretKey),
		PathStyle: true,
	}
	conformance(t, config, func(t *testing.T) string {
		t.Helper()
		name := fmt.Sprintf("bucket-%d", buckets.Add(1))
		if _, err := connect(t, config).sdk.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
		return name
	})
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := connect(t, serverConfig("http://"+l.Addr().String())).Bucket("flights")
	_, err = s.Stat(t.Context(), "2013/01.csv")
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got error %v, want ErrUnavailable", err)
	}
	for _, part := range []string{"s3://flights/2013/01.csv", "refused"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got error %q, want one with %q", err, part)
		}
	}
	withoutKeys(t, err.Error())
}

func TestDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := newClient(t.Context(), serverConfig("http://"+l.Addr().String()), 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.Bucket("flights").Stat(t.Context(), "k")
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("silent server: got error %v, want ErrUnavailable", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = connect(t, serverConfig("http://"+l.Addr().String())).Bucket("flights").Stat(ctx, "k")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("deadline of the caller: got error %v, want context.DeadlineExceeded alone", err)
	}
}
