package task

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage/connections"
)

// Kind does the work of one kind of job.
type Kind interface {
	// Name is the spec's "kind".
	Name() string
	// Run does one task: the stage that work.Data names. It blocks until the work is done, or until ctx ends, which it
	// obeys within a second; it leaves nothing visible behind when it fails. The output is the kind's own
	// message for that stage and stays small (below 16 KiB). An error that is not a *Failure is classified by [Classify].
	// It may be called again, with another attempt number, while an earlier attempt still runs elsewhere.
	Run(ctx context.Context, work *Work) (output []byte, err error)
}

// Work is what a stage is given.
type Work struct {
	Data        *proto.TaskData
	Spec        *jobs.Spec       // nil for stage "check"
	Connections *connections.Set // how to reach the outside
	Dir         string           // an empty directory in the sandbox for scratch files, removed afterwards
	Memory      int64            // bytes that the engine may use; about 70 % of what the task asked for
	Threads     int              // for the engine, at least 1
	Report      func(Progress)   // may be called as often as one likes, from any goroutine; never blocks
	// HandOver is closed when the run moves to another executor version: a stage that can go on elsewhere then ends at its
	// next checkpoint, as [ErrHandedOver] says. Others need not look at it, for their runs never move.
	HandOver <-chan struct{}
	Log      *slog.Logger // goes to the task's stderr
}

// ErrHandedOver is what Run returns when it ended at a checkpoint because of Work.HandOver. The output is then not the
// task's but what the next attempt goes on with, there as Work.Data.HandedOver: an attempt on another version, or on this
// one when the move was called off. Later attempts get it, too, until one hands over again, so that it names where the
// newest checkpoint is found rather than what was in it. Returning it without having been asked to is a failure.
var ErrHandedOver = errors.New("handed over at a checkpoint")

// Progress is how far a task is.
type Progress struct {
	Fraction float64 // 0..1
	Phase    string  // a word or two for people
	Rows     int64   // input rows so far
	Bytes    int64   // input bytes so far, as stored
	OutRows  int64
	OutBytes int64
}
