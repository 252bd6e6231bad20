package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// startSidecar runs the agent's proxy with a pod's variables, by another command
// where run is not empty, and gives its address.
func startSidecar(t *testing.T, run []string, variables ...string) string {
	t.Helper()
	port := "0"
	if len(run) > 0 {
		port = "8000" // nobody else's, in a namespace
	}
	line := startAgent(t, run, variables, "proxy", "--proxy-port", port, "--log-level", "debug")
	return strings.TrimSpace(strings.TrimPrefix(line, "proxy "))
}

// startAgent runs a role of the agent until the test ends, by another command where
// run is not empty, with variables beside this process's; and gives its first line.
// It must stop cleanly, and log no token.
func startAgent(t *testing.T, run, variables []string, args ...string) string {
	t.Helper()
	if err := build("..", world.bin, "./cmd/lanyard-agent"); err != nil {
		t.Fatal(err)
	}
	role := args[0]
	args = slices.Concat(run, []string{filepath.Join(world.bin, "lanyard-agent")}, args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AZURE_CLIENT_") }), variables...)
	var logs bytes.Buffer
	cmd.Stderr = &logs
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s did not stop cleanly: %v\n%s", role, err, &logs)
		}
		if strings.Contains(logs.String(), "eyJ") {
			t.Errorf("the log of %s holds a token", role)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%s said nothing: %v", role, err)
	}
	return line
}

// inside runs f on a thread in the namespace: what f listens on and connects to is
// there.
func (ns namespace) inside(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		where, err := os.Open("/var/run/netns/" + string(ns))
		if err == nil {
			err = errors.Join(unix.Setns(int(where.Fd()), unix.CLONE_NEWNET), where.Close())
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// listen listens in the namespace, and hands over what connects.
func (ns namespace) listen(t *testing.T, address string, serve func(net.Conn)) {
	t.Helper()
	var l net.Listener
	ns.inside(t, func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
}

// reachCloud makes the cloud's proxy reachable in the namespace at the address that
// it has outside.
func (ns namespace) reachCloud(t *testing.T) {
	t.Helper()
	proxy, err := url.Parse(os.Getenv("HTTPS_PROXY"))
	if err != nil {
		t.Fatal(err)
	}
	ns.listen(t, proxy.Host, func(inside net.Conn) {
		defer inside.Close()
		outside, err := net.Dial("tcp", proxy.Host)
		if err != nil {
			return
		}
		defer outside.Close()
		go func() {
			_, _ = io.Copy(outside, inside)
			outside.Close()
		}()
		_, _ = io.Copy(inside, outside)
	})
}

// get asks at an address in the namespace.
func (ns namespace) get(t *testing.T, address, path string) int {
	t.Helper()
	var c net.Conn
	ns.inside(t, func() (err error) {
		c, err = net.Dial("tcp4", address)
		return err
	})
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }, DisableKeepAlives: true,
	}}
	r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Metadata", "true")
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// TestSidecar has programs that only know the metadata service get their tokens by
// workload identity: in a pod's stead a network namespace, in which the redirect
// is installed, the proxy runs, and a stand-in for the node's metadata service has
// the service's address: nobody must reach it.
func TestSidecar(t *testing.T) {
	ns := newNamespace(t)
	group := newGroup(t)
	reader := newIdentity(t, group, "reader")
	vault := newVault(t, group)
	setSecret(t, vault, "greeting", "hello")
	assign(t, *vault.ID+"/secrets/greeting", roleSecretsUser, *reader.Properties.PrincipalID)
	ns.reachCloud(t)
	var reached atomic.Int32
	ns.listen(t, "169.254.169.254:80", func(c net.Conn) {
		reached.Add(1)
		c.Close()
	})

	tokens := world.cluster.tokenFile(t, assertion{subject: reader.subject})
	if err := build("..", world.bin, "./cmd/lanyard-agent"); err != nil {
		t.Fatal(err)
	}
	redirect := ns.command(filepath.Join(world.bin, "lanyard-agent"), "proxy-init")
	for range 2 { // as in a pod that is restarted
		if out, err := exec.Command(redirect[0], redirect[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("proxy-init: %v\n%s", err, out)
		}
	}
	startSidecar(t, ns.command(), "AZURE_CLIENT_ID="+*reader.Properties.ClientID, "AZURE_FEDERATED_TOKEN_FILE="+tokens)

	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			l.available(t)
			read := func(vars ...string) (string, error) {
				args := ns.command(l.program(vault, "managed")...)
				cmd := exec.CommandContext(testContext(t), args[0], args[1:]...)
				cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
					name, _, _ := strings.Cut(v, "=")
					return strings.HasPrefix(name, "AZURE_CLIENT_") || name == "AZURE_TENANT_ID" || strings.EqualFold(name, "NO_PROXY")
				}), append(vars, "NO_PROXY=169.254.169.254", "no_proxy=169.254.169.254")...)
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			for _, clientID := range []string{"", *reader.Properties.ClientID} {
				if out, err := read("AZURE_CLIENT_ID=" + clientID); err != nil || !strings.Contains(out, "hello") {
					t.Errorf("client %q: %v\n%s", clientID, err, out)
				}
			}
			if out, err := read("AZURE_CLIENT_ID=11111111-1111-1111-1111-111111111111"); err == nil ||
				!strings.Contains(out, "AADSTS700016") && !strings.Contains(out, "has not been assigned to this resource") { // azure.identity's own words
				t.Errorf("an identity that does not exist: %v\n%s", err, out)
			}
		})
	}
	for _, path := range []string{"/metadata/instance?api-version=2021-02-01", "/metadata/identity/info?api-version=2018-02-01", "/"} {
		if got := ns.get(t, "169.254.169.254:80", path); got != http.StatusNotFound {
			t.Errorf("%s: %d", path, got)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections reached the other metadata service", n)
	}
}
