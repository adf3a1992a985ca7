package process

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/tidemill/tidemill/proto"
)

func TestMessagesComeAsTheyWent(t *testing.T) {
	var pipe bytes.Buffer
	for _, phase := range []string{"one", "", "three"} {
		if err := send(&pipe, &proto.Report{Progress: &proto.TaskProgress{Phase: phase}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"one", "", "three"} {
		var got proto.Report
		if err := receive(&pipe, &got); err != nil || got.Progress == nil || got.Progress.Phase != want {
			t.Errorf("got %+v, %v, want phase %q", got, err, want)
		}
	}
	if err := receive(&pipe, &proto.Report{}); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
}

func TestCutMessagesAreErrors(t *testing.T) {
	var pipe bytes.Buffer
	if err := send(&pipe, &proto.Report{Started: true}); err != nil {
		t.Fatal(err)
	}
	whole := pipe.Bytes()
	for n := 1; n < len(whole); n++ {
		if err := receive(bytes.NewReader(whole[:n]), &proto.Report{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("of %d bytes: got %v, want an unexpected EOF", n, err)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0, 0, 0, 2, 8, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for receive(r, &proto.Report{}) == nil {
		}
	})
}

func TestParseMemory(t *testing.T) {
	const status = "Name:\ttidemill-executor\nVmPeak:\t  999999 kB\nVmHWM:\t   90000 kB\nVmRSS:\t   70000 kB\n" +
		"RssAnon:\t   30000 kB\nRssFile:\t   39000 kB\nRssShmem:\t    1000 kB\nThreads:\t9\n"
	got := parseMemory([]byte(status))
	if want := (memory{now: 31000 << 10, peak: 51000 << 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := parseMemory([]byte("Name:\tx\nState:\tZ (zombie)\n")); got != (memory{}) {
		t.Errorf("of a zombie: got %+v, want nothing", got)
	}
	if got := parseMemory([]byte("RssAnon:\t-5 kB\nRssShmem:\tmany kB\nVmHWM\n")); got != (memory{}) {
		t.Errorf("of nonsense: got %+v, want nothing", got)
	}
}
