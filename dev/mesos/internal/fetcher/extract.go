package fetcher

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// extract unpacks an archive into dir; other files are left as they are. Only
// directories and regular files inside dir are unpacked.
func extract(archive, dir string) error {
	if !isArchive(archive) {
		return nil
	}
	if strings.HasSuffix(archive, ".zip") {
		return extractZip(archive, dir)
	}
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	var from io.Reader = file
	if !strings.HasSuffix(archive, ".tar") {
		if from, err = gzip.NewReader(file); err != nil {
			return fmt.Errorf("extract %q: %w", filepath.Base(archive), err)
		}
	}
	contents := tar.NewReader(from)
	for {
		header, err := contents.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("extract %q: %w", filepath.Base(archive), err)
		}
		if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir {
			continue
		}
		if err := unpack(dir, header.Name, header.FileInfo(), contents); err != nil {
			return fmt.Errorf("extract %q: %w", filepath.Base(archive), err)
		}
	}
}

func extractZip(archive, dir string) error {
	contents, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("extract %q: %w", filepath.Base(archive), err)
	}
	defer contents.Close() //nolint:errcheck // only read
	for _, entry := range contents.File {
		from, err := entry.Open()
		if err != nil {
			return fmt.Errorf("extract %q: %w", filepath.Base(archive), err)
		}
		err = unpack(dir, entry.Name, entry.FileInfo(), from)
		if err = errors.Join(err, from.Close()); err != nil {
			return fmt.Errorf("extract %q: %w", filepath.Base(archive), err)
		}
	}
	return nil
}

func unpack(dir, name string, info os.FileInfo, from io.Reader) error {
	if !filepath.IsLocal(filepath.Clean(name)) {
		return fmt.Errorf("entry %q leads out of the sandbox", name)
	}
	target := filepath.Join(dir, name)
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := writeFile(target, from); err != nil {
		return err
	}
	return os.Chmod(target, info.Mode().Perm()|0o600)
}
