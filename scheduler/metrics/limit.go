package metrics

import (
	"strings"
	"sync"
)

// maxValues is how many values a label may have beside "other".
const maxValues = 1000

// limit bounds the values of a label whose set is not closed. The first ones keep their names until the process ends.
type limit struct {
	mu   sync.RWMutex
	seen map[string]struct{}
}

func newLimit() *limit { return &limit{seen: make(map[string]struct{})} }

// bound is the value itself, or "other". A nil limit bounds nothing. Prometheus refuses what is no UTF-8.
func (l *limit) bound(value string) string {
	value = strings.ToValidUTF8(value, "?")
	if l == nil {
		return value
	}
	l.mu.RLock()
	_, known := l.seen[value]
	full := len(l.seen) >= maxValues
	l.mu.RUnlock()
	if known {
		return value
	}
	if full {
		return "other"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.seen[value]; !known && len(l.seen) >= maxValues {
		return "other"
	}
	l.seen[value] = struct{}{}
	return value
}
