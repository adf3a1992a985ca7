package segment

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/tidemill/tidemill/storage"
)

// firstRead is how much of an object comes with its index.
const firstRead = 64 << 10

// Object is an object that can be read.
type Object struct {
	storage.Object
	Index Index

	store storage.Store
	head  []byte // the first bytes of the object
}

// Open reads the index, and with it what else the first 64 KiB of the object hold.
func Open(ctx context.Context, store storage.Store, key string) (*Object, error) {
	o := &Object{store: store}
	length := firstRead
	for {
		var err error
		if o.head, o.Object, err = readHead(ctx, store, key, o.ETag, length); err != nil {
			return nil, err
		}
		index, need, err := decode(o.head, o.Size)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", key, err)
		}
		if need == 0 {
			o.Index = index
			return o, nil
		}
		length = need
	}
}

func readHead(ctx context.Context, store storage.Store, key, etag string, length int) ([]byte, storage.Object, error) {
	body, object, err := store.Get(ctx, key, storage.Range{Length: int64(length), ETag: etag})
	if err != nil {
		return nil, object, err
	}
	head := make([]byte, min(int64(length), object.Size))
	_, err = io.ReadFull(body, head)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, object, fmt.Errorf("read the beginning of %q: %w", key, err)
	}
	return head, object, nil
}

// Here says that the segments have come with the index: Copy needs no more of the store for them.
func (o *Object) Here(segments Index) bool {
	return !slices.ContainsFunc(segments, func(s Segment) bool { return s.end() > int64(len(o.head)) })
}

// Forget frees the bytes that came with the index.
func (o *Object) Forget() { o.head = nil }

// gap is how many bytes between two segments are rather read than asked around, which costs a request.
const gap = 128 << 10

// Copy writes segments of the object, in the order in which they lie there, each to what begin returns for it, and
// closes that. Segments that are near to each other are fetched by one request. Bytes that are not those that were
// written are an error that matches storage.ErrUnavailable: another read may give the right ones.
func (o *Object) Copy(ctx context.Context, segments Index, ahead storage.ReadAhead, begin func(Segment) (io.WriteCloser, error)) error {
	segments = slices.Clone(segments)
	slices.SortFunc(segments, func(a, b Segment) int { return cmp.Compare(a.Offset, b.Offset) })
	for len(segments) > 0 {
		n := 1
		for n < len(segments) && segments[n].Offset-segments[n-1].end() <= gap {
			n++
		}
		if err := o.copyNear(ctx, segments[:n], ahead, begin); err != nil {
			return fmt.Errorf("read %q: %w", o.Key, err)
		}
		segments = segments[n:]
	}
	return nil
}

// copyNear reads from the first segment to the last.
func (o *Object) copyNear(ctx context.Context, segments Index, ahead storage.ReadAhead, begin func(Segment) (io.WriteCloser, error)) (err error) {
	at, end := segments[0].Offset, segments[len(segments)-1].end()
	var in io.Reader
	if end <= int64(len(o.head)) {
		in = bytes.NewReader(o.head[at:end])
	} else {
		reader := storage.NewReader(ctx, o.store, o.Object, storage.Range{Offset: at, Length: end - at}, ahead)
		defer func() { err = errors.Join(err, reader.Close()) }()
		in = reader
	}
	for _, s := range segments {
		if _, err := io.CopyN(io.Discard, in, s.Offset-at); err != nil {
			return err
		}
		out, err := begin(s)
		if err != nil {
			return err
		}
		if err := errors.Join(s.copy(out, in), out.Close()); err != nil {
			return err
		}
		at = s.end()
	}
	return nil
}

// copy writes the segment to w; in begins where the segment does.
func (s Segment) copy(w io.Writer, in io.Reader) error {
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(in, s.Length))
	if err != nil {
		return err
	}
	if n != s.Length || sum.Sum32() != s.sum {
		return fmt.Errorf("%w: %d of %d bytes of a segment came, and their checksum is wrong", storage.ErrUnavailable, n, s.Length)
	}
	return nil
}
