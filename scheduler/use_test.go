package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/proto"
)

// TestMigrateCountsUses: records of format 2 say what became of executor versions as far as their runs are kept.
func TestMigrateCountsUses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRegistry(rt)
		r.register("1.2.0")
		r.register("1.3.0")
		for range rapid.IntRange(0, 8).Draw(rt, "steps") {
			switch r.pick("what", 3) {
			case 0:
				r.pass()
			case 1:
				r.start()
			case 2:
				if len(r.runs) > 0 {
					r.do(CancelRun{Run: r.runs[r.pick("run", len(r.runs))]})
				}
			}
		}
		want := map[string]*proto.Use{}
		for name, v := range r.core.View().Versions {
			want[name] = v.Use
		}
		for key := range r.store {
			if key.Kind == KindUse {
				delete(r.store, key)
			}
		}
		r.store[Key{KindFormat, formatID}] = proto.Encode(&proto.Format{Version: 2, WrittenBy: "0.1.0"})
		view, err := Picture(testConfig(), records(r.store), r.core.now)
		if err != nil {
			rt.Fatal(err)
		}
		got := map[string]*proto.Use{}
		for name, v := range view.Versions {
			got[name] = v.Use
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("uses after the migration (-want +got):\n%s", diff)
		}
	})
}
