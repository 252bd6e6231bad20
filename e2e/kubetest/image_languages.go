package kubetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/rootfs"
)

// installers are packages that others need only to be installed.
var installers = []string{"dpkg", "debconf", "tar", "libc-bin"}

// layers counts changes of how the layers of languages are made, which makes
// those of before useless.
const layers = "3"

// PythonImage is Debian's Python with Azure's SDK (azure.identity and
// azure.keyvault.secrets), as they are installed on this machine, and the files
// given, as ScratchImage has them. Where they are not installed the test is
// skipped, and in CI fails.
func PythonImage(t testing.TB, files map[string]string, entrypoint ...string) v1.Image {
	t.Helper()
	// The package of the SDK is a gigabyte of all of Azure, and needs accordingly:
	// what its two libraries need is named here instead.
	packages := installed(t, []string{
		"python3", "python3-msal", "python3-msal-extensions", "python3-requests", "python3-cryptography", "python3-isodate",
		"python3-typing-extensions", "python3-six", "python3-jwt", "python3-msrest", "python3-aiohttp", "ca-certificates",
	}, nil)
	sdk := installed(t, []string{"python3-azure"}, func(_, file string) bool {
		below, is := strings.CutPrefix(file, "/usr/lib/python3/dist-packages/azure/")
		return is && (below == "__init__.py" || below == "keyvault/__init__.py" || slices.ContainsFunc([]string{"core/", "identity/", "keyvault/secrets/", "profiles/"},
			func(part string) bool { return strings.HasPrefix(below, part) }))
	})
	return languageImage(t, base{name: "python", packages: []*rootfs.Packages{packages, sdk}}, files, nil, entrypoint)
}

// NodeJSImage is this machine's Node.js, from its Debian package, with a directory
// as /app: programs and their node_modules. It is skipped as PythonImage is.
func NodeJSImage(t testing.TB, app string, entrypoint ...string) v1.Image {
	t.Helper()
	packages := installed(t, []string{"nodejs", "ca-certificates"}, nil)
	return languageImage(t, base{name: "nodejs", packages: []*rootfs.Packages{packages}}, nil, map[string]string{"/app": app}, entrypoint)
}

// installed are packages with what they need; keep, where it is not nil, says
// which of their files are wanted.
func installed(t testing.TB, names []string, keep func(pkg, file string) bool) *rootfs.Packages {
	t.Helper()
	p, err := rootfs.Installed(names, installers)
	if errors.Is(err, rootfs.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skipf("NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Keep = keep
	return p
}

// base is what the programs of a language stand on.
type base struct {
	name     string
	packages []*rootfs.Packages
	// version differs when what add adds does; add, where it is not nil, writes
	// what is in no package.
	version string
	add     func(*rootfs.Archive) error
}

// languageImage is a base, of which the layer is kept for the next test, and above
// it files and trees.
func languageImage(t testing.TB, b base, files, trees map[string]string, entrypoint []string) v1.Image {
	t.Helper()
	layer, err := b.layer()
	if err != nil {
		t.Fatalf("the image of %s: %v", b.name, err)
	}
	image, err := layered(v1.Config{
		Entrypoint: entrypoint, Env: []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"}, WorkingDir: "/tmp",
	}, fromFile(layer), fromFiles(files, trees))
	if err != nil {
		t.Fatalf("the image of %s: %v", b.name, err)
	}
	return image
}

// layer is the archive of a base, made once for its versions.
func (b base) layer() (path string, err error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	version := layers
	for _, p := range b.packages {
		version += "-" + p.Version()
	}
	if b.version != "" {
		version += "-" + b.version
	}
	dir := filepath.Join(bin, "images")
	path = filepath.Join(dir, b.name+"-"+version+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(dir, b.name+"-*.tar"))
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "making-*")
	if err != nil {
		return "", err
	}
	err = errors.Join(b.write(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	for _, o := range old {
		err = errors.Join(err, os.Remove(o))
	}
	return path, err
}

// write writes the archive of a base, and what installing its packages makes.
func (b base) write(w io.Writer) error {
	archive := rootfs.New(w)
	for _, p := range b.packages {
		if err := archive.AddPackages(p); err != nil {
			return err
		}
	}
	if b.add != nil {
		if err := b.add(archive); err != nil {
			return err
		}
	}
	const authorities = "/etc/ssl/certs"
	return errors.Join(
		archive.Tree(authorities, authorities, nil),
		archive.Text("/etc/nsswitch.conf", "hosts: files dns\npasswd: files\ngroup: files\n"),
		archive.Text("/etc/passwd", fmt.Sprintf("root:x:0:0::/:\nnonroot:x:%[1]s:%[1]s::/tmp:\n", nonRoot)),
		archive.Close())
}

func fromFile(path string) opener {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}
