package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

func TestClassify(t *testing.T) {
	final := task.Final("/a", "column %q is missing", "x")
	for _, test := range []struct {
		err   error
		class proto.Class
		kind  string
	}{
		{final, proto.CLASS_FINAL, "invalid"},
		{fmt.Errorf("map: %w", final), proto.CLASS_FINAL, "invalid"},
		{task.Passing("later"), proto.CLASS_PASSING, "unavailable"},
		{errors.New("odd"), proto.CLASS_PASSING, "internal"},
		{context.Canceled, proto.CLASS_OURS, "killed"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), proto.CLASS_PASSING, "timeout"},
		{&storage.Error{Op: "get", URI: "s3://b/k", Kind: storage.ErrNotFound}, proto.CLASS_FINAL, "not_found"},
		{&storage.Error{Op: "get", URI: "s3://b/k", Kind: storage.ErrNoBucket}, proto.CLASS_FINAL, "not_found"},
		{&storage.Error{Op: "get", URI: "s3://b/k", Kind: storage.ErrInvalid}, proto.CLASS_FINAL, "invalid"},
		{&storage.Error{Op: "put", URI: "s3://b/k", Kind: storage.ErrCondition}, proto.CLASS_PASSING, "conflict"},
		{&storage.Error{Op: "get", URI: "s3://b/k", Kind: storage.ErrDenied}, proto.CLASS_PASSING, "unavailable"},
		{&storage.Error{Op: "get", URI: "s3://b/k", Kind: storage.ErrUnavailable}, proto.CLASS_PASSING, "unavailable"},
	} {
		got := task.Classify(test.err)
		if got.Class != test.class || got.Kind != test.kind || got.Message == "" {
			t.Errorf("%v: got %+v, want %v, %s", test.err, got, test.class, test.kind)
		}
	}
}

func TestFailuresKeepTheirCause(t *testing.T) {
	f := task.Passing("read %s: %w", "s3://b/k", storage.ErrDenied)
	if !errors.Is(f, storage.ErrDenied) {
		t.Error("the cause is lost")
	}
	if got := task.Final("/a/b", "bad").Error(); got != "bad (/a/b)" {
		t.Errorf("got %q", got)
	}
}

func TestUnsettledKeepsTheRest(t *testing.T) {
	final := task.Final("/a", "bad")
	got := task.Unsettled(fmt.Errorf("publish: %w", final))
	if !got.Unsettled || got.Class != proto.CLASS_FINAL || got.Pointer != "/a" || final.Unsettled {
		t.Errorf("got %+v of %+v", got, final)
	}
	if got := task.Classify(fmt.Errorf("run: %w", got)); !got.Unsettled {
		t.Error("it is lost on the way")
	}
}

func TestShorten(t *testing.T) {
	f := &proto.Failure{Message: strings.Repeat("é", 1<<20), Problems: make([]proto.Problem, 1000)}
	f.Problems[0].Detail = strings.Repeat("\xff", 100) + strings.Repeat("x", 1000)
	size := len(proto.Encode(task.Shorten(f)))
	if size > 16<<10 || len(f.Problems) != 20 {
		t.Errorf("got %d bytes, %d problems", size, len(f.Problems))
	}
	if !utf8.ValidString(f.Message) || !utf8.ValidString(f.Problems[0].Detail) || !strings.HasSuffix(f.Message, "é…") {
		t.Error("the texts are not cut between characters")
	}
}
