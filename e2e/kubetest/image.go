package kubetest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/rootfs"
)

// nonRoot is the user of the images, whom "runAsNonRoot" takes by its number.
const nonRoot = "65532"

// ScratchImage is an image of files alone: from a path in the image to a file of
// this machine, of which it keeps whether it may be executed. It runs as a user
// that is not root, with the entry point given.
func ScratchImage(files map[string]string, entrypoint ...string) (v1.Image, error) {
	image, err := layered(v1.Config{Entrypoint: entrypoint, Env: []string{"PATH=/"}}, fromFiles(files, nil))
	if err != nil {
		return nil, fmt.Errorf("kubetest: an image: %w", err)
	}
	return image, nil
}

// opener opens the archive of a layer, as often as it is wanted.
type opener = tarball.Opener

// layered is an image of layers, run by the user that is not root.
func layered(config v1.Config, openers ...opener) (v1.Image, error) {
	var image v1.Image = empty.Image
	for _, o := range openers {
		// Compressing would take longer than anything that it could save here.
		layer, err := tarball.LayerFromOpener(o, tarball.WithCompressionLevel(gzip.NoCompression))
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	config.User = nonRoot + ":" + nonRoot
	file.Config = config
	return mutate.ConfigFile(image, file)
}

// fromFiles is a layer of files and directories of this machine, by their paths
// in the image.
func fromFiles(files, trees map[string]string) opener {
	return func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeFiles(w, files, trees)) }()
		return r, nil
	}
}

// unrun says of a file in a directory of programs that running them does not
// need it: most of node_modules is types, maps of sources and words.
func unrun(file string) bool {
	return slices.Contains([]string{".map", ".ts", ".mts", ".cts", ".md"}, filepath.Ext(file))
}

func writeFiles(w io.Writer, files, trees map[string]string) error {
	archive := rootfs.New(w)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := archive.File(path, files[path]); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(trees)) {
		if err := archive.Tree(path, trees[path], unrun); err != nil {
			return err
		}
	}
	return archive.Close()
}

// LoadImage has every node know an image by a reference, for pods whose
// imagePullPolicy is IfNotPresent or Never.
func (c *Cluster) LoadImage(ctx context.Context, reference string, image v1.Image) error {
	if err := c.load(ctx, reference, image); err != nil {
		return fmt.Errorf("kubetest: image %s: %w", reference, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images[reference] = true
	return nil
}

// Image makes and loads an image, unless one was loaded by this reference before:
// for tests that share a cluster.
func (c *Cluster) Image(t testing.TB, reference string, build func(testing.TB) v1.Image) {
	t.Helper()
	c.mu.Lock()
	known := c.images[reference]
	c.mu.Unlock()
	if known {
		return
	}
	if err := c.LoadImage(t.Context(), reference, build(t)); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) load(ctx context.Context, reference string, image v1.Image) (err error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	// kubelet takes images for the same whose configuration is, and one that was
	// pulled with a secret for private under any name: each name has its own.
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	if file.Config.Labels == nil {
		file.Config.Labels = map[string]string{}
	}
	file.Config.Labels["kubetest.reference"] = reference
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.machines.Dir(), "image-*.tar")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if err := tarball.Write(ref, image, f); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.importImage(ctx, n, f.Name()); err != nil {
			return err
		}
	}
	return nil
}
