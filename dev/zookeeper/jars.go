package zookeeper

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const version = "3.9.4"

//go:embed pom.xml
var pom []byte

// sums are the SHA-256 of what pom.xml names.
var sums = map[string]string{
	"zookeeper-3.9.4.jar":        "7bb3bb38bbddbc71424c59a7a0b170a1b2147313a84c972225ab0568dab513bf",
	"zookeeper-jute-3.9.4.jar":   "bd9750935add09b6cb920f7bcf0fa7b9a8165c45cdafd8ee1fc6808c46ec9094",
	"slf4j-api-2.0.13.jar":       "e7c2a48e8515ba1f49fa637d57b4e2f590b3f5bd97407ac699c3aa5efb1204a9",
	"logback-classic-1.3.15.jar": "06c68fb7468143c3c6512d13bb8eb6676724b019330de3a5ab493e267dde2084",
	"logback-core-1.3.15.jar":    "90b72ec457f30f8f42a280a409ab2bc4499fec16983005d1d91015199be7047b",
	"snappy-java-1.1.10.5.jar":   "0f3f1857ed33116583f480b4df5c0218836c47bfbc9c6221c0d73f356decf37b",
	"metrics-core-4.1.12.1.jar":  "cec34936faa625039f4e46123eccaa10a9eb9d9a40c6075830cd81330e259cf9",
}

var (
	// ErrNoJava: there is no java in JAVA_HOME or PATH. Install it; tests that need a server are skipped without it.
	ErrNoJava = errors.New("there is no java: install Debian's openjdk-17-jre-headless, or set JAVA_HOME")
	// ErrNoMaven: the jars are not in the cache, and there is no mvn to fetch them. Install it.
	ErrNoMaven = errors.New("there is no mvn to fetch ZooKeeper with: install Debian's maven")
)

// Available says what is missing on this machine to start a server: nil, ErrNoJava, ErrNoMaven, or why the cache folder
// cannot be found. It does not try to fetch anything.
func Available() error {
	if _, err := findJava(); err != nil {
		return err
	}
	folder, err := cacheFolder()
	if err != nil {
		return err
	}
	if verify(folder) == nil {
		return nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return ErrNoMaven
	}
	return nil
}

func findJava() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		if java, err := exec.LookPath(filepath.Join(home, "bin", "java")); err == nil {
			return java, nil
		}
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return "", ErrNoJava
	}
	return java, nil
}

func cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for ZooKeeper's jars: %w", err)
	}
	return filepath.Join(cache, "tidemill", "zookeeper-"+version), nil
}

// jars returns the folder with the jars, fetching them if they are not there or not what they should be.
func jars(ctx context.Context) (string, error) {
	folder, err := cacheFolder()
	if err != nil {
		return "", err
	}
	if verify(folder) == nil {
		return folder, nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", fmt.Errorf("make folder for ZooKeeper's jars: %w", err)
	}
	unlock, err := lock(folder + ".lock")
	if err != nil {
		return "", fmt.Errorf("lock folder for ZooKeeper's jars: %w", err)
	}
	defer unlock()
	if verify(folder) == nil {
		return folder, nil // another process was faster
	}
	if err := fetch(ctx, folder); err != nil {
		return "", fmt.Errorf("fetch ZooKeeper %s: %w", version, err)
	}
	return folder, nil
}

// lock waits until no other process has the file locked.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil // nothing was written; closing unlocks
}

// fetch lets Maven copy the jars next to folder, and renames the whole once it is what it should be.
func fetch(ctx context.Context, folder string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return ErrNoMaven
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), "fetch-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // what is left there hurts nobody
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	lib := filepath.Join(work, "lib")
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "dependency:copy-dependencies",
		"-DoutputDirectory="+lib, "-DincludeScope=runtime", "-DexcludeTransitive=true")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn: %w\n%s", err, bytes.TrimSpace(out))
	}
	if err := verify(lib); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(lib, folder)
}

// verify compares the jars in folder with the known sums.
func verify(folder string) error {
	for name, want := range sums {
		got, err := sum(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("check %s: its SHA-256 is %s, not %s", name, got, want)
		}
	}
	entries, err := fs.ReadDir(os.DirFS(folder), ".")
	if err != nil {
		return err
	}
	if len(entries) != len(sums) {
		return fmt.Errorf("check %s: %d files, not %d", folder, len(entries), len(sums))
	}
	return nil
}

func sum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
