package storage

import (
	"context"
	"io"
	"iter"
	"strings"
)

// Below gives a store of what is below prefix in s: its keys are relative to
// it, those of s begin with it. prefix is taken as it is and should end in a
// slash; empty, it gives s itself. Errors name keys as s knows them.
func Below(s Store, prefix string) Store {
	if prefix == "" {
		return s
	}
	return &below{store: s, prefix: prefix}
}

type below struct {
	store  Store
	prefix string
}

func (b *below) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	if after != "" {
		after = b.prefix + after
	}
	return func(yield func(Object, error) bool) {
		for obj, err := range b.store.List(ctx, b.prefix+prefix, after) {
			if !yield(b.relative(obj), err) {
				return
			}
		}
	}
}

func (b *below) Stat(ctx context.Context, key string) (Object, error) {
	if err := CheckKey(key); err != nil {
		return Object{}, err
	}
	obj, err := b.store.Stat(ctx, b.prefix+key)
	return b.relative(obj), err
}

func (b *below) Get(ctx context.Context, key string, r Range) (io.ReadCloser, Object, error) {
	if err := CheckKey(key); err != nil {
		return nil, Object{}, err
	}
	body, obj, err := b.store.Get(ctx, b.prefix+key, r)
	return body, b.relative(obj), err
}

func (b *below) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond Condition) (Object, error) {
	if err := CheckKey(key); err != nil {
		return Object{}, err
	}
	obj, err := b.store.Put(ctx, b.prefix+key, body, size, cond)
	return b.relative(obj), err
}

func (b *below) Copy(ctx context.Context, from, to string) error {
	for _, key := range []string{from, to} {
		if err := CheckKey(key); err != nil {
			return err
		}
	}
	return b.store.Copy(ctx, b.prefix+from, b.prefix+to)
}

func (b *below) Delete(ctx context.Context, keys ...string) error {
	whole := make([]string, len(keys))
	for i, key := range keys {
		if err := CheckKey(key); err != nil {
			return err
		}
		whole[i] = b.prefix + key
	}
	return b.store.Delete(ctx, whole...)
}

func (b *below) relative(obj Object) Object {
	obj.Key = strings.TrimPrefix(obj.Key, b.prefix)
	return obj
}
