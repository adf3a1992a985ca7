package mesos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// manyOffers is what a master sends when so many agents become free at one time: a recorded offer over and over, in which
// ten executors of ours run.
func manyOffers(t testing.TB, agents int) []byte {
	t.Helper()
	var one *mesosgo.Offer
	recorded(t, filepath.Join(recordings, "maintenance_inverse_offers.jsonl"), func(body map[string]any) {
		if event, err := decode(wire(t, body)); err == nil && event.Type == sched.Event_OFFERS {
			one = &event.Offers.Offers[0]
		}
	})
	for i := range 10 {
		one.ExecutorIDs = append(one.ExecutorIDs, mesosgo.ExecutorID{Value: fmt.Sprintf("flights-by-carrier-20261123-%06d_1.4.0_1", i)})
	}
	event := &sched.Event{Type: sched.Event_OFFERS, Offers: &sched.Event_Offers{Offers: make([]mesosgo.Offer, agents)}}
	for i := range event.Offers.Offers {
		event.Offers.Offers[i] = *one
	}
	data, err := event.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The limit is far above what a large cluster sends at one time.
func TestOffersOfManyAgentsFit(t *testing.T) {
	data := manyOffers(t, 10_000)
	if 2*len(data) > maxRecord {
		t.Errorf("offers of 10,000 agents have %d bytes, the limit is %d", len(data), maxRecord)
	}
	stream := newRecords(io.MultiReader(strings.NewReader(fmt.Sprintf("%d\n", len(data))), bytes.NewReader(data)))
	record, err := stream.next()
	if err != nil {
		t.Fatal(err)
	}
	event, err := decode(record)
	if err != nil {
		t.Fatal(err)
	}
	if got := translate(event).(scheduler.Offers).Offers; len(got) != 10_000 || len(got[9_999].Executors) != 11 || got[9_999].Unavailable == nil {
		t.Errorf("got %d offers, the last one %+v", len(got), got[len(got)-1])
	}
}

func BenchmarkOffers(b *testing.B) {
	data := manyOffers(b, 10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		event, err := decode(data)
		if err != nil {
			b.Fatal(err)
		}
		if n := len(translate(event).(scheduler.Offers).Offers); n != 10_000 {
			b.Fatalf("got %d offers", n)
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBadRecords(t *testing.T) {
	for name, test := range map[string]struct {
		stream string
		want   error
	}{
		"beyond the limit":     {fmt.Sprintf("%d\n", maxRecord+1), errBadLength},
		"64 MiB":               {"67108864\n" + strings.Repeat("x", 1<<20), errBadLength},
		"promised, not sent":   {fmt.Sprintf("%d\nabc", maxRecord), io.ErrUnexpectedEOF},
		"cut in its length":    {"12", io.ErrUnexpectedEOF},
		"beyond 63 bits":       {"18446744073709551615\nabc", errBadLength},
		"beyond 64 bits":       {"99999999999999999999\nabc", errBadLength},
		"negative":             {"-5\nabc", errBadLength},
		"hexadecimal":          {"0x10\nabc", errBadLength},
		"a length without end": {strings.Repeat("1", 1<<20), errBadLength},
		"a web page":           {"<html>\n", errBadLength},
		"no length":            {"\nabc", errBadLength},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			bytes := allocated(func() { _, err = newRecords(strings.NewReader(test.stream)).next() })
			if !errors.Is(err, test.want) || errors.Is(err, io.EOF) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if bytes > 1<<20 {
				t.Errorf("it took %d bytes of memory", bytes)
			}
		})
	}
	if _, err := newRecords(strings.NewReader("")).next(); err != io.EOF {
		t.Errorf("an empty stream: got %v, want io.EOF", err)
	}
}

// A record of the largest size that decodes may cost several times its size in memory. This pins how many times.
func TestLargestRecordIsBounded(t *testing.T) {
	empty := mesosgo.Offer{Resources: make([]mesosgo.Resource, 1000)}
	for i := range empty.Resources {
		kind := mesosgo.SCALAR
		empty.Resources[i].Type = &kind
	}
	one, err := (&sched.Event{Type: sched.Event_OFFERS, Offers: &sched.Event_Offers{Offers: []mesosgo.Offer{empty}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	times := float64(allocated(func() {
		if _, err := decode(one); err != nil {
			t.Error(err)
		}
	})) / float64(len(one))
	t.Logf("a record of %d bytes of the worst kind takes %.0f times as much", len(one), times)
	if times > 128 {
		t.Errorf("it takes %.0f times its size: a peer could use up %.0f GiB", times, times*maxRecord/(1<<30))
	}
}

// One large record does not hold its memory for good.
func TestBufferIsGivenBack(t *testing.T) {
	stream := newRecords(strings.NewReader(fmt.Sprintf("%d\n%s3\nabc0\n2\nde", 4<<20, strings.Repeat("x", 4<<20))))
	for _, want := range []int{4 << 20, 3, 2} {
		record, err := stream.next()
		if err != nil || len(record) != want {
			t.Fatalf("got %d bytes, %v, want %d", len(record), err, want)
		}
	}
	if got := stream.buffer.Cap(); got > keptBuffer {
		t.Errorf("the buffer has %d bytes", got)
	}
}

// FuzzRecords: whatever the stream, the end is reached, and no record exceeds the limit.
func FuzzRecords(f *testing.F) {
	for _, stream := range []string{"3\nabc0\n1\nx", "0003\nabc", "5\nab", "18446744073709551615\nabc", "-1\n", " 3\nabc", "\n\n", "0\n0\n0\n"} {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		stream := newRecords(bytes.NewReader(data))
		total := 0
		for {
			record, err := stream.next()
			if err != nil {
				return
			}
			if total += len(record); len(record) == 0 || total > len(data) {
				t.Fatalf("record of %d bytes, %d in all, from %d", len(record), total, len(data))
			}
		}
	})
}
