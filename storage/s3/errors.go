package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/tidemill/tidemill/storage"
)

// kinds maps S3's error codes where the HTTP status alone would mislead.
var kinds = map[string]error{
	"NoSuchKey":                   storage.ErrNotFound,
	"NotFound":                    storage.ErrNotFound,
	"NoSuchBucket":                storage.ErrNoBucket,
	"PreconditionFailed":          storage.ErrCondition,
	"InvalidAccessKeyId":          storage.ErrDenied,
	"XAdminUserNotFound":          storage.ErrDenied, // versitygw's InvalidAccessKeyId, with status 404
	"ExpiredToken":                storage.ErrDenied,
	"InvalidToken":                storage.ErrDenied,
	"TokenRefreshRequired":        storage.ErrDenied,
	"BadDigest":                   storage.ErrUnavailable, // damaged on the way
	"XAmzContentSHA256Mismatch":   storage.ErrUnavailable,
	"XAmzContentChecksumMismatch": storage.ErrUnavailable,
	"IncompleteBody":              storage.ErrUnavailable,
	"RequestTimeout":              storage.ErrUnavailable,
	"ConditionalRequestConflict":  storage.ErrUnavailable, // two conditional writes met; neither answer is final
	"OperationAborted":            storage.ErrUnavailable,
	"RequestTimeTooSkewed":        storage.ErrUnavailable, // the SDK has learnt the server's time from the answer
	"NoSuchUpload":                storage.ErrUnavailable, // removed meanwhile; the next try starts a new one
	"Throttling":                  storage.ErrUnavailable,
	"ThrottlingException":         storage.ErrUnavailable,
	"RequestLimitExceeded":        storage.ErrUnavailable,
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
	return &storage.Error{Op: op, URI: uri, Kind: kind, Cause: cause, After: retryAfter(err)}
}

// retryAfter is how many seconds a server asks to wait.
func retryAfter(err error) time.Duration {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.Response == nil {
		return 0
	}
	seconds, err := strconv.ParseUint(answer.Response.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// inRegion is the region in the message of AuthorizationHeaderMalformed.
var inRegion = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)

// advice says what to do about an error that names nothing that people could change; empty for others.
func advice(err error) string {
	code, message := "", ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.Response == nil {
		return ""
	}
	switch {
	case answer.HTTPStatusCode() == http.StatusMovedPermanently, answer.HTTPStatusCode() == http.StatusTemporaryRedirect,
		code == "PermanentRedirect", code == "AuthorizationHeaderMalformed", code == "IllegalLocationConstraintException":
		region := answer.Response.Header.Get("X-Amz-Bucket-Region")
		if found := inRegion.FindStringSubmatch(message); region == "" && found != nil {
			region = found[1]
		}
		if region == "" {
			return `the bucket is in another region or at another endpoint: set "region" or "endpoint" in the connection`
		}
		return fmt.Sprintf("the bucket is in region %s: set \"region\" in the connection", region)
	case code == "RequestTimeTooSkewed":
		theirs, err := http.ParseTime(answer.Response.Header.Get("Date"))
		if err != nil {
			return "correct this machine's clock"
		}
		return fmt.Sprintf("correct this machine's clock: it differs by %s from the server's", time.Since(theirs).Round(time.Second).Abs())
	}
	return ""
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
		if what := advice(err); what != "" {
			text += ": " + what
		}
		return codeKind(api.ErrorCode(), status(err)), detail{text, err}
	}
	if sent, ok := errors.AsType[*url.Error](err); ok {
		return storage.ErrUnavailable, detail{sent.Err.Error(), err}
	}
	if code := status(err); code != 0 {
		if what := advice(err); what != "" {
			return statusKind(code), detail{what, err}
		}
		return statusKind(code), err
	}
	if strings.Contains(err.Error(), "checksum did not match") { // of a body; the SDK has no type for it
		return storage.ErrUnavailable, fmt.Errorf("%w: %w", storage.ErrDamaged, err)
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
