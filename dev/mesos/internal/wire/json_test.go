package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// recorded yields all messages of the recordings: what they are, and their JSON.
func recorded(t testing.TB, yield func(kind string, body json.RawMessage)) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/recordings/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range bytes.Lines(content) {
			line := struct {
				Actor, Kind, Path string
				Body              json.RawMessage
			}{}
			if err := json.Unmarshal(text, &line); err != nil {
				t.Fatal(err)
			}
			actor, _, _ := strings.Cut(line.Actor, "-")
			if (line.Kind == "event" || line.Kind == "call") && len(line.Body) > 2 {
				yield(actor+" "+line.Kind, line.Body)
			}
		}
	}
}

func messageOf(kind string) proto.Message {
	switch kind {
	case "scheduler event":
		return &scheduler.Event{}
	case "scheduler call":
		return &scheduler.Call{}
	case "executor event":
		return &executor.Event{}
	case "executor call":
		return &executor.Call{}
	}
	return nil
}

// TestRecordedEventsKeepTheirForm reads each recorded event and writes it again: our
// JSON is that of Mesos. mesos-go does not know a few new fields, which get lost.
func TestRecordedEventsKeepTheirForm(t *testing.T) {
	unknown := map[string]bool{"drain_config": true, "estimated_drain_start_time": true}
	n := 0
	recorded(t, func(kind string, body json.RawMessage) {
		if !strings.HasSuffix(kind, "event") {
			return
		}
		n++
		m := messageOf(kind)
		if err := UnmarshalJSON(body, m); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var want, got any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(MarshalJSON(m), &got); err != nil {
			t.Fatalf("we wrote no JSON: %v: %s", err, MarshalJSON(m))
		}
		if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool {
			index, ok := p.Last().(cmp.MapIndex)
			return ok && unknown[index.Key().String()]
		}, cmp.Ignore())); diff != "" {
			t.Fatalf("recorded (-), ours (+):\n%s", diff)
		}
	})
	if n < 200 {
		t.Errorf("only %d events were read", n)
	}
}

// TestCallsSurviveBothForms sends each recorded call through protobuf and back.
func TestCallsSurviveBothForms(t *testing.T) {
	recorded(t, func(kind string, body json.RawMessage) {
		if !strings.HasSuffix(kind, "call") || messageOf(kind) == nil {
			return
		}
		fromJSON, fromProtobuf := messageOf(kind), messageOf(kind)
		if err := UnmarshalJSON(body, fromJSON); err != nil {
			return // a call that was refused there too
		}
		encoded, err := Marshal(fromJSON, Protobuf)
		if err != nil {
			t.Fatal(err)
		}
		if err := UnmarshalProtobuf(encoded, fromProtobuf); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(fromJSON, fromProtobuf) {
			t.Errorf("%s became %s", body, MarshalJSON(fromProtobuf))
		}
	})
}

