package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/dev/mesos/hook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func message(text string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: text}}
}

// serve runs a stream against a recorder and gives the messages that were written.
func serve(t testing.TB, s *Stream, media Media) []string {
	t.Helper()
	w := httptest.NewRecorder()
	s.Serve(context.Background(), w, 0, nil)
	frames := recordio.NewReader(w.Body)
	var got []string
	for {
		frame, err := frames.ReadFrame()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		event := &scheduler.Event{}
		if media == JSON {
			err = UnmarshalJSON(frame, event)
		} else {
			err = UnmarshalProtobuf(frame, event)
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.Error.Message)
	}
}

func TestStreamWritesAllInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		media := rapid.SampledFrom([]Media{JSON, Protobuf}).Draw(t, "media")
		want := rapid.SliceOf(rapid.String()).Draw(t, "messages")
		s := NewStream(media, nil)
		for _, text := range want {
			s.Send(message(text))
		}
		s.Close()
		s.Send(message("too late"))
		got := serve(noT{}, s, media)
		if len(got) != len(want) {
			t.Fatalf("got %d messages, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("message %d: got %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// noT makes failures inside rapid visible as panics.
type noT struct{ testing.TB }

func (noT) Helper()           {}
func (noT) Fatal(args ...any) { panic(args) }

func TestStreamDoesWhatTheHookWants(t *testing.T) {
	actions := map[string]hook.Action{
		"drop": {Drop: true}, "twice": {Repeat: 1}, "late": {Delay: 20 * time.Millisecond}, "end": {Disconnect: true},
	}
	s := NewStream(Protobuf, func(m proto.Message) hook.Action { return actions[m.(*scheduler.Event).Error.Message] })
	for _, text := range []string{"first", "drop", "twice", "late", "end", "never"} {
		s.Send(message(text))
	}
	began := time.Now()
	got := serve(t, s, Protobuf)
	want := []string{"first", "twice", "twice", "late"}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if waited := time.Since(began); waited < 20*time.Millisecond {
		t.Errorf("the delayed message came after %v", waited)
	}
}

func TestStreamBeatsAndEndsWithItsPeer(t *testing.T) {
	s := NewStream(JSON, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Serve(r.Context(), w, time.Millisecond, message("beat"))
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	frames := recordio.NewReader(response.Body)
	for range 3 {
		if _, err := frames.ReadFrame(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	response.Body.Close()                     //nolint:errcheck // given up
	http.DefaultClient.CloseIdleConnections() // server.Close waits for the handler to end
}

func FuzzRecordIO(f *testing.F) {
	f.Add("5\nhello")
	f.Fuzz(func(t *testing.T, text string) {
		s := NewStream(Protobuf, nil)
		s.Send(message(text))
		s.Close()
		if got := serve(t, s, Protobuf); len(got) != 1 || got[0] != text {
			t.Fatalf("sent %q, got %q", text, got)
		}
	})
}
