package jobs

import (
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The pattern in the schema and the check in the decoder are about the same texts.
func TestFormatsAgreeWithPatterns(t *testing.T) {
	// Texts near the border: of characters that matter, now and then of any.
	texts := rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("aZ09._-+/ \t\n\"*?éB")), 0, 66, -1),
		rapid.StringMatching(`(s3|file|hdfs)://(/|[a-zA-Z0-9._-]{1,5}/?)([a-z.*?/]{0,6})`),
		rapid.StringMatching(`[a-z.*-]{1,3}(/[a-z.*-]{0,3}){0,2}`),
		rapid.StringMatching(`[0-9]{1,3}(\.[0-9])?(B|kB|KB|MB|KiB|MiB|GiB|Mi|ms|s|m|h|d| s)`),
		rapid.String(),
	)
	exact := map[string]bool{"name": true, "version": true, "role": true, "character": true, "optional character": true, "size": true, "duration": true}
	for name, format := range formats {
		pattern := regexp.MustCompile(format.pattern)
		check := format.check
		switch name {
		case "size":
			check = func(s string) (string, string) { _, detail := ParseSize(s); return s, detail }
		case "duration":
			check = func(s string) (string, string) { _, detail := ParseDuration(s); return s, detail }
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := texts.Draw(t, "text")
				normal, detail := check(s)
				matches := pattern.MatchString(s)
				if detail == "" && !matches || detail != "" && matches && exact[name] {
					t.Fatalf("%q: the check says %q, the pattern %t", s, detail, matches)
				}
				if detail != "" {
					return
				}
				if again, detail := check(normal); detail != "" || again != normal {
					t.Fatalf("%q becomes %q, which becomes %q, %q", s, normal, again, detail)
				}
			})
		})
	}
}

func TestSizesAndDurationsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(
			rapid.Int64Min(0),
			rapid.Map(rapid.Int64Range(0, 1000), func(n int64) int64 { return n << 20 }),
			rapid.Map(rapid.Int64Range(0, 1000), func(n int64) int64 { return n * 1e9 }),
		).Draw(t, "n")
		size := FormatSize(n)
		if got, detail := ParseSize(size); got != n || detail != "" {
			t.Fatalf("size %d is shown as %q, which reads %d, %q", n, size, got, detail)
		}
		duration := FormatDuration(time.Duration(n))
		if got, detail := ParseDuration(duration); got != time.Duration(n) || detail != "" {
			t.Fatalf("duration %d is shown as %q, which reads %d, %q", n, duration, got, detail)
		}
	})
}

func TestFormatSizeAndDuration(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 1: "1B", 1000: "1kB", 1024: "1KiB", 1500: "1500B", 10e6: "10MB", 64 << 20: "64MiB", 1 << 30: "1GiB", 1536 << 20: "1536MiB", 5e9: "5GB",
	} {
		if got := FormatSize(n); got != want {
			t.Errorf("size %d: got %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 5 * time.Second: "5s", 90 * time.Second: "1m30s", time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		20 * time.Hour: "20h", time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("duration %d: got %q, want %q", d, got, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"name", "kind", "parallelism", "group_by", "memory", "input", "approx_distinct"}
	for name, want := range map[string]string{
		"paralelism": "parallelism", "paralellism": "parallelism", "Name": "name", "groupBy": "group_by", "group-by": "group_by", "groupby": "group_by",
		"mem": "memory", "in": "", "inputs": "input", "approx": "approx_distinct", "x": "", "": "", "output": "", "eman": "", "nmae": "name", "knid": "kind",
	} {
		if got := suggest(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// The distance is a metric on short texts, and one edit is one step.
func TestEditDistance(t *testing.T) {
	words := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := words.Draw(t, "a"), words.Draw(t, "b")
		d := editDistance(a, b)
		if d != editDistance(b, a) || (d == 0) != (a == b) || d > max(len(a), len(b)) {
			t.Fatalf("distance of %q and %q: %d, back %d", a, b, d, editDistance(b, a))
		}
		i := rapid.IntRange(0, len(a)).Draw(t, "at")
		if d := editDistance(a, a[:i]+"x"+a[i:]); d != 1 {
			t.Fatalf("distance of %q and %q: %d", a, a[:i]+"x"+a[i:], d)
		}
	})
}
