package kubetest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// makeGroup makes a control group in every hierarchy of the machine, below which
// a node's kubelet keeps its pods. The machines' janitor removes it.
func makeGroup(name string) error {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return err
	}
	defer mounts.Close()
	made := false
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || (fields[2] != "cgroup" && fields[2] != "cgroup2") {
			continue
		}
		var err error
		switch options := strings.Split(fields[3], ","); {
		case fields[2] == "cgroup2":
			err = makeUnified(fields[1], name)
		default:
			err = makeLegacy(fields[1], name, slices.Contains(options, "cpuset"))
		}
		if err != nil {
			return fmt.Errorf("control group %s: %w", name, err)
		}
		made = true
	}
	if !made {
		return errors.New("no control groups are mounted (/sys/fs/cgroup)")
	}
	return nil
}

// makeLegacy makes it in a hierarchy of version 1, where a cpuset begins empty.
func makeLegacy(mount, name string, cpuset bool) error {
	if err := os.MkdirAll(filepath.Join(mount, name), 0o755); err != nil {
		return err
	}
	if !cpuset {
		return nil
	}
	return each(mount, name, func(parent, child string) error {
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			all, err := os.ReadFile(filepath.Join(parent, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(child, file), all, 0o600); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeUnified makes it in the hierarchy of version 2, where each level must hand
// the controllers down.
func makeUnified(mount, name string) error {
	if err := os.MkdirAll(filepath.Join(mount, name), 0o755); err != nil {
		return err
	}
	return each(mount, name, func(parent, _ string) error {
		controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if errors.Is(err, fs.ErrNotExist) || len(strings.Fields(string(controllers))) == 0 {
			return nil // beside version 1 it has none
		}
		if err != nil {
			return err
		}
		wanted := "+" + strings.Join(strings.Fields(string(controllers)), " +")
		return os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte(wanted), 0o600)
	})
}

// each calls f with every level of the group's path and the one above it.
func each(mount, name string, f func(parent, child string) error) error {
	parent := mount
	for part := range strings.SplitSeq(name, "/") {
		child := filepath.Join(parent, part)
		if err := f(parent, child); err != nil {
			return err
		}
		parent = child
	}
	return nil
}
