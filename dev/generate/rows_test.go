package generate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"testing"
)

func TestLinesAreTheRows(t *testing.T) {
	const n = 5000
	data := AppendJSON(nil, 0, 2000)
	data = AppendJSON(data, 2000, n)
	lines := bufio.NewScanner(bytes.NewReader(data))
	i := int64(0)
	for ; lines.Scan(); i++ {
		var got struct {
			ID, Low, Medium, High, Skewed, Amount int64
			Price                                 float64
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		r := Number(i)
		if got.ID != r.ID || got.Low != r.Low || got.Medium != r.Medium || got.High != r.High || got.Skewed != r.Skewed ||
			got.Amount != r.Amount || int64(got.Price*100+0.5) != r.Cents {
			t.Fatalf("got %s, want %+v", lines.Bytes(), r)
		}
		if r.Low >= Low || r.Medium >= Medium || r.High >= High || i%2 == 0 && r.Skewed != 0 {
			t.Fatalf("got %+v", r)
		}
	}
	if i != n {
		t.Errorf("got %d lines, want %d", i, n)
	}
}

// What a test has written once must not change: results that others keep are compared with it.
func TestRowsStayTheSame(t *testing.T) {
	const want = `{"id":7,"at":"2026-01-01T00:00:00.049","low":9,"medium":94360,"high":18725206,"skewed":18725206,"amount":871,"price":2086.99,"city":"Turin","note":"note 84669"}` + "\n"
	if got := string(AppendJSON(nil, 7, 8)); got != want {
		t.Errorf("got %swant %s", got, want)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	var data []byte
	for b.Loop() {
		data = AppendJSON(data[:0], 0, 1000)
		b.SetBytes(int64(len(data)))
	}
}
