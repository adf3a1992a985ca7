package api

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
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

// page cuts one page out of the items of a list, which are sorted by key. A cursor is the last key of the page before:
// items that come or go meanwhile shift nothing. show is called only for what is on the page.
func page[S, T any](list string, items []S, in Page, key func(S) string, show func(S) T) (*listOutput[T], error) {
	begin := 0
	if in.Cursor != "" {
		last, ok := readCursor(list, in.Cursor)
		if !ok {
			return nil, invalidCursor()
		}
		begin = sort.Search(len(items), func(i int) bool { return key(items[i]) > last })
	}
	end := min(begin+in.Limit, len(items))
	out := &listOutput[T]{Body: wire.List[T]{Items: make([]T, 0, end-begin)}}
	for _, item := range items[begin:end] {
		out.Body.Items = append(out.Body.Items, show(item))
	}
	if end < len(items) {
		out.Body.Next = cursor(list, key(items[end-1]))
	}
	return out, nil
}

func invalidCursor() error {
	return invalidParameter("cursor", "it is not a cursor that this list has given; begin again without one")
}

// cursor is a key with a checksum before it, by which a damaged one and that of another list are told: they would give
// a wrong page without a word.
func cursor(list, key string) string {
	sum := crc32.ChecksumIEEE([]byte(list + " " + key))
	return base64.RawURLEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, sum), key...))
}

func readCursor(list, text string) (key string, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(data) < crc32.Size {
		return "", false
	}
	key = string(data[crc32.Size:])
	return key, cursor(list, key) == text
}

// newestFirst is a key that sorts by time, backwards, and then by name.
func newestFirst(t time.Time, name string) string {
	return fmt.Sprintf("%019d %s", math.MaxInt64-t.UnixNano(), name)
}
