package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the dead may take to leave their cgroups.
const patience = 20 * time.Second

// clean waits until its standard input ends, which it does however its caller
// ends, and removes the control groups of that name, with whatever runs in them,
// and the directory.
func clean(directory, name string) error {
	// A Ctrl-C in the terminal is for the caller.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	if len(name) < 8 || strings.ContainsAny(name, "/.*") || filepath.Base(directory) != name {
		return fmt.Errorf("janitor: %s is not the directory of %q", directory, name)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	hierarchies, err := hierarchies()
	if err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; {
		var left []error
		for _, h := range hierarchies {
			left = append(left, removeGroup(filepath.Join(h, name)))
		}
		err := errors.Join(append(left, os.RemoveAll(directory))...)
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(50 * time.Millisecond) // processes leave their cgroups without notice
	}
}

// hierarchies are where control groups are mounted, of either version.
func hierarchies() ([]string, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			all = append(all, fields[1])
		}
	}
	return all, nil
}

// removeGroup kills what runs in a control group and below, and removes them.
func removeGroup(group string) error {
	var groups []string
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := len(groups) - 1; i >= 0; i-- { // the deepest first
		processes, _ := os.ReadFile(filepath.Join(groups[i], "cgroup.procs"))
		for _, p := range strings.Fields(string(processes)) {
			if pid, err := strconv.Atoi(p); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if err := os.Remove(groups[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
