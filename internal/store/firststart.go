package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A member that is killed on its very first start, before it has written that
// it is its own cluster, leaves files with which it would wait for a leader for
// ever. So a mark lies beside the files until the member has served once; where
// the mark is found, what lies there was never answered for, and goes.
const (
	firstStartMark  = "first-start"
	memberDirectory = "member" // etcd's name for its files
)

// beginFirstStart sets the mark in a directory without a member, and removes
// the member whose first start was cut short.
func beginFirstStart(dir string) error {
	mark, member := filepath.Join(dir, firstStartMark), filepath.Join(dir, memberDirectory)
	_, err := os.Stat(mark)
	switch {
	case err == nil:
		return os.RemoveAll(member)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := os.Stat(member); !errors.Is(err, fs.ErrNotExist) {
		return err // nil: a member that has served
	}
	f, err := os.OpenFile(mark, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), syncDirectory(dir))
}

// endFirstStart takes the mark away, for good: a mark that came back after a
// power failure would take with it what was written since.
func endFirstStart(dir string) error {
	err := os.Remove(filepath.Join(dir, firstStartMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDirectory(dir))
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
