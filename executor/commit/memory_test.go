package commit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// memory is a bucket in memory whose clock stands where the test puts it.
type memory struct {
	mu      sync.Mutex
	objects map[string]stored
	version int
	now     time.Time
}

type stored struct {
	data   []byte
	object storage.Object
}

func newMemory() *memory {
	return &memory{objects: map[string]stored{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (m *memory) List(_ context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []storage.Object
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(key, prefix) && key > after {
			found = append(found, m.objects[key].object)
		}
	}
	return func(yield func(storage.Object, error) bool) {
		for _, object := range found {
			if !yield(object, nil) {
				return
			}
		}
	}
}

func (m *memory) Stat(_ context.Context, key string) (storage.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.objects[key]
	if !ok {
		return storage.Object{}, storage.ErrNotFound
	}
	return s.object, nil
}

func (m *memory) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	object, err := m.Stat(ctx, key)
	if err != nil {
		return nil, object, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data := m.objects[key].data[r.Offset:]
	return io.NopCloser(bytes.NewReader(data)), object, nil
}

func (m *memory) Put(_ context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	data := make([]byte, size)
	if _, err := body.ReadAt(data, 0); err != nil && err != io.EOF {
		return storage.Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	current, exists := m.objects[key]
	if !cond.Allows(current.object, exists) {
		return storage.Object{}, storage.ErrCondition
	}
	m.version++
	object := storage.Object{Key: key, Size: size, ETag: fmt.Sprint(m.version), Modified: m.now}
	m.objects[key] = stored{data, object}
	return object, nil
}

func (m *memory) Copy(ctx context.Context, from, to string) error {
	m.mu.Lock()
	s, ok := m.objects[from]
	m.mu.Unlock()
	if !ok {
		return storage.ErrNotFound
	}
	_, err := storage.WriteAll(ctx, m, to, s.data, storage.Always)
	return err
}

func (m *memory) Delete(_ context.Context, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.objects, key)
	}
	return nil
}

func (m *memory) keys(prefix string) (keys []string) {
	for object := range m.List(context.Background(), prefix, "") {
		keys = append(keys, strings.TrimPrefix(object.Key, prefix))
	}
	return keys
}
