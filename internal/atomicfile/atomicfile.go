// Package atomicfile replaces files at once: whoever reads one finds the old
// content or the new, and after a crash one of them is there.
//
// The package must not know what the files are for.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write replaces the file with content, under the given mode whatever the umask
// and the former mode are. Its directory must exist.
func Write(path string, content []byte, mode fs.FileMode) error {
	return Replace(path, func(f *os.File) error {
		if err := f.Chmod(mode); err != nil {
			return err
		}
		_, err := f.Write(content)
		return err
	})
}

// Replace is Write for content, mode and owner of the caller's: fill gets a new
// file beside the path, which nobody but its owner can read yet, and need not
// close it. When fill fails, the file at the path stays as it was.
func Replace(path string, fill func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			err = errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(f.Name()))
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
