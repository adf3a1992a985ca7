package peers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Python is an interpreter that has these packages, each given as name==version. The first call for a list of packages
// fetches them, which may take minutes; later ones find them. Two calls for the same list must not run at one time.
func Python(ctx context.Context, packages ...string) (interpreter string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for Python packages: %w", err)
	}
	want := strings.Join(slices.Sorted(slices.Values(packages)), "\n")
	sum := sha256.Sum256([]byte(want))
	home := filepath.Join(cache, "tidemill", "python-"+hex.EncodeToString(sum[:6]))
	interpreter = filepath.Join(home, "bin", "python")
	done := filepath.Join(home, "installed")
	if have, err := os.ReadFile(done); err == nil && string(have) == want {
		return interpreter, nil
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", home},
		append([]string{interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...),
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("install %s: %s: %w\n%s", strings.Join(packages, ", "), args[0], err, out)
		}
	}
	if err := os.WriteFile(done, []byte(want), 0o644); err != nil {
		return "", fmt.Errorf("install Python packages: %w", err)
	}
	return interpreter, nil
}
