// Command agentimage puts lanyard-agent, and nothing else, into a container image:
// an archive that "docker load", "ctr images import" and "kind load image-archive"
// take.
//
//	agentimage PROGRAM REFERENCE ARCHIVE
//
// PROGRAM is built without cgo for Linux. The image has no shell, no files beside
// the program and no user but 65532.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// path is the program's in the image: what the chart and the webhook start.
const path = "lanyard-agent"

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: agentimage PROGRAM REFERENCE ARCHIVE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "agentimage:", err)
		os.Exit(1)
	}
}

func run(program, reference, archive string) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	image, err := imageOf(program)
	if err != nil {
		return err
	}
	if err := tarball.WriteToFile(archive, ref, image); err != nil {
		return err
	}
	size, err := image.Size()
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			return err
		}
		size += n
	}
	_, err = fmt.Printf("%s holds %s (%.1f MB compressed)\n", archive, reference, float64(size)/1e6)
	return err
}

// imageOf is the image of a program.
func imageOf(program string) (v1.Image, error) {
	architecture, err := architectureOf(program)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o755, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files.Bytes())), nil
	}, tarball.WithCompressionLevel(gzip.BestCompression))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", architecture
	file.Config = v1.Config{User: "65532:65532", Entrypoint: []string{"/" + path}, Labels: map[string]string{
		"org.opencontainers.image.title":    "lanyard-agent",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}}
	return mutate.ConfigFile(image, file)
}

// architectureOf is the architecture of a static program for Linux, as images name
// it.
func architectureOf(program string) (string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("not a program for Linux: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", errors.New("it needs a loader and libraries, which the image does not have: build it with CGO_ENABLED=0")
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	default:
		return "", fmt.Errorf("there are images for amd64 and arm64, not for %s", f.Machine)
	}
}
