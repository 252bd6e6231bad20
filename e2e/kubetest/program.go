package kubetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// GoProgram builds a program of a Go module for an image FROM scratch, and gives
// its path. The package is as "go build" takes it, in the module's directory.
func GoProgram(t testing.TB, module, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	return path
}