func TestMarshalJSON(t *testing.T) {
	id, yes, zero, whole := v1.ExecutorID{Value: `a"b`}, true, int32(0), 4.0
	tests := []struct {
		name string
		m    proto.Message
		want string
	}{
		{"nothing but what is required", &v1.FrameworkInfo{}, `{"user":"","name":""}`},
		{"escaped", &id, `{"value":"a\"b"}`},
		{"false is written when set", &v1.CommandInfo{Shell: new(bool)}, `{"shell":false}`},
		{"true", &v1.CommandInfo{Shell: &yes}, `{"shell":true}`},
		{"zero is written when set", &scheduler.Event_Failure{Status: &zero}, `{"status":0}`},
		{"whole numbers have a point", &v1.Value_Scalar{Value: whole}, `{"value":4.0}`},
		{"others too", &v1.Value_Scalar{Value: 0.1}, `{"value":0.1}`},
		{"bytes are base64", &executor.Call_Message{Data: []byte("pong")}, `{"data":"cG9uZw=="}`},
		{"empty bytes", &executor.Call_Message{Data: []byte{}}, `{"data":""}`},
		{"enum", &v1.FrameworkInfo_Capability{Type: v1.FrameworkInfo_Capability_PARTITION_AWARE}, `{"type":"PARTITION_AWARE"}`},
		{"enum that mesos-go does not know", &v1.MasterInfo_Capability{Type: 3}, `{"type":"QUOTA_V2"}`},
		{"map", &v1.TaskInfo{Limits: map[string]v1.Value_Scalar{"mem": {Value: 1}, "cpus": {Value: 2}}},
			`{"name":"","task_id":{"value":""},"agent_id":{"value":""},"limits":{"cpus":{"value":2.0},"mem":{"value":1.0}}}`},
	}
	for _, test := range tests {
		if got := string(MarshalJSON(test.m)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestUnmarshalJSONRefuses(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"nothing", ``, "syntax error at line 1 near: "},
		{"no JSON", `{nope`, "syntax error at line 1 near: nope"},
		{"on its line", "{\"type\":\n \"KILL\",,\n}", "syntax error at line 2 near: ,"},
		{"an array", `[]`, "Expecting a JSON object"},
		{"more than one", `{} {}`, "Parsed JSON included non-whitespace trailing characters:  {}"},
		{"missing", `{"kill":{}}`, "Missing required fields: kill.task_id"},
		{"all that is missing", `{"acknowledge":{"task_id":{}}}`,
			"Missing required fields: acknowledge.agent_id, acknowledge.task_id.value, acknowledge.uuid"},
		{"in a list", `{"accept":{"offer_ids":[{"value":"o"},{}]}}`, "Missing required fields: accept.offer_ids[1].value"},
		{"a wrong type", `{"kill":{"task_id":{"value":7}}}`, "Expecting a JSON string for field 'kill.task_id.value'"},
		{"no base64", `{"acknowledge":{"uuid":"*"}}`, "Failed to base64 decode bytes (illegal base64 data at input byte 0) for field 'acknowledge.uuid'"},
		{"no number", `{"accept":{"filters":{"refuse_seconds":"x"}}}`,
			`Expecting a number of type float64, not "x" for field 'accept.filters.refuse_seconds'`},
	}
	for _, test := range tests {
		err := UnmarshalJSON([]byte(test.body), &scheduler.Call{})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

func TestUnmarshalJSONTolerates(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"unknown fields", `{"type":"REVIVE","new":{"a":[1]}}`, `{"type":"REVIVE"}`},
		{"unknown enum names", `{"type":"BOGUS"}`, `{}`},
		{"null", `{"type":"REVIVE","kill":null}`, `{"type":"REVIVE"}`},
		{"enum numbers", `{"type":10}`, `{"type":"MESSAGE"}`},
		{"whole numbers with a point", `{"subscribe":{"framework_info":{"user":"u","name":"n","failover_timeout":5}}}`,
			`{"type":"UNKNOWN","subscribe":{"framework_info":{"user":"u","name":"n","failover_timeout":5.0}}}`},
	}
	for _, test := range tests {
		call := &scheduler.Call{}
		if err := UnmarshalJSON([]byte(test.body), call); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		want := strings.Replace(test.want, `"type":"UNKNOWN",`, "", 1)
		if got := string(MarshalJSON(call)); got != want {
			t.Errorf("%s: got %s, want %s", test.name, got, want)
		}
	}
}

// TestUnmarshalProtobufSurvives feeds what makes the generated code panic.
func TestUnmarshalProtobufSurvives(t *testing.T) {
	// A length that overflows (CVE-2021-3121).
	bad := []byte{0x1a, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00, 0x00, 0x00}
	for i := range bad {
		if err := UnmarshalProtobuf(bad[:i+1], &scheduler.Call{}); err == nil {
			t.Errorf("%x was taken for a call", bad[:i+1])
		}
	}
}

func FuzzUnmarshalJSON(f *testing.F) {
	seen := 0
	recorded(f, func(kind string, body json.RawMessage) {
		if seen++; kind == "scheduler call" && seen%20 == 0 {
			f.Add([]byte(body))
		}
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		first := &scheduler.Call{}
		if UnmarshalJSON(body, first) != nil {
			return
		}
		again := &scheduler.Call{}
		if err := UnmarshalJSON(MarshalJSON(first), again); err != nil {
			t.Fatalf("what we wrote we do not read: %v: %s", err, MarshalJSON(first))
		}
		if !bytes.Equal(MarshalJSON(first), MarshalJSON(again)) {
			t.Fatalf("%s became %s", MarshalJSON(first), MarshalJSON(again))
		}
	})
}

func FuzzUnmarshalProtobuf(f *testing.F) {
	f.Add([]byte{0x1a, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00})
	recorded(f, func(kind string, body json.RawMessage) {
		call := &scheduler.Call{}
		if kind == "scheduler call" && UnmarshalJSON(body, call) == nil && call.Type == scheduler.Call_ACCEPT {
			if encoded, err := Marshal(call, Protobuf); err == nil {
				f.Add(encoded)
			}
		}
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		call := &scheduler.Call{}
		if UnmarshalProtobuf(body, call) == nil {
			MarshalJSON(call) // must not panic
		}
	})
}
