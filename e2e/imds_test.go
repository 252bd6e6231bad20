package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// namespace is a network namespace with the metadata service's address on its
// loopback: a machine of its own, as far as SDKs can tell.
type namespace string

func newNamespace(t *testing.T) namespace {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "root, for a network namespace"
	} else if _, err := exec.LookPath("ip"); err != nil {
		missing = "ip (Debian's iproute2)"
	}
	if missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI must have %s", missing)
		}
		t.Skipf("NOT TESTED: this machine lacks %s", missing)
	}
	ns := namespace(fmt.Sprintf("lanyard-e2e-%d", os.Getpid()))
	ip(t, "netns", "add", string(ns))
	t.Cleanup(func() { ip(t, "netns", "delete", string(ns)) })
	ip(t, "-n", string(ns), "link", "set", "lo", "up")
	ip(t, "-n", string(ns), "address", "add", "169.254.169.254/32", "dev", "lo")
	return ns
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// command is a command line inside the namespace.
func (ns namespace) command(args ...string) []string {
	return append([]string{"ip", "netns", "exec", string(ns)}, args...)
}

// TestIMDS has each language's SDK find the metadata service at its own address
// and become the machine's identity.
func TestIMDS(t *testing.T) {
	ns := newNamespace(t)
	envFile := ownCloud(t, ns.command(), "--imds", "169.254.169.254:80", "--imds-identity", "reader")
	vars, err := variables(filepath.Join(world.bin, "lanyard"), envFile)
	if err != nil {
		t.Fatal(err)
	}
	in := func(drop string, args []string, more ...string) *exec.Cmd {
		cmd := exec.CommandContext(testContext(t), "ip", ns.command(args...)[1:]...)
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "AZURE_") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		for name, value := range vars {
			if drop == "" || !strings.HasPrefix(name, drop) {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
		}
		cmd.Env = append(cmd.Env, more...)
		return cmd
	}

	// The quickstart's platform program makes identities, a vault and a secret
	// that "reader" may read.
	if err := build("../examples", world.bin, "./quickstart/platform"); err != nil {
		t.Fatal(err)
	}
	platform := in("", []string{filepath.Join(world.bin, "platform"), "-issuer", "https://cluster.example"})
	platform.Stderr = os.Stderr
	out, err := platform.Output()
	if err != nil {
		t.Fatalf("the platform program: %v", err)
	}
	var made struct {
		VaultURL  string            `json:"vaultUrl"`
		ClientIDs map[string]string `json:"clientIds"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatal(err)
	}

	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			l.available(t)
			for _, c := range []struct{ kind, clientID string }{
				{"managed", ""}, {"managed", made.ClientIDs["reader"]}, {"default", ""}, {"default", made.ClientIDs["reader"]},
			} {
				var more []string
				if c.clientID != "" {
					more = append(more, "AZURE_CLIENT_ID="+c.clientID)
				}
				out, err := in("AZURE_CLIENT_", append(l.programAt(made.VaultURL), c.kind), more...).CombinedOutput()
				if err != nil || !strings.Contains(string(out), "hello from the vault") {
					t.Errorf("%s, client %q: %v\n%s", c.kind, c.clientID, err, out)
				}
			}
			out, err := in("AZURE_CLIENT_", append(l.programAt(made.VaultURL), "managed"), "AZURE_CLIENT_ID="+made.ClientIDs["stranger"]).CombinedOutput()
			// azure.identity says it in words of its own.
			if err == nil || !strings.Contains(string(out), "Identity not found") && !strings.Contains(string(out), "has not been assigned to this resource") {
				t.Errorf("an identity that the machine has not: %v\n%s", err, out)
			}
		})
	}
}
