package platform

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemill/tidemill/storage"
)

// Buckets are made on each start.
var Buckets = []string{"flights", "weblog", "results"}

// LoadExamples puts the data of dir (examples/data of the checkout) into the buckets: s3://flights/2013/ and
// s3://weblog/2015/. What is there already is written again. It returns how many files and bytes there are.
func (p *Platform) LoadExamples(ctx context.Context, dir string) (files int, bytes int64, err error) {
	for _, bucket := range Buckets {
		if err := p.S3.CreateBucket(ctx, bucket); err != nil {
			return 0, 0, err
		}
	}
	for _, folder := range []struct{ pattern, uri string }{
		{"flights/*.csv.gz", "s3://flights/2013/"},
		{"weblog/*.jsonl.gz", "s3://weblog/2015/"},
	} {
		store, err := p.Objects(ctx, folder.uri)
		if err != nil {
			return 0, 0, err
		}
		names, err := filepath.Glob(filepath.Join(dir, folder.pattern))
		if err != nil || len(names) == 0 {
			return 0, 0, fmt.Errorf("find example data %s: no such files (%v)", folder.pattern, err)
		}
		prefix, err := storage.ParseURI(folder.uri)
		if err != nil {
			return 0, 0, err
		}
		for _, name := range names {
			n, err := putFile(ctx, store, prefix.Key+filepath.Base(name), name)
			if err != nil {
				return 0, 0, err
			}
			files++
			bytes += n
		}
	}
	return files, bytes, nil
}

func putFile(ctx context.Context, store storage.Store, key, name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("open example data: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("open example data: %w", err)
	}
	if _, err := store.Put(ctx, key, f, info.Size(), storage.Always); err != nil {
		return 0, err
	}
	return info.Size(), nil
}
