package artifacts

import "sync"

// holds keeps files of uploads that this process is taking in from being deleted.
type holds struct {
	mu    sync.Mutex
	bySum map[string]*hold
}

// hold is a file that is being taken in or deleted.
type hold struct {
	uploads  int
	deleting chan struct{} // closed when it has been deleted; nil: nobody does
}

// take blocks while the file is being deleted, then keeps it from being so until release is called.
func (h *holds) take(sum string) (release func()) {
	for {
		h.mu.Lock()
		one := h.bySum[sum]
		if one == nil {
			one = &hold{}
			h.bySum[sum] = one
		}
		deleting := one.deleting
		if deleting == nil {
			one.uploads++
		}
		h.mu.Unlock()
		if deleting == nil {
			return func() { h.give(sum) }
		}
		<-deleting
	}
}

func (h *holds) give(sum string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.bySum[sum]
	if one.uploads--; one.uploads == 0 {
		delete(h.bySum, sum)
	}
}

// remove calls remove for the file, unless an upload holds it or it is being deleted already.
func (h *holds) remove(sum string, remove func() error) error {
	h.mu.Lock()
	if h.bySum[sum] != nil {
		h.mu.Unlock()
		return nil
	}
	one := &hold{deleting: make(chan struct{})}
	h.bySum[sum] = one
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.bySum, sum)
		close(one.deleting)
	}()
	return remove()
}
