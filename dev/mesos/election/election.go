package election

import (
	"context"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
)

// Watcher tells who leads.
type Watcher interface {
	// Watch blocks until ctx ends. It calls changed from one goroutine with each new
	// leader, nil when there is none or when nobody can tell.
	Watch(ctx context.Context, changed func(leader *v1.MasterInfo))
}

// Election is one that masters can take part in.
type Election interface {
	Watcher
	// Contend is Watch with a candidate of one's own. candidate is asked for each time
	// that a candidacy begins: after one was lost, the master is another. It is
	// withdrawn when ctx ends.
	Contend(ctx context.Context, candidate func() *v1.MasterInfo, changed func(leader *v1.MasterInfo))
}
