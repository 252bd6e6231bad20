package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Process is a program that runs on a machine until it is stopped.
type Process struct {
	// Name is for messages.
	Name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs a program on the machine in the background; what it says is
// appended to the file log.
func (m *Machine) Start(name, log, program string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the program has its own
	p := &Process{Name: name, cmd: m.Command(context.Background(), program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s on machine %s: %w", name, m.name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends it a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends it, and returns when it has ended.
func (p *Process) Kill() {
	_ = kill(p.cmd.Process) // it may have ended
	<-p.done
}
