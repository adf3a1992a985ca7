package aggregate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/dev/hdfs"
	"github.com/tidemill/tidemill/dev/hdfs/hdfstest"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// A whole job over HDFS, input and output: blocks smaller than the files, several reduce tasks, and a second run that
// replaces the result of the first.
func TestOnHDFS(t *testing.T) {
	cluster := hdfstest.Start(t, hdfs.Config{BlockSize: 1 << 20})
	l := newLake(t)
	l.base = "hdfs://" + cluster.Nameservice() + "/lake"
	l.connections = connect(t, fmt.Sprintf(`{"type": "hdfs", "name_nodes": [%q]}`, cluster.NameNodes()[0]))
	l.copyIn(flightsData, "flights")

	want := countFlights(t)
	l.reduces = 2
	for range 2 {
		out, err := l.run(flightsSection, 4)
		if err != nil {
			t.Fatal(err)
		}
		l.download("out/")
		rows := l.rows(out)
		if len(rows) != len(want) || out.Files != 2 {
			t.Errorf("got %d rows in %d files, want %d in 2", len(rows), out.Files, len(want))
		}
		for _, row := range rows {
			fields := strings.Split(row, "|")
			key := fields[0] + "|" + fields[1]
			if got, want := strings.Join(fields[:len(fields)-2], "|"), want[key].exactly(t, key); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	}
	f := l.mustFail(strings.Replace(flightsSection, "LAKE/flights/", "LAKE/none/", 1), 4)
	if f.Class != proto.CLASS_FINAL {
		t.Errorf("no input: got %+v", f)
	}
	l.connections = connect(t, `{"type": "hdfs", "name_nodes": ["localhost:1"], "nameservice": "other"}`)
	if f = l.mustFail(flightsSection, 4); f.Class != proto.CLASS_FINAL || !strings.Contains(f.Message, "it reaches hdfs://other") {
		t.Errorf("another nameservice: got %+v", f)
	}
}

// download copies objects below a prefix to where rows looks for them.
func (l *lake) download(prefix string) {
	l.t.Helper()
	uri, err := storage.ParseURI(l.base + "/" + prefix)
	if err != nil {
		l.t.Fatal(err)
	}
	store, err := l.connections.Open(l.t.Context(), "lake", uri)
	if err != nil {
		l.t.Fatal(err)
	}
	for obj, err := range store.List(l.t.Context(), uri.Key, "") {
		if err != nil {
			l.t.Fatal(err)
		}
		data, _, err := storage.ReadAll(l.t.Context(), store, obj.Key, 1<<30)
		if err != nil {
			l.t.Fatal(err)
		}
		path := filepath.Join(l.root, prefix, strings.TrimPrefix(obj.Key, uri.Key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
}
