package aggregate

import (
	"context"
	"errors"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

// runCheck judges expressions, for which it needs neither spec nor data.
func runCheck(ctx context.Context, work *task.Work) (_ []byte, err error) {
	var in proto.CheckInput
	if err := lake.DecodeInput(work.Data, &in); err != nil {
		return nil, err
	}
	session, err := engine.Open(ctx, engine.Config{Dir: work.Dir, Memory: work.Memory, Threads: 1})
	if err != nil {
		return nil, err
	}
	defer closing(session, &err)
	catalog, err := expression.ReadCatalog(ctx, session)
	if err != nil {
		return nil, err
	}
	out := &proto.CheckOutput{}
	for _, e := range in.Expressions {
		parsed, err := expression.Parse(ctx, session, e.Text)
		if err == nil {
			err = catalog.Unknown(parsed)
		}
		var problem *expression.Problem
		if errors.As(err, &problem) {
			out.Problems = append(out.Problems, proto.Problem{Pointer: e.Pointer, Detail: problem.Detail})
		} else if err != nil {
			return nil, err
		}
	}
	return proto.Encode(out), nil
}

// closing closes c and keeps its error if there is no other.
func closing(c interface{ Close() error }, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}
