package rootfs

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Archive writes one file system. Directories are made as they are needed, and
// all belongs to root. A path that was written already is left as it is.
type Archive struct {
	tar     *tar.Writer
	written map[string]bool
}

// New starts an archive.
func New(w io.Writer) *Archive {
	return &Archive{tar: tar.NewWriter(w), written: map[string]bool{".": true}}
}

// Close ends the archive.
func (a *Archive) Close() error { return a.tar.Close() }

// File writes a file of this machine, following links. Of its mode it keeps
// whether it may be executed: whoever runs in the image may read it.
func (a *Archive) File(name, from string) error {
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
	// Python compares the times of its sources with those in what it compiled.
	return a.entry(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size(), ModTime: info.ModTime().Truncate(time.Second)}, f)
}

// Text writes a file with the text.
func (a *Archive) Text(name, text string) error {
	return a.entry(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, strings.NewReader(text))
}

// Link writes a symbolic link.
func (a *Archive) Link(name, target string) error {
	return a.entry(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// Dir writes a directory.
func (a *Archive) Dir(name string, mode fs.FileMode) error {
	bits := int64(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return a.entry(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: bits}, nil)
}

// Tree writes a directory of this machine with all that is in it, but for what
// skip, where it is not nil, says of a file.
func (a *Archive) Tree(name, from string, skip func(file string) bool) error {
	return filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skip != nil && !d.IsDir() && skip(file) {
			return nil
		}
		below, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		return a.copy(path.Join(name, filepath.ToSlash(below)), file, d)
	})
}

// copy writes a file, a link or a directory of this machine as what it is.
func (a *Archive) copy(name, from string, d fs.DirEntry) error {
	switch d.Type() {
	case fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return a.Link(name, target)
	case fs.ModeDir:
		return a.Dir(name, 0o755)
	case 0:
		return a.File(name, from)
	}
	return nil // sockets and devices are not for images
}

// entry writes an entry, after the directories that lead to it.
func (a *Archive) entry(h *tar.Header, content io.Reader) error {
	if !path.IsAbs(h.Name) {
		return fmt.Errorf("%q in the image is not absolute", h.Name)
	}
	h.Name = strings.TrimPrefix(path.Clean(h.Name), "/")
	if h.Name == "" || a.written[h.Name] {
		return nil
	}
	a.written[h.Name] = true
	if parent := path.Dir(h.Name); !a.written[parent] {
		if err := a.Dir("/"+parent, 0o755); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	if err := a.tar.WriteHeader(h); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	_, err := io.Copy(a.tar, content)
	return err
}
