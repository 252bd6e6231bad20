package machine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Machine is one of a Set's.
type Machine struct {
	set  *Set
	name string
	dir  string
	init *exec.Cmd
	life io.Closer // the machine lasts until it is closed
	said bytes.Buffer
	wait func() error // for its end
	port int          // the next port of its switch
}

// New starts a machine, which has the files given in its /etc. What it writes to
// /etc, /opt and /var stays in its Dir.
func (s *Set) New(name string, etc map[string]string) (*Machine, error) {
	m := &Machine{set: s, name: name, dir: filepath.Join(s.dir, name)}
	if err := os.MkdirAll(filepath.Join(m.dir, "etc"), 0o755); err != nil {
		return nil, err
	}
	for file, text := range etc {
		if err := os.WriteFile(filepath.Join(m.dir, "etc", file), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	// Its life is the pipe, not a context.
	m.init = exec.CommandContext(context.Background(), s.program, "init", name, m.dir)
	m.init.Env = environment()
	m.init.Stderr = &m.said
	m.init.SysProcAttr = namespaces()
	stdin, err := m.init.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := m.init.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errors.New("the set of machines is closed")
	}
	if err := m.init.Start(); err != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("machine %s: %w", name, err)
	}
	m.life, m.wait = stdin, sync.OnceValue(m.init.Wait)
	s.machines = append(s.machines, m)
	s.mu.Unlock()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		stdin.Close()
		return nil, fmt.Errorf("machine %s did not start: %w", name, errors.Join(err, m.end()))
	}
	return m, nil
}

// Name is the machine's host name.
func (m *Machine) Name() string { return m.name }

// Dir is the directory of the machine's files.
func (m *Machine) Dir() string { return m.dir }

// end waits for the machine's end after its life was closed.
func (m *Machine) end() error {
	if err := m.wait(); err != nil {
		return fmt.Errorf("machine %s: %w\n%s", m.name, err, m.said.String())
	}
	return nil
}

// environment is what programs on machines have: nothing of the caller's, whose
// proxies and credentials are not theirs.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
}

// Command is a program to run on the machine: ended with the context, and with
// the machine. Its environment is not the caller's; add to Env what it needs.
func (m *Machine) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, m.set.program, append([]string{"enter", strconv.Itoa(m.PID()), "--", program}, args...)...)
	cmd.Env = environment()
	cmd.SysProcAttr = session()
	cmd.Cancel = func() error { return kill(cmd.Process) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// kill ends a program that Command started: the process here is the one that
// brought it to the machine, which would end before it if it were killed itself.
func kill(p *os.Process) error { return p.Signal(syscall.SIGUSR2) }

// Dial connects from the machine. The address is a literal IP with a port: names
// are looked up by other threads, which are not on the machine.
func (m *Machine) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dialling from machine %s: %w", m.name, err)
	}
	err = within(m.PID(), func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens on the machine, in this process.
func (m *Machine) Listen(ctx context.Context, network, address string) (listener net.Listener, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("listening on machine %s: %w", m.name, err)
	}
	err = within(m.PID(), func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return listener, err
}

// PID is the machine's first process, as others see it.
func (m *Machine) PID() int { return m.init.Process.Pid }
