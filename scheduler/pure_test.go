package scheduler

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPure holds the core to having no clock, randomness, goroutine, lock, file, socket or logger of its own.
func TestPure(t *testing.T) {
	forbidden := []string{"bufio", "crypto/rand", "io", "io/fs", "log", "math/rand", "math/rand/v2", "net", "os", "path/filepath",
		"runtime", "sync", "syscall", "context", "os/exec"}
	ours := "github.com/tidemill/tidemill/"
	allowed := []string{ours + "jobs", ours + "proto", ours + "scheduler/rollout"}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range forbidden {
				if path == bad || strings.HasPrefix(path, bad+"/") && path != "log/slog" { // its attributes are values
					t.Errorf("%s imports %s", name, path)
				}
			}
			if strings.HasPrefix(path, ours) && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s; the core imports jobs, proto and scheduler/rollout only", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool { return pure(t, name, n) })
	}
	if files < 10 {
		t.Errorf("only %d files were looked at", files)
	}
}

func pure(t *testing.T, file string, n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		t.Errorf("%s starts a goroutine", file)
	case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
		t.Errorf("%s uses a channel", file)
	case *ast.SelectorExpr:
		pkg, ok := n.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch pkg.Name + "." + n.Sel.Name {
		case "time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.Sleep", "time.NewTimer", "time.NewTicker", "time.Tick",
			"slog.Default", "slog.Info", "slog.Warn", "slog.Error", "slog.Debug", "slog.Log", "slog.New", "fmt.Print", "fmt.Println", "fmt.Printf":
			t.Errorf("%s calls %s.%s", file, pkg.Name, n.Sel.Name)
		}
	}
	return true
}
