package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	client "github.com/colinmarc/hdfs/v2"

	"github.com/tidemill/tidemill/storage"
)

// exceptions maps those of name nodes. Others, such as a plain java.io.IOException, may pass.
var exceptions = map[string]error{
	"java.io.FileNotFoundException":                                                  storage.ErrNotFound,
	"org.apache.hadoop.fs.PathNotFoundException":                                     storage.ErrNotFound,
	"org.apache.hadoop.security.AccessControlException":                              storage.ErrDenied,
	"org.apache.hadoop.security.authorize.AuthorizationException":                    storage.ErrDenied,
	"org.apache.hadoop.fs.ParentNotDirectoryException":                               storage.ErrInvalid,
	"org.apache.hadoop.fs.FileAlreadyExistsException":                                storage.ErrInvalid,
	"org.apache.hadoop.fs.PathIsNotEmptyDirectoryException":                          storage.ErrInvalid,
	"org.apache.hadoop.fs.InvalidPathException":                                      storage.ErrInvalid,
	"org.apache.hadoop.HadoopIllegalArgumentException":                               storage.ErrInvalid,
	"java.lang.IllegalArgumentException":                                             storage.ErrInvalid,
	"org.apache.hadoop.hdfs.protocol.NSQuotaExceededException":                       storage.ErrInvalid,
	"org.apache.hadoop.hdfs.protocol.DSQuotaExceededException":                       storage.ErrInvalid,
	"org.apache.hadoop.hdfs.protocol.QuotaByStorageTypeExceededException":            storage.ErrInvalid,
	"org.apache.hadoop.hdfs.protocol.FSLimitException$MaxDirectoryItemsExceeded":     storage.ErrInvalid,
	"org.apache.hadoop.hdfs.protocol.FSLimitException$PathComponentTooLong":          storage.ErrInvalid,
	"org.apache.hadoop.hdfs.protocol.FSLimitException$PathComponentTooLongException": storage.ErrInvalid,
}

// kind is the sentinel that err belongs to.
func kind(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded,
		storage.ErrNoBucket, storage.ErrCondition, storage.ErrDenied, storage.ErrUnavailable, storage.ErrInvalid} {
		if errors.Is(err, known) {
			return known
		}
	}
	if remote, ok := remoteError(err); ok {
		if kind, ok := exceptions[remote.Exception()]; ok {
			return kind
		}
		return storage.ErrUnavailable
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return storage.ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		return storage.ErrDenied
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrInvalid), errors.Is(err, syscall.ENOTEMPTY):
		return storage.ErrInvalid
	}
	return storage.ErrUnavailable
}

// answered says that err is what a name node said, so that the connection is in order.
func answered(err error) bool {
	if _, ok := remoteError(err); ok {
		return true
	}
	for _, known := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, fs.ErrInvalid, syscall.ENOTEMPTY,
		storage.ErrCondition, storage.ErrInvalid, storage.ErrNoBucket} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// failure makes a storage.Error. The context's error counts more than what it led to.
func (s *Store) failure(ctx context.Context, op, key string, err error) error {
	if ctx.Err() != nil {
		return &storage.Error{Op: op, URI: s.uri(key), Kind: ctx.Err()}
	}
	if failed, ok := errors.AsType[*storage.Error](err); ok {
		return failed
	}
	return &storage.Error{Op: op, URI: s.uri(key), Kind: kind(err), Cause: s.explain(err)}
}

// explain shortens what name nodes say, which is a stack trace, and adds what to do.
func (s *Store) explain(err error) error {
	if remote, ok := remoteError(err); ok {
		text, _, _ := strings.Cut(remote.Message(), "\n")
		if text == "" {
			text = remote.Exception()
		}
		return detail{text, err}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the user %s may not: %w", s.pool.user(), err)
	case s.pool.client.config.Kerberos == (Kerberos{}) && strings.Contains(err.Error(), "unexpected sequence number"):
		return fmt.Errorf("%w: the name node may want Kerberos: give \"kerberos\" in the connection", err)
	}
	return err
}

// detail is a shorter text for an error.
type detail struct {
	text string
	err  error
}

func (d detail) Error() string { return d.text }
func (d detail) Unwrap() error { return d.err }

func (p *pool) user() string {
	if p.client.config.Kerberos != (Kerberos{}) {
		return p.client.config.Kerberos.Principal
	}
	return p.place.options.User
}

// remoteError is what a name node or data node answered.
func remoteError(err error) (client.Error, bool) {
	var remote client.Error
	ok := errors.As(err, &remote)
	return remote, ok
}
