package storage_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/storage"
)

func TestParseURI(t *testing.T) {
	tests := []struct {
		text string
		want storage.URI
	}{
		{"s3://flights/2013/01.csv.gz", storage.URI{Scheme: "s3", Bucket: "flights", Key: "2013/01.csv.gz"}},
		{"s3://flights/2013/", storage.URI{Scheme: "s3", Bucket: "flights", Key: "2013/"}},
		{"s3://flights/", storage.URI{Scheme: "s3", Bucket: "flights"}},
		{"s3://My_Old.Bucket-1/k", storage.URI{Scheme: "s3", Bucket: "My_Old.Bucket-1", Key: "k"}},
		{"s3://flights/a b+c%20d?e#f", storage.URI{Scheme: "s3", Bucket: "flights", Key: "a b+c%20d?e#f"}},
		{"s3://flights//a//b/../c", storage.URI{Scheme: "s3", Bucket: "flights", Key: "/a//b/../c"}},
		{"s3://flights/日本/ü", storage.URI{Scheme: "s3", Bucket: "flights", Key: "日本/ü"}},
		{"file:///srv/lake/x.csv", storage.URI{Scheme: "file", Key: "srv/lake/x.csv"}},
		{"file:///srv/lake/", storage.URI{Scheme: "file", Key: "srv/lake/"}},
		{"file:///", storage.URI{Scheme: "file"}},
		{"hdfs://prod/data/x.csv", storage.URI{Scheme: "hdfs", Bucket: "prod", Key: "data/x.csv"}},
		{"hdfs://name-node.example.com:8020/data/", storage.URI{Scheme: "hdfs", Bucket: "name-node.example.com:8020", Key: "data/"}},
		{"hdfs://prod/", storage.URI{Scheme: "hdfs", Bucket: "prod"}},
	}
	for _, tt := range tests {
		got, err := storage.ParseURI(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q: got %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
		if got.String() != tt.text {
			t.Errorf("%q: got text %q", tt.text, got)
		}
	}
	if got, err := storage.ParseURI("s3://flights"); err != nil || got.String() != "s3://flights/" {
		t.Errorf("without a slash: got %q, %v", got, err)
	}
}

func TestParseURIRefuses(t *testing.T) {
	tests := map[string]string{
		"":                                    "no scheme",
		"flights/2013":                        "no scheme",
		"s3:/flights/x":                       "no scheme",
		"S3://flights/x":                      `scheme "S3" is unknown`,
		"gs://flights/x":                      `scheme "gs" is unknown`,
		"://flights":                          `scheme "" is unknown`,
		"s3://":                               "bucket is missing",
		"s3:///key":                           "bucket is missing",
		"s3://ab/key":                         "2 characters",
		"s3://my bucket/key":                  `the character ' '`,
		"s3://user:pass@flights/k":            `the character ':'`,
		"s3://-flights/k":                     "begin and end",
		"s3://flights./k":                     "begin and end",
		"s3://flights/a\nb":                   "control character",
		"s3://flights/a\xff":                  "not UTF-8",
		"s3://flights/" + longKey(1025):       "1025 bytes",
		"file://host/path":                    "no host",
		"file://":                             "no host",
		"file:///srv/../etc/passwd":           `segment ".."`,
		"file:///srv/./x":                     `segment "."`,
		"file:///srv//x":                      "empty segment",
		"file:////":                           "empty segment",
		"file:///a\x00b":                      "control character",
		"s3://" + longKey(300) + "/k":         "300 characters",
		strings.Repeat("ü", 1000) + "://x/y":  "is unknown",
		"s3://flüge/x":                        `the character 'ü'`,
		"https://bucket.s3.amazonaws.com/key": "use s3, file or hdfs",
		"hdfs:///data":                        "nameservice is missing",
		"hdfs://:8020/data":                   "nameservice is missing",
		"hdfs://name:/data":                   "no port",
		"hdfs://name:070/data":                "no port",
		"hdfs://name:65536/data":              "no port",
		"hdfs://a,b/data":                     `the character ','`,
		"hdfs://prod/a/../b":                  `segment ".."`,
		"hdfs://prod//a":                      "empty segment",
		"hdfs://" + longKey(256) + "/a":       "256 characters",
	}
	for text, want := range tests {
		got, err := storage.ParseURI(text)
		if !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%q: got %+v, %v, want ErrInvalid", text, got, err)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %q, want one with %q", text, err, want)
		}
		if got := len(err.Error()); got > 3000 {
			t.Errorf("%.40q: error has %d bytes", text, got)
		}
	}
}

func longKey(n int) string { return strings.Repeat("x", n) }

func TestJoin(t *testing.T) {
	tests := []struct {
		base string
		elem []string
		want string
	}{
		{"s3://results", []string{"a"}, "s3://results/a"},
		{"s3://results/", []string{"a", "b"}, "s3://results/a/b"},
		{"s3://results/out", []string{"data", "run-1", "0"}, "s3://results/out/data/run-1/0"},
		{"s3://results/out/", []string{"_latest.json"}, "s3://results/out/_latest.json"},
		{"s3://results/out/", []string{"data/"}, "s3://results/out/data/"},
		{"s3://results/out/", []string{"data/", "x"}, "s3://results/out/data/x"},
		{"s3://results/out/", nil, "s3://results/out/"},
		{"file:///srv", []string{"x"}, "file:///srv/x"},
	}
	for _, tt := range tests {
		base, err := storage.ParseURI(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		if got := base.Join(tt.elem...).String(); got != tt.want {
			t.Errorf("%s + %q: got %s, want %s", tt.base, tt.elem, got, tt.want)
		}
	}
}

// Joining one by one is joining at once, and what is joined is below the base.
func TestJoinProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z=. ]{1,8}`)
		base := storage.URI{Scheme: "s3", Bucket: "bucket", Key: rapid.StringMatching(`([a-z]{1,4}/){0,3}`).Draw(t, "key")}
		elems := rapid.SliceOfN(word, 1, 4).Draw(t, "elems")
		got, want := base, base.Join(elems...)
		for _, e := range elems {
			got = got.Join(e)
		}
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if !strings.HasPrefix(want.Key, base.Key) || !strings.HasSuffix(want.Key, "/"+elems[len(elems)-1]) && want.Key != elems[len(elems)-1] {
			t.Fatalf("got key %q below %q", want.Key, base.Key)
		}
	})
}

func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{"s3://flights/2013/01.csv", "file:///srv/lake/", "s3://b", "s3://bucket//", "file:////", "hdfs://prod/x", "hdfs://host:8020/", "s3:///", "://", "s3://bucket/\xff", "s3://bücket/k"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := storage.ParseURI(text)
		if err != nil {
			if !errors.Is(err, storage.ErrInvalid) || u != (storage.URI{}) {
				t.Errorf("got %+v, %v, want nothing and ErrInvalid", u, err)
			}
			if !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("got error %q, want one printable line", err)
			}
			return
		}
		again, err := storage.ParseURI(u.String())
		if err != nil || again != u {
			t.Errorf("%q: got %+v, then %+v, %v", text, u, again, err)
		}
		if u.Key != "" && storage.CheckKey(u.Key) != nil {
			t.Errorf("%q: got key %q, which no store takes", text, u.Key)
		}
		if (u.Scheme == storage.SchemeFile) != (u.Bucket == "") {
			t.Errorf("%q: got %+v", text, u)
		}
	})
}
