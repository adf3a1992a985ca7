package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// versitygw prints to standard error whenever a client goes away in the middle
// of something, which executors that are killed do all the time. There is no
// option against it, so these two places keep such errors from its printer.

// readyPath is no valid bucket's name.
const readyPath = "/-ready"

// quietConnections is a route that, at its first request, makes the HTTP server
// answer broken connections by itself. Only a handler can get hold of that server.
func quietConnections() s3api.Option {
	var once sync.Once
	return s3api.WithRoute(http.MethodGet, readyPath, func(c fiber.Ctx) error {
		once.Do(func() {
			c.App().Server().ErrorHandler = func(ctx *fasthttp.RequestCtx, _ error) {
				ctx.Error("cannot read the request", http.StatusBadRequest)
			}
		})
		return c.SendStatus(http.StatusNoContent)
	})
}

// askReady sends the request that quietConnections waits for.
func askReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+readyPath, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("ask whether it is ready: status %s", response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// quietRequests gives an S3 error to uploads whose body ended early, and to
// requests that are under way when the server stops.
type quietRequests struct{ backend.Backend }

func (b quietRequests) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	out, err := b.Backend.PutObject(ctx, in)
	return out, incomplete(err)
}

func (b quietRequests) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	out, err := b.Backend.UploadPart(ctx, in)
	return out, incomplete(err)
}

// Each request asks for these before its own work; they fail when the server stops at that moment.

func (b quietRequests) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	out, err := b.Backend.GetBucketAcl(ctx, in)
	return out, incomplete(err)
}

func (b quietRequests) GetBucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	out, err := b.Backend.GetBucketPolicy(ctx, bucket)
	return out, incomplete(err)
}

func (b quietRequests) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	out, err := b.Backend.GetObjectLockConfiguration(ctx, bucket)
	return out, incomplete(err)
}

func incomplete(err error) error {
	_, broken := errors.AsType[net.Error](err)
	if broken || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		return s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return err
}
