package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// become is what enter calls itself with, once it is on the machine.
const become = "become"

// enter runs a program on a machine, passes signals on to it, and ends as it
// ends. Where enter is killed, so is the program, but not before enter has ended:
// SIGUSR2 has the program killed, and enter end after it.
func enter(pid string, program []string) error {
	// The namespaces are those of a thread, and so is the death that a child may
	// be told of; this one is the process's first and lasts as long as it.
	runtime.LockOSThread()
	directory, err := os.Getwd()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := join(pid); err != nil {
		return err
	}
	if os.Chdir(directory) != nil {
		directory = "/"
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	cmd := exec.Command(self, append([]string{become}, program...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = os.Stdin, os.Stdout, os.Stderr, directory
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("on the machine of process %s: %w", pid, err)
	}
	go func() {
		for s := range signals {
			if s == unix.SIGUSR2 {
				s = unix.SIGKILL
			}
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	return cmd.Wait()
}

// join puts this thread into the namespaces of a process; what it starts then
// is in its pid namespace too.
func join(pid string) error {
	namespaces := []struct {
		name string
		kind int
	}{{"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS}, {"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS}}
	var files []*os.File
	for _, n := range namespaces { // before the mounts change, and /proc with them
		f, err := os.Open(filepath.Join("/proc", pid, "ns", n.name))
		if err != nil {
			return fmt.Errorf("no machine: %w", err)
		}
		defer f.Close()
		files = append(files, f)
	}
	// A thread that shares its working directory cannot change its mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, n := range namespaces {
		if err := unix.Setns(int(files[i].Fd()), n.kind); err != nil {
			return fmt.Errorf("entering the %s namespace of process %s: %w", n.name, pid, err)
		}
	}
	return nil
}

// exchange turns this process, which enter started on the machine, into the
// program. It asks for its own death with enter's; os/exec cannot, since it
// takes a parent in another pid namespace for a dead one.
func exchange(program []string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if os.Getppid() != 0 { // 0 is a parent outside; 1 that it has ended already
		return errors.New("the caller has ended")
	}
	path, err := exec.LookPath(program[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, program, os.Environ())
}

// exitCode is the program's, as a shell would give it.
func exitCode(e *exec.ExitError) int {
	if status, is := e.Sys().(unix.WaitStatus); is && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}
