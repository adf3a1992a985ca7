package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	devs3 "github.com/tidemill/tidemill/dev/s3"
)

func TestStartServesAndStops(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(),
		// fasthttp leaves these two asleep, whatever one does; neither holds anything of the server's.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for range 2 { // a second server over the same folder finds what the first one left
		s, err := devs3.Start(t.Context(), devs3.Config{DataDir: dir, AccessKey: "who", SecretKey: "never-printed"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CreateBucket(t.Context(), "flights"); err != nil {
			t.Fatal(err)
		}
		response, err := http.Get(s.URL() + "/flights/missing")
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := response.StatusCode, http.StatusForbidden; got != want {
			t.Errorf("unsigned request: got status %d, want %d", got, want)
		}
		start := time.Now()
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("stop took %s", took)
		}
		if _, err := http.Get(s.URL()); err == nil {
			t.Error("still answers after stop")
		}
	}
	if after, err := os.Getwd(); err != nil || after != before {
		t.Errorf("got working directory %q (%v), want %q", after, err, before)
	}
}

func TestStartRefuses(t *testing.T) {
	tests := []struct {
		name   string
		config devs3.Config
		want   string
	}{
		{"relative folder", devs3.Config{DataDir: "data"}, "absolute"},
		{"half a pair of keys", devs3.Config{DataDir: t.TempDir(), AccessKey: "a"}, "both"},
		{"not loopback", devs3.Config{DataDir: t.TempDir(), Address: "0.0.0.0:0"}, "loopback"},
		{"no port", devs3.Config{DataDir: t.TempDir(), Address: "127.0.0.1"}, "missing port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := devs3.Start(t.Context(), tt.config)
			if err == nil {
				t.Fatal(s.Stop())
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %q, want one with %q", err, tt.want)
			}
		})
	}
}

func TestStartWithCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := devs3.Start(ctx, devs3.Config{DataDir: t.TempDir()})
	if err == nil { // it may have listened before it looked at the context
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}

const quietEnv = "TIDEMILL_TEST_QUIET" // the data folder, for the process of TestStaysQuiet

// A process that does nothing but serve S3 to clients that break off prints
// nothing of its own.
func TestStaysQuiet(t *testing.T) {
	if dir := os.Getenv(quietEnv); dir != "" {
		s, err := devs3.Start(t.Context(), devs3.Config{DataDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CreateBucket(t.Context(), "flights"); err != nil {
			t.Fatal(err)
		}
		breakConnections(t, s)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestStaysQuiet$", "-test.timeout=30s")
	cmd.Env = append(os.Environ(), quietEnv+"="+t.TempDir())
	output, err := cmd.CombinedOutput()
	if got, want := string(output), "PASS\n"; err != nil || got != want {
		t.Errorf("got %v and output %q, want %q", err, got, want)
	}
}

// breakConnections goes away in the middle of a header, of an upload and of a
// download, as a client that is killed does.
func breakConnections(t *testing.T, s *devs3.Server) {
	t.Helper()
	for _, text := range []string{
		"GET /flights HTTP/1.1\r\nHost: x",
		"PUT /flights/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
		"nonsense\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // a reset instead of an end
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	client := sdk.New(sdk.Options{
		BaseEndpoint: aws.String(s.URL()), Region: s.Region(), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey(), s.SecretKey(), ""),
	})
	ctx, cancel := context.WithCancel(t.Context())
	body := &cancelling{ReadSeeker: bytes.NewReader(make([]byte, 8<<20)), cancel: cancel}
	_, err := client.PutObject(ctx, &sdk.PutObjectInput{Bucket: aws.String("flights"), Key: aws.String("broken"), Body: body})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("broken upload: got error %v, want context.Canceled", err)
	}
}

// cancelling ends its context in the middle of being sent, the second time that
// it is read: the first is for the signature.
type cancelling struct {
	io.ReadSeeker
	starts, read int
	cancel       context.CancelFunc
}

func (c *cancelling) Seek(offset int64, whence int) (int64, error) {
	c.read = 0
	return c.ReadSeeker.Seek(offset, whence)
}

func (c *cancelling) Read(p []byte) (int, error) {
	if c.read == 0 {
		c.starts++
	}
	n, err := c.ReadSeeker.Read(p)
	c.read += n
	if c.starts > 1 && c.read > 2<<20 {
		c.cancel()
	}
	return n, err
}
