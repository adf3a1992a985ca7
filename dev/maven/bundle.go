package maven

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

var (
	// ErrNoJava: there is no java in JAVA_HOME or PATH. Install it; tests that need a server are skipped without it.
	ErrNoJava = errors.New("there is no java: install Debian's openjdk-17-jre-headless, or set JAVA_HOME")
	// ErrNoMaven: the jars are not in the cache, and there is no mvn to fetch them. Install it.
	ErrNoMaven = errors.New("there is no mvn to fetch jars with: install Debian's maven")
)

// Bundle is a set of jars.
type Bundle struct {
	Name       string            // of the folder in the cache, such as "zookeeper-3.9.4"
	POM        []byte            // a pom.xml whose runtime dependencies are the jars
	Transitive bool              // with what those depend on
	Sums       map[string]string // SHA-256 in hex of each jar, by file name
}

// ParseSums reads the lines of sha256sum: a sum, two spaces, a file name. It panics on anything else: the text is part of
// the program.
func ParseSums(text string) map[string]string {
	sums := map[string]string{}
	for line := range strings.Lines(text) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok || len(sum) != 2*sha256.Size || sums[name] != "" {
			panic("parse sums: " + line)
		}
		sums[name] = sum
	}
	return sums
}

// Java finds the program; ErrNoJava.
func Java() (string, error) {
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

// Available says what is missing on this machine to run the jars: nil, ErrNoJava, ErrNoMaven, or why the cache folder
// cannot be found. It does not try to fetch anything.
func (b Bundle) Available() error {
	if _, err := Java(); err != nil {
		return err
	}
	folder, err := b.folder()
	if err != nil {
		return err
	}
	if b.verify(folder) == nil {
		return nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return ErrNoMaven
	}
	return nil
}

func (b Bundle) folder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the jars of %s: %w", b.Name, err)
	}
	return filepath.Join(cache, "tidemill", b.Name), nil
}

// Folder returns the folder with the jars, fetching them if they are not there or not what they should be. It blocks
// while another process fetches them.
func (b Bundle) Folder(ctx context.Context) (string, error) {
	folder, err := b.folder()
	if err != nil {
		return "", err
	}
	if b.verify(folder) == nil {
		return folder, nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", fmt.Errorf("make folder for the jars of %s: %w", b.Name, err)
	}
	unlock, err := lock(folder + ".lock")
	if err != nil {
		return "", fmt.Errorf("lock folder for the jars of %s: %w", b.Name, err)
	}
	defer unlock()
	if b.verify(folder) == nil {
		return folder, nil // another process was faster
	}
	if err := b.fetch(ctx, folder); err != nil {
		return "", fmt.Errorf("fetch %s: %w", b.Name, err)
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
func (b Bundle) fetch(ctx context.Context, folder string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return ErrNoMaven
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), "fetch-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // what is left there hurts nobody
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), b.POM, 0o644); err != nil {
		return err
	}
	lib := filepath.Join(work, "lib")
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "dependency:copy-dependencies",
		"-DoutputDirectory="+lib, "-DincludeScope=runtime", fmt.Sprintf("-DexcludeTransitive=%t", !b.Transitive))
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn: %w\n%s", err, bytes.TrimSpace(out))
	}
	if err := b.verify(lib); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(lib, folder)
}

// verify compares the jars in folder with the known sums.
func (b Bundle) verify(folder string) error {
	for name, want := range b.Sums {
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
	if len(entries) != len(b.Sums) {
		return fmt.Errorf("check %s: %d files, not %d", folder, len(entries), len(b.Sums))
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
