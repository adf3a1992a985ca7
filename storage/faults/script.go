package faults

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// Call is one use of a store.
type Call struct {
	// Label is "list", "stat", "get", "put", "copy" or "delete" where a Store is decorated, and the operation's name
	// in S3's API, such as "GetObject", behind a Proxy.
	Label string
	Key   string // the object's, or the prefix of a listing; of several the first
	N     int    // the n-th call with this label, from 1
	Same  int    // the n-th call with this label and key, from 1
}

// Effect is what a Fault does to a call. All but None look like storage.ErrUnavailable to the caller.
type Effect uint8

// The effects.
const (
	None   Effect = iota // nothing but the delay
	Refuse               // the call is not made; a Proxy answers 503 SlowDown
	Lose                 // the call is made and its answer is lost
	Cut                  // a body or listing breaks off; any other call as Lose
)

func (e Effect) String() string {
	return [...]string{"none", "refuse", "lose", "cut"}[e]
}

// Fault is what happens to one call. The zero Fault is nothing.
type Fault struct {
	Effect Effect
	After  int64         // of Cut: bytes of the body, or objects of the listing, that still come
	Delay  time.Duration // before anything else
}

// Script says what happens to a call. It may be called by many goroutines at once.
type Script func(Call) Fault

// Nth gives the n-th call with a label a fault, counted from 1.
func Nth(label string, n int, f Fault) Script {
	return func(c Call) Fault {
		if c.Label == label && c.N == n {
			return f
		}
		return Fault{}
	}
}

// Rates are shares of calls, 0 to 1, for Random.
type Rates struct {
	Fail    float64       // are refused or lose their answer, one as often as the other
	Cut     float64       // are cut after at most a MiB
	Slow    float64       // are delayed
	Longest time.Duration // delay; they are spread evenly up to it
}

// Random gives calls faults at these rates. What happens to a call follows from seed, label, key and how many calls of
// that label the key has had, so that it is the same however the calls of other keys are mixed.
func Random(seed uint64, r Rates) Script {
	return func(c Call) Fault {
		name := fnv.New64a()
		fmt.Fprintf(name, "%s %s %d", c.Label, c.Key, c.Same)
		source := rand.New(rand.NewPCG(seed, name.Sum64()))
		var f Fault
		if source.Float64() < r.Slow && r.Longest > 0 {
			f.Delay = time.Duration(source.Int64N(int64(r.Longest)))
		}
		switch draw := source.Float64(); {
		case draw < r.Fail/2:
			f.Effect = Refuse
		case draw < r.Fail:
			f.Effect = Lose
		case draw < r.Fail+r.Cut:
			f.Effect = Cut
			f.After = source.Int64N(1 << source.IntN(21))
		}
		return f
	}
}

// Injector asks a Script before each call and counts. All places that share it share its numbers.
type Injector struct {
	script Script

	mu     sync.Mutex
	labels map[string]int
	keys   map[[2]string]int
	faults map[Effect]int
	slow   int
}

// New makes an Injector.
func New(script Script) *Injector {
	return &Injector{script: script, labels: map[string]int{}, keys: map[[2]string]int{}, faults: map[Effect]int{}}
}

// Calls is how many calls with this label there have been; of all labels if it is empty.
func (in *Injector) Calls(label string) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if label != "" {
		return in.labels[label]
	}
	total := 0
	for _, n := range in.labels {
		total += n
	}
	return total
}

// Faults is how many calls had this effect; of None, how many were only slow.
func (in *Injector) Faults(e Effect) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if e == None {
		return in.slow
	}
	return in.faults[e]
}

// next counts a call and asks what happens to it.
func (in *Injector) next(label, key string) (Call, Fault) {
	in.mu.Lock()
	in.labels[label]++
	in.keys[[2]string{label, key}]++
	c := Call{Label: label, Key: key, N: in.labels[label], Same: in.keys[[2]string{label, key}]}
	in.mu.Unlock()
	f := in.script(c)
	in.mu.Lock()
	defer in.mu.Unlock()
	if f.Effect != None {
		in.faults[f.Effect]++
	} else if f.Delay > 0 {
		in.slow++
	}
	return c, f
}
