package engine_test

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/engine"
)

// Elements of all types, short and long, NULL or not, arrive in functions and come back.
func TestFunctions(t *testing.T) {
	s := open(t)
	err := s.Register(
		engine.Function{Name: "ours_bytes", Parameters: []engine.Type{engine.Varchar}, Result: engine.Blob, Call: func(rows int, in []engine.Vector, out engine.Vector) error {
			for i := range rows {
				if in[0].Null(i) {
					out.SetNull(i)
					continue
				}
				out.SetBytes(i, append([]byte{0}, in[0].Bytes(i)...))
			}
			return nil
		}},
		engine.Function{Name: "ours_sum", Parameters: []engine.Type{engine.Doubles, engine.BigInt}, Result: engine.Double, Call: func(rows int, in []engine.Vector, out engine.Vector) error {
			elements := in[0].Elements()
			for i := range rows {
				if in[0].Null(i) || in[1].Null(i) {
					out.SetNull(i)
					continue
				}
				from, to := in[0].List(i)
				sum := float64(in[1].Int64s()[i])
				for k := from; k < to; k++ {
					if !elements.Null(k) {
						sum += elements.Float64s()[k]
					}
				}
				out.Float64s()[i] = sum
			}
			return nil
		}},
		engine.Function{Name: "ours_wide", Parameters: []engine.Type{engine.UBigInt, engine.UInteger}, Result: engine.UHugeInt, Call: func(rows int, in []engine.Vector, out engine.Vector) error {
			for i := range rows {
				high, low := bits.Mul64(in[0].Uint64s()[i], uint64(in[1].Uint32s()[i]))
				out.Uint128s()[i] = [2]uint64{low, high}
			}
			return nil
		}},
		engine.Function{Name: "ours_error", Parameters: []engine.Type{engine.BigInt}, Result: engine.BigInt, Call: func(int, []engine.Vector, engine.Vector) error {
			return errors.New("it went wrong")
		}},
		engine.Function{Name: "ours_panic", Parameters: []engine.Type{engine.BigInt}, Result: engine.BigInt, Call: func(_ int, in []engine.Vector, _ engine.Vector) error {
			return fmt.Errorf("never seen: %v", in[1])
		}})
	if err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		"SELECT CAST(count(*) AS VARCHAR) FROM (SELECT CASE WHEN i % 7 > 0 THEN repeat('é', i % 30) END AS x FROM range(10000) r(i)) WHERE coalesce(octet_length(ours_bytes(x)), -1) = coalesce(strlen(x) + 1, -1)":                                    "10000",
		"SELECT CAST(count(*) AS VARCHAR) FROM (SELECT i % 1000 AS g, list(CASE WHEN i % 3 > 0 THEN i / 2 END) AS l, sum(CASE WHEN i % 3 > 0 THEN i / 2 END) AS s FROM range(100000) r(i) GROUP BY g) WHERE ours_sum(l, g) IS NOT DISTINCT FROM s + g": "1000",
		"SELECT CAST(ours_sum(NULL, 1) IS NULL AND ours_sum([], 7) = 7 AS VARCHAR)": "true",
		"SELECT CAST(ours_wide(18446744073709551615, 16) AS VARCHAR)":               "295147905179352825840",
	} {
		if got, err := s.Strings(t.Context(), sql); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, %v", sql, got, err)
		}
	}
	for sql, want := range map[string]string{
		"SELECT CAST(ours_error(i) AS VARCHAR) FROM range(3) r(i)": "it went wrong",
		"SELECT CAST(ours_panic(i) AS VARCHAR) FROM range(3) r(i)": `call function "ours_panic"`,
	} {
		if _, err := s.Strings(t.Context(), sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", sql, err)
		}
	}
}
