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
	URI      string    `json:"uri"`      // the prefix of what that run has written: all of the result, unless it builds on another
	Created  time.Time `json:"created"`
	Kept     []Result  `json:"kept,omitempty"` // newest first, the above among them; at most Keep
	// Shared takes the place of Kept where a result may name files of others: executors from before there were such
	// results, who would remove these files, refuse it.
	Shared []Result `json:"shared,omitempty"`
	// Refused are runs that had won their commit point and can nevertheless never be entered, newest first.
	Refused []string `json:"refused,omitempty"`
}

// Result is one published result.
type Result struct {
	Run      string    `json:"run"`
	Manifest string    `json:"manifest"`
	URI      string    `json:"uri"`
	Created  time.Time `json:"created"` // of the run; later than that of the result before if it builds on that
	Mode     Mode      `json:"mode,omitempty"`
}

// order puts the newest first.
func order(a, b Result) int {
	return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.Run, a.Run))
}

// ParseLatest reads _latest.json. Kept has the results wherever they stood.
func ParseLatest(data []byte) (*Latest, error) {
	l := &Latest{}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("parse latest: %w", err)
	}
	if len(l.Kept) == 0 {
		l.Kept = l.Shared
	}
	l.Shared = nil
	if len(l.Kept) == 0 || l.Kept[0].Run != l.Run || !slices.IsSortedFunc(l.Kept, order) {
		return nil, fmt.Errorf("parse latest: its list of kept results does not begin with run %q or is not in order", l.Run)
	}
	return l, nil
}

// encode writes what ParseLatest reads.
func (l *Latest) encode() ([]byte, error) {
	stored := *l
	if len(l.Refused) > 0 || slices.ContainsFunc(l.Kept, func(r Result) bool { return r.Mode != Replace }) {
		stored.Kept, stored.Shared = nil, l.Kept
	}
	return encode(&stored)
}

// with is l with one more result; the same if it is there or older than all that are kept. One that replaces all takes
// the place among the others that its creation gives it; another one comes behind what there is.
func (l *Latest) with(r Result) *Latest {
	next := &Latest{}
	if l != nil {
		next.Refused, next.Kept = l.Refused, slices.Clone(l.Kept)
		if l.keeps(r.Run) {
			return l
		}
		if newest := l.Kept[0]; r.Mode.builds() && order(newest, r) < 0 {
			r.Created = newest.Created.Add(1)
		}
	}
	next.Kept = append(next.Kept, r)
	slices.SortFunc(next.Kept, order)
	if len(next.Kept) > Keep {
		if next.Kept[Keep].Run == r.Run {
			return l
		}
		next.Kept = next.Kept[:Keep]
	}
	first := next.Kept[0]
	next.Run, next.Manifest, next.URI, next.Created = first.Run, first.Manifest, first.URI, first.Created
	return next
}

// mostRefused bounds the list. One that is forgotten is refused again, or the result that it does not fit is gone long since.
const mostRefused = 100

// refusing is l with a run that can never be entered.
func (l *Latest) refusing(run string) *Latest {
	next := *l
	next.Refused = append([]string{run}, l.Refused[:min(len(l.Refused), mostRefused-1)]...)
	return &next
}

func (l *Latest) keeps(run string) bool { return l.find(run) != nil }

func (l *Latest) find(run string) *Result {
	if l == nil {
		return nil
	}
	if i := slices.IndexFunc(l.Kept, func(k Result) bool { return k.Run == run }); i >= 0 {
		return &l.Kept[i]
	}
	return nil
}

func (l *Latest) refuses(run string) bool { return l != nil && slices.Contains(l.Refused, run) }

// mostLatest bounds what is read of _latest.json, in bytes.
const mostLatest = 1 << 20

// tries is how often a conditional write of _latest.json may be overtaken or fail before the attempt does.
const tries = 20

func (o *Output) latestKey() string { return o.URI.Join("_latest.json").Key }

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
