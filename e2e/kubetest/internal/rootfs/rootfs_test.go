package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entries reads an archive: by its name, the kind, mode and content of each.
func entries(t *testing.T, archive io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := all[h.Name]; twice || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: twice, or not root's: %+v", h.Name, h)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = h.FileInfo().Mode().String() + " " + h.Linkname + string(content)
	}
}

// TestArchive writes files, links and directories, each once and after the
// directories that lead to it.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"program": 0o700, "data": 0o600, "words.md": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("program", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := New(&out)
	err := errors.Join(
		a.File("/bin/program", filepath.Join(dir, "link")),
		a.Text("/etc/a", "text"),
		a.Text("/etc/a", "again"),
		a.Dir("/tmp", fs.ModeSticky|0o777),
		a.Tree("/tree/of", dir, func(file string) bool { return filepath.Ext(file) == ".md" }),
		a.Close())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"bin/": "drwxr-xr-x ", "bin/program": "-rwxr-xr-x program", "etc/": "drwxr-xr-x ", "etc/a": "-rw-r--r-- text", "tmp/": "dtrwxrwxrwx ",
		"tree/": "drwxr-xr-x ", "tree/of/": "drwxr-xr-x ", "tree/of/data": "-rw-r--r-- data", "tree/of/program": "-rwxr-xr-x program",
		"tree/of/link": "Lrwxrwxrwx program",
	}
	if diff := cmp.Diff(want, entries(t, &out)); diff != "" {
		t.Errorf("the archive (-want +got):\n%s", diff)
	}
}

// TestArchiveRefuses has what cannot be in an image be an error.
func TestArchiveRefuses(t *testing.T) {
	a := New(io.Discard)
	for name, err := range map[string]error{
		"a path that is not absolute": a.Text("etc/a", ""),
		"a file that is not there":    a.File("/a", filepath.Join(t.TempDir(), "none")),
		"a directory as a file":       a.File("/a", t.TempDir()),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestChoose reads clauses of dependencies as Debian writes them.
func TestChoose(t *testing.T) {
	all := map[string]debianPackage{"a": {name: "a"}, "virtual": {name: "b:amd64"}}
	for clause, want := range map[string]string{
		"a": "a", "a (>= 1.0) | c": "a", "c | a": "a", "c:any (>= 2)|virtual": "b:amd64", "a:any": "a",
	} {
		if got, err := choose(all, clause); err != nil || got.name != want {
			t.Errorf("%q is %v, %v; want %s", clause, got.name, err, want)
		}
	}
	if _, err := choose(all, "c (>= 1) | d"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("packages that are not there: %v", err)
	}
	if got := clauses(" a (>= 1), b | c ,, d"); !slices.Equal(got, []string{"a (>= 1)", "b | c", "d"}) {
		t.Errorf("clauses: %q", got)
	}
}

// TestInstalled writes an image of a package of this machine, where it is Debian.
func TestInstalled(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("NOT TESTED: this machine is not Debian, it lacks dpkg-query")
	}
	p, err := Installed([]string{"libc-bin"}, []string{"libc-bin"})
	if err != nil || len(p.found) != 0 {
		t.Errorf("a package that is left out: %v, %v", p, err)
	}
	if p, err = Installed([]string{"zlib1g"}, nil); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := New(&out)
	if err := errors.Join(a.AddPackages(p), a.Close()); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range entries(t, &out) {
		names = append(names, name)
	}
	for _, want := range []string{"libz.so.1", "libc.so.6"} {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, "/"+want) }) {
			t.Errorf("%s is missing", want)
		}
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "usr/share/doc/") }) {
		t.Error("it holds documentation")
	}
	if _, err := Installed([]string{"no-such-package"}, nil); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("a package that is not there: %v", err)
	}
}
