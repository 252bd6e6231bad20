package cloudhost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lanyard-id/lanyard/e2e/environment"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// Domain is the parent of the cloud's names. Cluster DNS leads them to the cloud;
// the authority's alias it does not know: pods get that by the webhook.
const Domain = "lanyard.test"

// Cloud is a "lanyard up" on a host of a cluster's LAN.
type Cloud struct {
	// Env is its environment file, and Host where it runs.
	Env  environment.File
	Host *kubetest.Host

	dir     string // of programs and data
	lanyard string
	flags   []string
	process *exec.Cmd
	logs    *lockedBuffer
}

// lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Start builds lanyard from the module in the directory root, runs it on a host of
// its own, and has the cluster's DNS know it. flags are more of "lanyard up". Stop
// ends it.
func Start(ctx context.Context, k *kubetest.Cluster, root string, flags ...string) (*Cloud, error) {
	dir, err := os.MkdirTemp("", "lanyard-cloud-")
	if err != nil {
		return nil, err
	}
	c := &Cloud{dir: dir, lanyard: filepath.Join(dir, "lanyard"), flags: flags}
	if err := c.start(ctx, k, root); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cloud) start(ctx context.Context, k *kubetest.Cluster, root string) (err error) {
	if err := build(ctx, root, "./cmd/lanyard", c.lanyard); err != nil {
		return err
	}
	if c.Host, err = k.Host("cloud"); err != nil {
		return err
	}
	if err := c.Run(ctx); err != nil {
		return err
	}
	if c.Env, err = environment.Read(c.EnvFile()); err != nil {
		return err
	}
	return k.SetNames(ctx, map[string]netip.Addr{"*." + Domain: c.Host.Addr()})
}

func (c *Cloud) data() string { return filepath.Join(c.dir, "data") }

// EnvFile is the environment file's path.
func (c *Cloud) EnvFile() string { return filepath.Join(c.data(), "env.json") }

// Run starts the process, and returns when it says that it is ready.
func (c *Cloud) Run(ctx context.Context) error {
	c.logs = &lockedBuffer{}
	c.process = c.Host.Command(context.WithoutCancel(ctx), c.lanyard, append([]string{"up", "--data", c.data(), "--domain", Domain,
		"--listen", netip.AddrPortFrom(c.Host.Addr(), 443).String()}, c.flags...)...)
	c.process.Stderr = c.logs
	c.process.Env = append(c.process.Env, "HOME="+c.dir)
	stdout, err := c.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.process.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		_ = c.process.Process.Kill()
		_ = c.process.Wait()
		return fmt.Errorf("lanyard up ended before it was ready: %w\n%s", err, c.logs)
	}
	return nil
}

// End ends the process in order. Run starts it again.
func (c *Cloud) End() error {
	if c.process == nil {
		return nil
	}
	_ = c.process.Process.Signal(syscall.SIGTERM)
	if err := c.process.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("lanyard up did not stop cleanly: %w\n%s", err, c.logs)
	}
	c.process = nil
	return nil
}

// Stop ends the cloud for good.
func (c *Cloud) Stop() error { return errors.Join(c.End(), os.RemoveAll(c.dir)) }

// Lanyard runs lanyard as the operator on the cloud's host, and gives what it
// prints; the error has what it printed to standard error.
func (c *Cloud) Lanyard(ctx context.Context, args ...string) (string, error) {
	return c.run(ctx, map[string]string{"LANYARD_ENV_FILE": c.EnvFile()}, c.lanyard, args...)
}

// run runs a program on the cloud's host.
func (c *Cloud) run(ctx context.Context, variables map[string]string, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := c.Host.Command(ctx, program, args...)
	cmd.Env = append(cmd.Env, "HOME="+c.dir)
	for name, value := range variables {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %v: %w\n%s%s", filepath.Base(program), args, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Program builds a program of this repository and runs it on the cloud's host as the
// operator: with the variables of "lanyard env". It gives what the program prints.
func (c *Cloud) Program(ctx context.Context, module, pkg string, args ...string) (string, error) {
	path := filepath.Join(c.dir, filepath.Base(pkg))
	if err := build(ctx, module, pkg, path); err != nil {
		return "", err
	}
	text, err := c.Lanyard(ctx, "env", "--format", "json")
	if err != nil {
		return "", err
	}
	var variables map[string]string
	if err := json.Unmarshal([]byte(text), &variables); err != nil {
		return "", fmt.Errorf("lanyard env: %w", err)
	}
	return c.run(ctx, variables, path, args...)
}

// LoadProgram builds a program of this repository, from the module in a directory,
// and puts it alone into an image that the cluster's nodes have.
func (c *Cloud) LoadProgram(ctx context.Context, k *kubetest.Cluster, reference, module, pkg string) error {
	name := filepath.Base(pkg)
	path := filepath.Join(c.dir, name)
	if err := build(ctx, module, pkg, path); err != nil {
		return err
	}
	image, err := kubetest.ScratchImage(map[string]string{"/" + name: path}, "/"+name)
	if err != nil {
		return err
	}
	return k.LoadImage(ctx, reference, image)
}

func build(ctx context.Context, module, pkg, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}
