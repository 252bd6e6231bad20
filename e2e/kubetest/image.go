package kubetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// nonRoot is the user of the images, whom "runAsNonRoot" takes by its number.
const nonRoot = "65532"

// ScratchImage is an image of files alone: from a path in the image to a file of
// this machine, of which it keeps whether it may be executed. It runs as a user
// that is not root, with the entry point given.
func ScratchImage(files map[string]string, entrypoint ...string) (v1.Image, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	made := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("kubetest: %q in the image is not absolute", path)
		}
		if err := addFile(archive, made, strings.TrimPrefix(filepath.Clean(path), "/"), files[path]); err != nil {
			return nil, fmt.Errorf("kubetest: %s in the image: %w", path, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return imageOf(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil }, v1.Config{
		Entrypoint: entrypoint, Env: []string{"PATH=/"},
	})
}

// imageOf is an image of one layer.
func imageOf(layer tarball.Opener, config v1.Config) (v1.Image, error) {
	// Compressing would take longer than anything that it could save here.
	l, err := tarball.LayerFromOpener(layer, tarball.WithCompressionLevel(gzip.NoCompression))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", architecture()
	config.User = nonRoot + ":" + nonRoot
	file.Config = config
	return mutate.ConfigFile(image, file)
}

// addFile writes a file, and the directories that lead to it.
func addFile(archive *tar.Writer, made map[string]bool, path, from string) error {
	for i, c := range path {
		if dir := path[:i]; c == '/' && !made[dir] {
			made[dir] = true
			if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
				return err
			}
		}
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", from)
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return err
}

// LoadImage has every node know an image by a reference, for pods whose
// imagePullPolicy is IfNotPresent or Never.
func (c *Cluster) LoadImage(ctx context.Context, reference string, image v1.Image) error {
	return c.load(ctx, reference, image)
}

func (c *Cluster) load(ctx context.Context, reference string, image v1.Image) (err error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return fmt.Errorf("kubetest: %w", err)
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
		return fmt.Errorf("kubetest: image %s: %w", reference, err)
	}
	for _, n := range c.nodes {
		if err := c.importImage(ctx, n, f.Name()); err != nil {
			return err
		}
	}
	return nil
}
