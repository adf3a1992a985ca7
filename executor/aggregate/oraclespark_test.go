//go:build endtoend

package aggregate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/peers"
)

var sparkDialect = dialect{
	micros: "unix_micros(CAST(%s AS INSTANT))", instant: "CAST(timestamp_micros(%s) AS TIMESTAMP_NTZ)", exact: "DECIMAL(38,0)",
	quantile: "percentile(%s, %v)", first: "min_by(%s, %s)", last: "max_by(%s, %s)", pair: "struct(%s, %s)",
	types: strings.NewReplacer("AS TIMESTAMPTZ)", "AS TIMESTAMP)", "AS TIMESTAMP)", "AS TIMESTAMP_NTZ)", "AS INSTANT)", "AS TIMESTAMP)"),
}

// sparkScript answers queries over Parquet files, all in one session: for each folder, query.sql over truth.parquet.
const sparkScript = `
import os, sys, traceback
from pyspark.sql import SparkSession
root = sys.argv[1]
session = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.memory", "1g")
           .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1").config("spark.local.dir", root)
           .config("spark.sql.shuffle.partitions", "2").config("spark.sql.session.timeZone", "UTC").config("spark.sql.ansi.enabled", "true")
           .config("spark.sql.adaptive.enabled", "false").config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS").getOrCreate())
session.sparkContext.setLogLevel("OFF")
for name in sorted(os.listdir(root)):
    folder = os.path.join(root, name)
    if not os.path.exists(folder + "/query.sql"):
        continue
    try:
        session.read.parquet(folder + "/truth.parquet").createOrReplaceTempView("truth")
        session.sql(open(folder + "/query.sql").read()).coalesce(1).write.parquet(folder + "/result")
    except Exception as error:
        open(folder + "/error", "w").write(str(error)[:4000])
gateway = session.sparkContext._gateway
session.stop()
gateway.shutdown()
gateway.proc.stdin.close()
gateway.proc.wait()
`

// TestOracleSpark compares random aggregations with what Spark makes of the same tables.
func TestOracleSpark(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	python, err := peers.Python(ctx, "pyspark==4.0.1")
	if err != nil {
		t.Fatal(err)
	}
	seed := *oracleSeed
	if seed == 0 {
		seed = rand.Uint64N(1_000_000_000)
	}
	t.Logf("seeds from %d on", seed)
	root := t.TempDir()
	var all []*aggregation
	for i := range uint64(*oracleCount) {
		a := newAggregation(seed + i)
		a.forSpark(t, filepath.Join(root, fmt.Sprint(a.seed)))
		all = append(all, a)
	}
	script := filepath.Join(root, "script.py")
	if err := os.WriteFile(script, []byte(sparkScript), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, python, script, root)
	cmd.Env = append(os.Environ(), "PYSPARK_PYTHON="+python, "SPARK_LOCAL_IP=127.0.0.1")
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, a := range all {
		t.Run(fmt.Sprint(a.seed), func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(root, fmt.Sprint(a.seed))
			if said, err := os.ReadFile(filepath.Join(folder, "error")); err == nil {
				t.Fatalf("Spark: %s\n%s", said, a.reference(sparkDialect))
			}
			want := directRows(t, a.truth(t), "SELECT * FROM read_parquet('"+folder+"/result/*.parquet')")
			compareOracle(t, a, a.run(t), want)
		})
	}
}

// forSpark writes the table and the query.
func (a *aggregation) forSpark(t *testing.T, folder string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := a.truth(t).ExecContext(t.Context(), "COPY truth TO '"+folder+"/truth.parquet' (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "query.sql"), []byte(a.reference(sparkDialect)), 0o644); err != nil {
		t.Fatal(err)
	}
	spec, err := json.MarshalIndent(a.section, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "spec.json"), spec, 0o644) // for who looks at a failure
	}
	if err != nil {
		t.Fatal(err)
	}
}
