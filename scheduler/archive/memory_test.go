package archive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// memory is a storage.Store that counts its calls and fails when it is told to.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	etags   map[string]string
	version int
	calls   map[string]int
	fail    func(op, key string) error // asked before each call; nil: never
	late    bool                       // a Put or Delete fails after it has been done
}

func newMemory() *memory {
	return &memory{objects: map[string][]byte{}, etags: map[string]string{}, calls: map[string]int{}}
}

func (m *memory) call(op, key string) error {
	m.calls[op]++
	if m.fail != nil {
		return m.fail(op, key)
	}
	return nil
}

func (m *memory) object(key string) storage.Object {
	return storage.Object{Key: key, Size: int64(len(m.objects[key])), ETag: m.etags[key], Modified: time.Now()}
}

func (m *memory) List(_ context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		m.mu.Lock()
		err := m.call("list", prefix)
		var all []storage.Object
		for _, key := range slices.Sorted(maps.Keys(m.objects)) {
			if strings.HasPrefix(key, prefix) && key > after {
				all = append(all, m.object(key))
			}
		}
		m.mu.Unlock()
		if err != nil {
			yield(storage.Object{}, err)
			return
		}
		for _, object := range all {
			if !yield(object, nil) {
				return
			}
		}
	}
}

func (m *memory) Stat(_ context.Context, key string) (storage.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("stat", key); err != nil {
		return storage.Object{}, err
	}
	if _, there := m.objects[key]; !there {
		return storage.Object{}, storage.ErrNotFound
	}
	return m.object(key), nil
}

func (m *memory) Get(_ context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("get", key); err != nil {
		return nil, storage.Object{}, err
	}
	data, there := m.objects[key]
	switch {
	case !there:
		return nil, storage.Object{}, storage.ErrNotFound
	case r.Offset < 0 || r.Length < 0 || r.Offset > 0 && r.Offset >= int64(len(data)):
		return nil, storage.Object{}, storage.ErrInvalid
	}
	data = data[r.Offset:]
	if r.Length > 0 {
		data = data[:min(r.Length, int64(len(data)))]
	}
	return io.NopCloser(bytes.NewReader(data)), m.object(key), nil
}

func (m *memory) Put(_ context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	data := make([]byte, size)
	if _, err := body.ReadAt(data, 0); err != nil && err != io.EOF {
		return storage.Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.call("put", key)
	if err != nil && !m.late {
		return storage.Object{}, err
	}
	_, exists := m.objects[key]
	if !cond.Allows(m.object(key), exists) {
		return storage.Object{}, storage.ErrCondition
	}
	m.version++
	m.objects[key], m.etags[key] = data, fmt.Sprint(m.version)
	return m.object(key), err
}

func (m *memory) Copy(context.Context, string, string) error { return storage.ErrInvalid }

func (m *memory) Delete(_ context.Context, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		err := m.call("delete", key)
		if err == nil || m.late {
			delete(m.objects, key)
			delete(m.etags, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keys are those that end so.
func (m *memory) keys(ending string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasSuffix(key, ending) {
			out = append(out, key)
		}
	}
	return out
}

// noise is text that gets hardly smaller by compressing, the same for the same number.
func noise(number, size int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	random := rand.New(rand.NewPCG(uint64(number), 1))
	out := make([]byte, size)
	for i := range out {
		out[i] = letters[random.IntN(len(letters))]
	}
	return string(out)
}
