package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Set is machines that begin and end together, with a directory for their files
// and the right to control groups of its name.
type Set struct {
	program string // bin/kube/machine
	dir     string
	janitor *exec.Cmd
	leaving io.Closer // the janitor waits for its end
	said    bytes.Buffer

	mu       sync.Mutex
	machines []*Machine
	closed   bool
}

// Possible says why this process could make no machines, where it could not: in a
// container without the rights, say.
func Possible(program string) error {
	cmd := exec.CommandContext(context.Background(), program) // says how it is used, and ends
	cmd.SysProcAttr = namespaces()
	err := cmd.Run()
	if _, ran := errors.AsType[*exec.ExitError](err); ran {
		return nil
	}
	return err
}

// NewSet makes a set without machines. The program is kube's machine.
func NewSet(program string) (*Set, error) {
	// Not below TMPDIR, which may be long, or in /var: sockets have short names,
	// and machines their own /var.
	dir, err := os.MkdirTemp("/tmp", "kubetest-")
	if err != nil {
		return nil, err
	}
	// Root's alone otherwise; what pods mount of it is for their users to read.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	s := &Set{program: program, dir: dir}
	// The janitor outlives this process, whatever ends it.
	s.janitor = exec.CommandContext(context.Background(), program, "janitor", dir, s.Name())
	s.janitor.Stderr = &s.said
	s.janitor.SysProcAttr = session()
	if s.leaving, err = s.janitor.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.janitor.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Dir is the directory of the set's files, which goes with the set.
func (s *Set) Dir() string { return s.dir }

// Name is a name that no other set has; control groups of this name, in every
// hierarchy, go with the set.
func (s *Set) Name() string { return filepath.Base(s.dir) }

// Close ends all machines and removes what they left.
func (s *Set) Close() error {
	s.mu.Lock()
	machines, closed := s.machines, s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	var all []error
	for _, m := range machines { // all at once
		m.life.Close()
	}
	for _, m := range machines {
		all = append(all, m.end())
	}
	s.leaving.Close()
	if err := s.janitor.Wait(); err != nil {
		all = append(all, fmt.Errorf("removing %s: %w\n%s", s.dir, err, s.said.String()))
	}
	return errors.Join(all...)
}
