package s3

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	devs3 "github.com/tidemill/tidemill/dev/s3"
	"github.com/tidemill/tidemill/storage"
)

// server is the S3 that all tests of this package share: there can be only one
// in a process.
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
	// Whoever used these proxies for loopback, or these keys, would fail.
	for name, value := range map[string]string{
		"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1",
		"AWS_ACCESS_KEY_ID": "environment", "AWS_SECRET_ACCESS_KEY": "environment",
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	dir, err := os.MkdirTemp("", "s3-test")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	server, err = devs3.Start(context.Background(), devs3.Config{DataDir: dir})
	if err != nil {
		return 1, err
	}
	code = m.Run()
	if err := server.Stop(); err != nil {
		return 1, err
	}
	if code == 0 {
		err = goleak.Find(
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
	}
	return code, err
}

// serverConfig reaches the shared server at endpoint, with its keys.
func serverConfig(endpoint string) Config {
	return Config{
		Endpoint:  endpoint,
		AccessKey: server.AccessKey(),
		SecretKey: storage.NewSecret(server.SecretKey()),
		PathStyle: true,
	}
}

// connect makes a client that is closed with the test.
func connect(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := NewClient(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

var buckets atomic.Int64

// newBucket makes an empty bucket on the shared server.
func newBucket(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", buckets.Add(1))
	if err := server.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

// unfinished names the multipart uploads that were neither completed nor aborted.
func unfinished(t *testing.T, bucket string) []string {
	t.Helper()
	return unfinishedAt(t, serverConfig(server.URL()), bucket)
}

func unfinishedAt(t *testing.T, config Config, bucket string) []string {
	t.Helper()
	out, err := connect(t, config).sdk.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, upload := range out.Uploads {
		names = append(names, aws.ToString(upload.Key)+" "+aws.ToString(upload.UploadId))
	}
	return names
}

// withoutKeys fails the test if text shows a key.
func withoutKeys(t *testing.T, text string) {
	t.Helper()
	for _, key := range []string{server.SecretKey(), server.AccessKey()} {
		if strings.Contains(text, key) {
			t.Errorf("text shows a key: %s", text)
		}
	}
}
