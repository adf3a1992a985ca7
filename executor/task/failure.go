package task

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// Failure is an error that says what the scheduler shall make of it.
type Failure struct {
	Class    proto.Class
	Kind     string // one of those that proto.Failure lists
	Pointer  string // JSON Pointer into the spec; empty if none
	Message  string // for people; names the file, row, column or object
	Problems []proto.Problem
	Err      error // the cause, may be nil

	// Unsettled says that a write which would make a result visible may have happened, or may still: see [Unsettled].
	Unsettled bool
}

func (f *Failure) Error() string {
	if f.Pointer != "" {
		return fmt.Sprintf("%s (%s)", f.Message, f.Pointer)
	}
	return f.Message
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Final is a failure that no retry can mend: the spec or the data is wrong.
func Final(pointer, format string, args ...any) *Failure {
	err := fmt.Errorf(format, args...)
	return &Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Pointer: pointer, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Passing is a failure of the outside world that a retry may mend.
func Passing(format string, args ...any) *Failure {
	err := fmt.Errorf(format, args...)
	return &Failure{Class: proto.CLASS_PASSING, Kind: "unavailable", Message: err.Error(), Err: errors.Unwrap(err)}
}

// Unsettled is err for an attempt that ended with a conditional write of which it does not know whether it took effect. The
// scheduler then has the run's commit point looked at before it says that a cancelled or failed run has no result.
func Unsettled(err error) *Failure {
	f := *Classify(err)
	f.Unsettled = true
	return &f
}

// Classify turns any error into a Failure. Missing objects and buckets and bad names are final; a conditional write that
// was lost, an unreachable or refusing store and everything unknown may pass: wrong keys are often put right by an operator.
func Classify(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	f = &Failure{Class: proto.CLASS_PASSING, Kind: "internal", Message: err.Error(), Err: err}
	switch {
	case errors.Is(err, context.Canceled):
		f.Class, f.Kind = proto.CLASS_OURS, "killed"
	case errors.Is(err, context.DeadlineExceeded):
		f.Kind = "timeout"
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrNoBucket):
		f.Class, f.Kind = proto.CLASS_FINAL, "not_found"
	case errors.Is(err, storage.ErrInvalid):
		f.Class, f.Kind = proto.CLASS_FINAL, "invalid"
	case errors.Is(err, storage.ErrCondition):
		f.Kind = "conflict"
	case errors.Is(err, storage.ErrDenied), errors.Is(err, storage.ErrUnavailable):
		f.Kind = "unavailable"
	}
	return f
}
