package queue

import (
	"slices"
	"sync"
	"testing"
)

func TestAllArrivesInOrder(t *testing.T) {
	q := New[[2]int]()
	const senders, each = 4, 500
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			for i := range each {
				q.Put([2]int{sender, i})
			}
		})
	}
	go func() {
		sending.Wait()
		q.Close()
		q.Put([2]int{senders, 0}) // too late
	}()
	got := make([][]int, senders)
	for {
		items, closed := q.Take()
		for _, item := range items {
			got[item[0]] = append(got[item[0]], item[1])
		}
		if closed && len(items) == 0 {
			break
		}
		if !closed {
			<-q.Wake()
		}
	}
	for sender := range got {
		if len(got[sender]) != each || !slices.IsSorted(got[sender]) {
			t.Errorf("sender %d: got %d items", sender, len(got[sender]))
		}
	}
}
