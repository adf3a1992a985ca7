package api

import (
	"encoding/base64"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// Page are the parameters of every list. It is exported because huma looks only into such embedded structs.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items a page has at most"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"next of the page before"`
}

// listOutput is a page of wire items.
type listOutput[T any] struct {
	Body wire.List[T]
}

// page cuts one page out of items, which are sorted by key. A cursor is the last key of the page before: items that
// come or go meanwhile shift nothing. show is called only for what is on the page.
func page[S, T any](items []S, in Page, key func(S) string, show func(S) T) (*listOutput[T], error) {
	begin := 0
	if in.Cursor != "" {
		last, err := base64.RawURLEncoding.DecodeString(in.Cursor)
		if err != nil {
			return nil, invalidParameter("cursor", "it is not a cursor that a list has given")
		}
		begin = sort.Search(len(items), func(i int) bool { return key(items[i]) > string(last) })
	}
	end := min(begin+in.Limit, len(items))
	out := &listOutput[T]{Body: wire.List[T]{Items: make([]T, 0, end-begin)}}
	for _, item := range items[begin:end] {
		out.Body.Items = append(out.Body.Items, show(item))
	}
	if end < len(items) {
		out.Body.Next = base64.RawURLEncoding.EncodeToString([]byte(key(items[end-1])))
	}
	return out, nil
}

// newestFirst is a key that sorts by time, backwards, and then by name.
func newestFirst(t time.Time, name string) string {
	return fmt.Sprintf("%019d %s", math.MaxInt64-t.UnixNano(), name)
}
