package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lanyard-id/lanyard/internal/command"
)

// runProgram runs a program with this process's terminal and files, passes
// signals on, and gives its exit code as an [command.ExitError]: 128 and the signal's
// number where a signal ended it, 126 and 127 where it could not be started, as
// shells have it.
func runProgram(args, environ []string) error {
	program := exec.Command(args[0], args[1:]...)
	program.Env = environ
	program.Stdin, program.Stdout, program.Stderr = os.Stdin, os.Stdout, os.Stderr

	// Caught before the program starts: a signal in between must not be lost.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGWINCH)
	defer signal.Stop(signals)

	if err := program.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "lanyard exec:", err)
		if errors.Is(err, os.ErrPermission) {
			return command.ExitError(126)
		}
		return command.ExitError(127)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	for {
		select {
		case s := <-signals:
			if !fromTerminal(s) {
				_ = program.Process.Signal(s) // it may have ended just now
			}
		case err := <-ended:
			return statusOf(program, err)
		}
	}
}

func statusOf(program *exec.Cmd, err error) error {
	failed, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !exited:
		return fmt.Errorf("waiting for %s: %w", program.Path, err)
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return command.ExitError(128 + int(status.Signal()))
	}
	return command.ExitError(failed.ExitCode())
}

// fromTerminal reports whether a signal is one that the terminal sends to all
// processes in its foreground, of which the program is one: passing it on would
// deliver it twice.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT && s != syscall.SIGWINCH {
		return false
	}
	foreground, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}
