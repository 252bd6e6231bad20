package kubetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/machine"
)

// Missing says what this machine lacks to run a cluster, in words for whoever
// could change it.
func Missing() []string {
	if runtime.GOOS != "linux" {
		return []string{"Linux"}
	}
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root, for namespaces and control groups")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		missing = append(missing, "nft, for services (Debian's nftables)")
	}
	bin, err := binaries()
	if err != nil {
		return append(missing, err.Error())
	}
	if len(missing) == 0 {
		if err := machine.Possible(filepath.Join(bin, "machine")); err != nil {
			missing = append(missing, fmt.Sprintf("the right to make namespaces (%v)", err))
		}
	}
	return missing
}

// Require skips the test, loudly, where this machine cannot run a cluster; in CI
// it fails.
func Require(t testing.TB) {
	t.Helper()
	missing := Missing()
	if len(missing) == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("CI must be able to run a Kubernetes cluster, and lacks %s", strings.Join(missing, "; "))
	}
	t.Skipf("NOT TESTED: this machine cannot run a Kubernetes cluster: it lacks %s", strings.Join(missing, "; "))
}

// binaries is the directory that "make kube" fills, found from the working
// directory upward, which for a test is its package's.
func binaries() (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "bin", "kube")
	for _, name := range []string{"kubernetes", "containerd", "containerd-shim-runc-v2", "runc", "coredns", "machine", "pause", "cni/bridge"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return "", fmt.Errorf("%s, which make kube builds", filepath.Join("bin/kube", name))
		}
	}
	return bin, nil
}

func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "kube", "kubernetes", "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("the repository, whose kube/ this directory is not below")
		}
		dir = filepath.Dir(dir)
	}
}
