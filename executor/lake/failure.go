package lake

import (
	"errors"
	"fmt"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

// Failure gives an engine's error its class. What is wrong with data or expressions no retry can mend.
func Failure(doing string, err error) error {
	var said *engine.Error
	if !errors.As(err, &said) {
		return err
	}
	failure := task.Final("", "%s: %s", doing, said.Message)
	switch said.Reason {
	case engine.Memory:
		failure.Class, failure.Kind = proto.CLASS_PASSING, "out_of_memory"
		failure.Pointer = "/resources/memory"
		failure.Message = fmt.Sprintf("%s: the engine needs more memory or disk than the task has (%s)", doing, said.Message)
	case engine.Unexpected, engine.Other, engine.Cancelled:
		failure.Class, failure.Kind = proto.CLASS_PASSING, "internal"
	}
	failure.Err = err
	return failure
}
