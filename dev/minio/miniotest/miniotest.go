package miniotest

import (
	"os"
	"testing"

	"github.com/tidemill/tidemill/dev/minio"
)

// Start starts a server that is stopped with the test.
func Start(tb testing.TB) *minio.Server {
	tb.Helper()
	if testing.Short() {
		tb.Skip("starts a MinIO")
	}
	if !minio.Built() && os.Getenv("CI") == "" {
		tb.Skip("MinIO is not built: go run ./dev/minio/build does that")
	}
	server, err := minio.Start(tb.Context(), tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return server
}
