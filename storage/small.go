package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// ReadAll reads a small object whole: a manifest, a pointer, a log. One of more
// than most bytes is ErrInvalid and not read. Otherwise as Get.
func ReadAll(ctx context.Context, s Store, key string, most int64) ([]byte, Object, error) {
	body, obj, err := s.Get(ctx, key, Range{})
	if err != nil {
		return nil, Object{}, err
	}
	if obj.Size > most {
		err = fmt.Errorf("read %q: %w: it has %d bytes, at most %d are expected", key, ErrInvalid, obj.Size, most)
		_ = body.Close() // abandoned, nothing was read
		return nil, Object{}, err
	}
	data := make([]byte, obj.Size)
	_, err = io.ReadFull(body, data)
	if err == nil {
		err = verified(body)
	}
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("read %q: %w: fewer than %d bytes came", key, ErrUnavailable, obj.Size)
	}
	if err != nil {
		return nil, Object{}, err
	}
	return data, obj, nil
}

// WriteAll is Put for bytes in memory.
func WriteAll(ctx context.Context, s Store, key string, data []byte, cond Condition) (Object, error) {
	return s.Put(ctx, key, bytes.NewReader(data), int64(len(data)), cond)
}
