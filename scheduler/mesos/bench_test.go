package mesos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// distant is a master that answers each call after a while and looks at nothing.
type distant struct {
	latency time.Duration
	calls   atomic.Int64
}

func (m *distant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(streamHeader) != "" {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		time.Sleep(m.latency)
		w.WriteHeader(http.StatusAccepted)
		m.calls.Add(1)
		return
	}
	w.Header().Set("Content-Type", protobuf)
	w.Header().Set(streamHeader, "stream-1")
	data, err := (&sched.Event{Type: sched.Event_SUBSCRIBED, Subscribed: &sched.Event_Subscribed{FrameworkID: &mesosgo.FrameworkID{Value: "fw-1"}}}).Marshal()
	if err != nil {
		panic(err)
	}
	if _, err := fmt.Fprintf(w, "%d\n%s", len(data), data); err != nil {
		return
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// BenchmarkLaunches measures launches on the wire, one task for each ACCEPT, which is the hard case, against a master
// that answers after 1 ms. Client and master share this process.
func BenchmarkLaunches(b *testing.B) {
	for _, agents := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("agents=%d", agents), func(b *testing.B) {
			master := &distant{latency: time.Millisecond}
			server := httptest.NewServer(master)
			defer server.Close()
			c, err := New(Config{Master: server.URL, Name: "tidemill", User: "nobody", Roles: roles("data/batch")})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			subscribed, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				ended <- c.Run(ctx, scheduler.Identity{}, func(e scheduler.Event) {
					switch e := e.(type) {
					case scheduler.Subscribed:
						close(subscribed)
					case scheduler.CallFailed:
						b.Errorf("call failed: %d %s", e.Status, e.Reason)
					}
				})
			}()
			<-subscribed
			calls := make([]scheduler.Call, b.N)
			for i := range calls {
				calls[i] = oneLaunch(i, i%agents)
			}
			b.ReportAllocs()
			b.ResetTimer()
			c.Send(calls)
			for master.calls.Load() < int64(b.N) && !b.Failed() {
				time.Sleep(100 * time.Microsecond)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "launches/s")
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

func oneLaunch(n, agent int) scheduler.Accept {
	return scheduler.Accept{
		OfferIDs: []string{fmt.Sprintf("8d5c1675-5721-4ac8-827a-139ce88adaf2-O%d", n)},
		AgentID:  fmt.Sprintf("8d5c1675-5721-4ac8-827a-139ce88adaf2-S%d", agent),
		Refuse:   time.Hour,
		Launches: []scheduler.Launch{{
			MesosID: fmt.Sprintf("flights-1.map.%d.1", n), Name: "flights map", Role: "data/batch",
			Labels:       [][2]string{{"tidemill.job", "flights"}, {"tidemill.attempt", "1"}},
			Resources:    jobs.Resources{CPUs: 0.5, Memory: 512 << 20, Disk: 1 << 30},
			ExecutorInfo: ExecutorInfo(plan),
			Data:         make([]byte, 600),
		}},
	}
}
