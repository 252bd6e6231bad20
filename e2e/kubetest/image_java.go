package kubetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/rootfs"
)

const (
	// javaModules are what programs have of the JDK: its HTTP client, and the curves
	// of TLS, which were a module of their own before Java 22.
	javaModules = "java.net.http,jdk.crypto.ec"
	javaRuntime = "/opt/java"
	// javaQuick leaves the compiler that makes the best code alone, which takes
	// longer than these programs run.
	javaQuick = "-XX:TieredStopAtLevel=1"
)

// JavaImage is a program of one source file, compiled by this machine's JDK, with a
// runtime that the JDK links for it: the JDK's own virtual machine, modules,
// configuration and authorities. The class that is run has the file's name. Where
// there is no JDK the test is skipped, and in CI fails.
func JavaImage(t testing.TB, source string) v1.Image {
	t.Helper()
	jdk := findJDK(t)
	release, err := os.ReadFile(filepath.Join(jdk, "release"))
	if err != nil {
		t.Fatalf("what JDK is in %s: %v", jdk, err)
	}
	sum := sha256.Sum256(append(release, javaModules...))
	classes := t.TempDir()
	if err := runJDK(t, jdk, "javac", "-d", classes, source); err != nil {
		t.Fatal(err)
	}
	b := base{
		name:     "java",
		packages: []*rootfs.Packages{installed(t, []string{"libc6", "libstdc++6", "zlib1g"}, nil)},
		version:  hex.EncodeToString(sum[:8]),
		add: func(archive *rootfs.Archive) error {
			linked := filepath.Join(t.TempDir(), "java")
			if err := runJDK(t, jdk, "jlink", "--add-modules", javaModules, "--no-header-files", "--no-man-pages", "--output", linked); err != nil {
				return err
			}
			return archive.Tree(javaRuntime, linked, nil)
		},
	}
	class := strings.TrimSuffix(filepath.Base(source), ".java")
	return languageImage(t, b, nil, map[string]string{"/app": classes}, []string{javaRuntime + "/bin/java", javaQuick, "-cp", "/app", class})
}

// findJDK is the directory of the JDK in the path.
func findJDK(t testing.TB) string {
	t.Helper()
	jlink, err := exec.LookPath("jlink")
	if err == nil {
		jlink, err = filepath.EvalSymlinks(jlink)
	}
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("NOT TESTED: this machine lacks a JDK (Debian's default-jdk-headless): %v", err)
	}
	if err != nil {
		t.Fatalf("CI must have a JDK (Debian's default-jdk-headless): %v", err)
	}
	return filepath.Dir(filepath.Dir(jlink))
}

// runJDK runs one of the JDK's tools.
func runJDK(t testing.TB, jdk, tool string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(jdk, "bin", tool), append([]string{"-J" + javaQuick}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", tool, err, bytes.TrimSpace(out))
	}
	return nil
}
