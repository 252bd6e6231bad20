package kubetest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// childVariable has this test's program be a process that starts a cluster and
// waits, for a test that ends it.
const childVariable = "KUBETEST_CHILD"

// child starts a cluster, prints its directory, and closes it when its standard
// input says so.
func child() int {
	c, err := kubetest.New(context.Background(), kubetest.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(filepath.Dir(filepath.Dir(filepath.Dir(c.Kubeconfig)))) // DIRECTORY/control-plane/pki/admin.kubeconfig
	if line, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil || line != "close\n" {
		fmt.Fprintln(os.Stderr, "not told to close:", line, err)
		return 1
	}
	if err := c.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestNothingLeft ends clusters in three ways, and looks for what they left.
func TestNothingLeft(t *testing.T) {
	kubetest.Require(t)
	for name, end := range map[string]func(*testing.T, *osexec.Cmd, io.Writer){
		"closed": func(t *testing.T, cmd *osexec.Cmd, stdin io.Writer) {
			t.Helper()
			if _, err := io.WriteString(stdin, "close\n"); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		},
		"interrupted": func(t *testing.T, cmd *osexec.Cmd, _ io.Writer) {
			t.Helper()
			_ = cmd.Process.Signal(syscall.SIGINT)
			_ = cmd.Wait()
		},
		"killed": func(t *testing.T, cmd *osexec.Cmd, _ io.Writer) {
			t.Helper()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := osexec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"=1")
			cmd.Stderr = os.Stderr
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			dir := strings.TrimSpace(line)
			if left := left(t, dir); len(left) < 8 {
				t.Fatalf("of a running cluster only this was found: %v", left)
			}
			end(t, cmd, stdin)
			deadline := time.NewTimer(30 * time.Second)
			defer deadline.Stop()
			ticker := time.NewTicker(50 * time.Millisecond)
			defer ticker.Stop()
			for {
				found := left(t, dir)
				if len(found) == 0 {
					return
				}
				select {
				case <-deadline.C:
					t.Fatalf("this is left:\n%s", strings.Join(found, "\n"))
				case <-ticker.C:
				}
			}
		})
	}
}

// left is what there is of a cluster: its directory, its control groups, the
// processes that name it, and their namespaces with them.
func left(t *testing.T, dir string) (found []string) {
	t.Helper()
	name := filepath.Base(dir)
	if _, err := os.Stat(dir); err == nil {
		found = append(found, dir)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		groups, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, groups...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		arguments, _ := os.ReadFile(filepath.Join(p, "cmdline")) // it may have ended
		groups, _ := os.ReadFile(filepath.Join(p, "cgroup"))
		if strings.Contains(string(arguments), name) || strings.Contains(string(groups), name) {
			found = append(found, p+" "+strings.ReplaceAll(string(arguments), "\x00", " "))
		}
	}
	return found
}
