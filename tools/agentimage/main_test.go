package main

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestImage: the image holds the program, and nothing else, for nobody special, and
// is small enough to be pulled to every node.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	program, archive := filepath.Join(dir, "lanyard-agent"), filepath.Join(dir, "image.tar")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./cmd/lanyard-agent")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := run(program, "registry.invalid/lanyard-agent:1", archive); err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || strings.Join(config.Config.Entrypoint, " ") != "/lanyard-agent" || config.OS != "linux" {
		t.Errorf("configuration: %+v", config)
	}
	files := mutate.Extract(image)
	defer files.Close()
	var names []string
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if strings.Join(names, " ") != "lanyard-agent" {
		t.Errorf("files: %v", names)
	}
	info, err := os.Stat(archive)
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(20 << 20); info.Size() > limit {
		t.Errorf("the image has %d bytes, more than 20 MiB", info.Size())
	}
}

// TestNotStatic: what would not start in the image is refused.
func TestNotStatic(t *testing.T) {
	script := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := imageOf(script); err == nil || !strings.Contains(err.Error(), "not a program for Linux") {
		t.Errorf("a script: %v", err)
	}
	if _, err := imageOf("/bin/sh"); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("a program with a loader: %v", err)
	}
}
