package s3

import (
	"errors"
	"io"
	"testing"

	"github.com/tidemill/tidemill/storage"
)

// BenchmarkReader compares one body with ranges fetched ahead, from the
// embedded server; bytes per second are the figure.
func BenchmarkReader(b *testing.B) {
	const size = 64 << 20
	client, err := NewClient(b.Context(), serverConfig(server.URL()))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if err := server.CreateBucket(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	s := storage.WithRetry(client.Bucket("bench"), storage.DefaultBackoff)
	obj, err := storage.WriteAll(b.Context(), s, "big", content(size), storage.Always)
	if err != nil {
		b.Fatal(err)
	}
	ways := []struct {
		name string
		open func() (io.ReadCloser, error)
	}{
		{"one body", func() (io.ReadCloser, error) {
			body, _, err := s.Get(b.Context(), "big", storage.Range{})
			return body, err
		}},
		{"ranges ahead", func() (io.ReadCloser, error) {
			return storage.NewReader(b.Context(), s, obj, storage.Range{}, storage.ReadAhead{}), nil
		}},
	}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				body, err := way.open()
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, body)
				if err = errors.Join(err, body.Close()); err != nil || n != size {
					b.Fatalf("got %d bytes, %v", n, err)
				}
			}
		})
	}
}
