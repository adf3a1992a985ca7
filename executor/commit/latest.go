package commit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// Keep is how many results stay.
const Keep = 3

// Latest is _latest.json: the newest result, and all that are kept.
type Latest struct {
	Run      string    `json:"run"`
	Manifest string    `json:"manifest"` // its URI
	URI      string    `json:"uri"`      // the prefix that holds its files and nothing else
	Created  time.Time `json:"created"`
	Kept     []Result  `json:"kept"` // newest first, the above among them; at most Keep
}

// Result is one published result.
type Result struct {
	Run      string    `json:"run"`
	Manifest string    `json:"manifest"`
	URI      string    `json:"uri"`
	Created  time.Time `json:"created"`
}

// order puts the newest first.
func order(a, b Result) int {
	return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.Run, a.Run))
}

// ParseLatest reads _latest.json.
func ParseLatest(data []byte) (*Latest, error) {
	l := &Latest{}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("parse latest: %w", err)
	}
	if len(l.Kept) == 0 || l.Kept[0].Run != l.Run || !slices.IsSortedFunc(l.Kept, order) {
		return nil, fmt.Errorf("parse latest: its list of kept results does not begin with run %q or is not in order", l.Run)
	}
	return l, nil
}

// with is l with one more result; the same if it is there or older than all that are kept.
func (l *Latest) with(r Result) *Latest {
	var kept []Result
	if l != nil {
		kept = slices.Clone(l.Kept)
	}
	if slices.ContainsFunc(kept, func(k Result) bool { return k.Run == r.Run }) {
		return l
	}
	kept = append(kept, r)
	slices.SortFunc(kept, order)
	if len(kept) > Keep {
		if kept[Keep].Run == r.Run {
			return l
		}
		kept = kept[:Keep]
	}
	first := kept[0]
	return &Latest{Run: first.Run, Manifest: first.Manifest, URI: first.URI, Created: first.Created, Kept: kept}
}

func (l *Latest) keeps(run string) bool {
	return l != nil && slices.ContainsFunc(l.Kept, func(k Result) bool { return k.Run == run })
}

// mostLatest bounds what is read of _latest.json, in bytes.
const mostLatest = 1 << 20

// tries is how often a conditional write of _latest.json may be overtaken or fail before the attempt does.
const tries = 20

func (o *Output) latestKey() string { return o.URI.Join("_latest.json").Key }

// enter makes sure that _latest.json knows a result, and returns what it then says.
func (o *Output) enter(ctx context.Context, r Result) (*Latest, error) {
	key := o.latestKey()
	var last error
	for range tries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		current, condition, err := o.readLatest(ctx, key)
		if err != nil {
			return nil, err
		}
		next := current.with(r)
		if next == current {
			return current, nil
		}
		data, err := encode(next)
		if err != nil {
			return nil, err
		}
		_, last = storage.WriteAll(ctx, o.Store, key, data, condition)
		switch {
		case last == nil:
			return next, nil
		case errors.Is(last, storage.ErrCondition): // another run was faster: put both in order
		case errors.Is(last, storage.ErrUnavailable): // it may have happened: look
		default:
			return nil, fmt.Errorf("write latest: %w", last)
		}
	}
	return nil, fmt.Errorf("write latest: %w", last)
}

func (o *Output) readLatest(ctx context.Context, key string) (*Latest, storage.Condition, error) {
	data, object, err := storage.ReadAll(ctx, o.Store, key, mostLatest)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, storage.IfAbsent, nil
	}
	if err != nil {
		return nil, storage.Condition{}, fmt.Errorf("read latest: %w", err)
	}
	latest, err := ParseLatest(data)
	if err != nil {
		return nil, storage.Condition{}, fmt.Errorf("read %s, which is not a result of ours: %w", o.URI.Join("_latest.json"), err)
	}
	return latest, storage.IfMatch(object.ETag), nil
}
