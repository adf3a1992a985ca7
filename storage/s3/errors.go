package s3

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/tidemill/tidemill/storage"
)

// kinds maps S3's error codes where the HTTP status alone would mislead.
var kinds = map[string]error{
	"NoSuchKey":                  storage.ErrNotFound,
	"NotFound":                   storage.ErrNotFound,
	"NoSuchBucket":               storage.ErrNoBucket,
	"PreconditionFailed":         storage.ErrCondition,
	"InvalidAccessKeyId":         storage.ErrDenied,
	"XAdminUserNotFound":         storage.ErrDenied, // versitygw's InvalidAccessKeyId, with status 404
	"ExpiredToken":               storage.ErrDenied,
	"InvalidToken":               storage.ErrDenied,
	"TokenRefreshRequired":       storage.ErrDenied,
	"BadDigest":                  storage.ErrUnavailable, // damaged on the way
	"IncompleteBody":             storage.ErrUnavailable,
	"RequestTimeout":             storage.ErrUnavailable,
	"ConditionalRequestConflict": storage.ErrUnavailable, // two conditional writes met; neither answer is final
	"OperationAborted":           storage.ErrUnavailable,
	"NoSuchUpload":               storage.ErrUnavailable, // removed meanwhile; the next try starts a new one
	"Throttling":                 storage.ErrUnavailable,
	"ThrottlingException":        storage.ErrUnavailable,
	"RequestLimitExceeded":       storage.ErrUnavailable,
}

// detail shortens what the SDK says and keeps it for errors.As.
type detail struct {
	text string
	err  error
}

func (d detail) Error() string { return d.text }
func (d detail) Unwrap() error { return d.err }

// failure turns an error of the SDK, or of reading a body, into a storage.Error.
func failure(ctx context.Context, op, uri string, err error) error {
	kind, cause := classify(err)
	if ctx.Err() != nil {
		return &storage.Error{Op: op, URI: uri, Kind: ctx.Err()}
	}
	return &storage.Error{Op: op, URI: uri, Kind: kind, Cause: cause}
}

func classify(err error) (kind, cause error) {
	if keys, ok := errors.AsType[credentialsError](err); ok {
		text := "find keys in the environment, the shared files or the instance's role: " + keys.Error()
		return storage.ErrDenied, detail{text, err}
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		text := api.ErrorCode()
		if m := api.ErrorMessage(); m != "" {
			text += ": " + m
		}
		return codeKind(api.ErrorCode(), status(err)), detail{text, err}
	}
	if sent, ok := errors.AsType[*url.Error](err); ok {
		return storage.ErrUnavailable, detail{sent.Err.Error(), err}
	}
	if code := status(err); code != 0 {
		return statusKind(code), err
	}
	return storage.ErrUnavailable, err
}

func codeKind(code string, status int) error {
	if kind, ok := kinds[code]; ok {
		return kind
	}
	if status == 0 { // the error of one key in a batch has no status of its own
		return kindWithoutStatus(code)
	}
	return statusKind(status)
}

func kindWithoutStatus(code string) error {
	switch code {
	case "AccessDenied":
		return storage.ErrDenied
	case "InternalError", "SlowDown", "ServiceUnavailable":
		return storage.ErrUnavailable
	}
	return storage.ErrInvalid
}

func statusKind(status int) error {
	switch {
	case status == http.StatusNotFound:
		return storage.ErrNotFound
	case status == http.StatusPreconditionFailed:
		return storage.ErrCondition
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return storage.ErrDenied
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return storage.ErrUnavailable
	case status >= 300: // a redirect means another region or endpoint
		return storage.ErrInvalid
	}
	return storage.ErrUnavailable // a success that could not be read
}

// status is the HTTP status of err, 0 if there was no answer.
func status(err error) int {
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return answer.HTTPStatusCode()
	}
	return 0
}
