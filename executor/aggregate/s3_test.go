package aggregate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/dev/s3"
	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
)

// The same over S3: several splits, several reduce tasks whose files the commit task copies, and what S3 says when
// something is wrong with it.
func TestOnS3(t *testing.T) {
	folder := t.TempDir()
	server, err := s3.Start(t.Context(), s3.Config{DataDir: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateBucket(t.Context(), "lake"); err != nil {
		t.Fatal(err)
	}
	entry := func(secret string) string {
		return fmt.Sprintf(`{"type": "s3", "endpoint": %q, "region": %q, "access_key": %q, "secret_key": %q, "path_style": true}`,
			server.URL(), server.Region(), server.AccessKey(), secret)
	}
	l := newLake(t)
	l.root, l.base, l.connections = folder+"/objects/lake", "s3://lake", connect(t, entry(server.SecretKey()))
	l.copyIn(flightsData, "flights")

	want := countFlights(t)
	l.reduces = 2
	out, err := l.run(flightsSection, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l.stages); got != "[plan 1 map 4 reduce 2 commit 1]" || out.Files != 2 {
		t.Errorf("got stages %s, %d files", got, out.Files)
	}
	rows := l.rows(out)
	if len(rows) != len(want) {
		t.Errorf("got %d rows, want %d", len(rows), len(want))
	}
	for _, row := range rows {
		fields := strings.Split(row, "|")
		key := fields[0] + "|" + fields[1]
		if got, want := strings.Join(fields[:len(fields)-2], "|"), want[key].exactly(t, key); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}

	l.kind = aggregate.New()
	f := l.mustFail(strings.Replace(flightsSection, "LAKE/flights/", "s3://no-such-bucket/flights/", 1), 4)
	if f.Class != proto.CLASS_FINAL || f.Pointer != "/aggregate/input/uri" || f.Message != "the bucket of s3://no-such-bucket/flights/ does not exist" {
		t.Errorf("missing bucket: got %+v", f)
	}
	nowhere := strings.Replace(flightsSection, "LAKE/out", "s3://no-such-bucket/out", 1)
	one := strings.Replace(nowhere, "LAKE/flights/", "LAKE/flights/*01.csv.gz", 1)
	for _, section := range []string{nowhere, one} {
		f = l.mustFail(section, 4)
		if f.Class != proto.CLASS_FINAL || f.Pointer != "/aggregate/output/uri" || !strings.HasPrefix(f.Message, "the bucket of s3://no-such-bucket/out") {
			t.Errorf("missing bucket of the output: got %+v", f)
		}
	}
	l.connections = connect(t, entry("wrong"))
	f = l.mustFail(flightsSection, 4)
	if f.Class != proto.CLASS_PASSING || f.Kind != "unavailable" || strings.Contains(f.Message, server.AccessKey()) {
		t.Errorf("wrong keys: got %+v", f)
	}
}
