package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
)

// language is a program of examples/ that reads a secret with its language's
// own SDK: "program VAULT-URL SECRET-NAME CREDENTIAL".
type language struct {
	name    string
	command []string
	// probe fails where the machine lacks the SDK; missing says what to install.
	probe   []string
	missing string
	// asksMicrosoft: signing in by secret asks login.microsoftonline.com itself
	// for the authority's aliases.
	asksMicrosoft bool
}

var languages = []language{
	{
		name: "Go", command: []string{"read-secret"}, // built on first use
		probe: []string{"go", "version"}, missing: "go",
	},
	{
		name: "JavaScript", command: []string{"node", "../examples/javascript/read-secret.js"},
		probe:   []string{"node", "--input-type=module", "-e", "await import('../examples/javascript/node_modules/@azure/identity/dist/esm/index.js')"},
		missing: "node and the packages of examples/javascript (npm ci there)",
	},
	{
		name: "Python", command: []string{"/usr/bin/python3", "../examples/python/read_secret.py"},
		probe:   []string{"/usr/bin/python3", "-c", "import azure.identity, azure.keyvault.secrets"},
		missing: "azure.identity and azure.keyvault.secrets (Debian's python3-azure)", asksMicrosoft: true,
	},
}

// available skips the test, loudly, where the language's SDK is not installed.
// In CI it is an error.
func (l language) available(t *testing.T) {
	t.Helper()
	out, err := exec.Command(l.probe[0], l.probe[1:]...).CombinedOutput()
	if err == nil {
		if l.name == "Go" {
			if err := build("../examples", world.bin, "./go/read-secret"); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("CI must have %s: %v\n%s", l.missing, err, out)
	}
	t.Skipf("NOT TESTED: this machine lacks %s", l.missing)
}

// program is the command line that reads the secret "greeting".
func (l language) program(vault armkeyvault.Vault, kind string) []string {
	return append(l.programAt(*vault.Properties.VaultURI), kind)
}

func (l language) programAt(vaultURL string) []string {
	args := slices.Clone(l.command)
	if l.name == "Go" {
		args[0] = filepath.Join(world.bin, args[0])
	}
	return append(args, vaultURL, "greeting")
}

// readSecret runs the program with the variables given on top of those of
// "lanyard env" and without the operator's own secret.
func (l language) readSecret(t *testing.T, vault armkeyvault.Vault, kind string, vars ...string) (string, error) {
	t.Helper()
	args := l.program(vault, kind)
	cmd := exec.CommandContext(testContext(t), args[0], args[1:]...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AZURE_CLIENT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, vars...)
	var complaints strings.Builder // SDKs warn there also when all goes well
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return complaints.String(), err
	}
	return strings.TrimSpace(string(out)), nil
}

// TestLanguages has each language's SDK read a secret by secret and by workload
// identity, and refuses the identity without the role.
func TestLanguages(t *testing.T) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			l.available(t)
			group := newGroup(t)
			reader, stranger := newIdentity(t, group, "reader"), newIdentity(t, group, "stranger")
			vault := newVault(t, group)
			setSecret(t, vault, "greeting", "hello")
			assign(t, *vault.ID+"/secrets/greeting", roleSecretsUser, *reader.Properties.PrincipalID)
			workload := func(i identity) []string {
				return []string{"AZURE_CLIENT_ID=" + *i.Properties.ClientID,
					"AZURE_FEDERATED_TOKEN_FILE=" + world.cluster.tokenFile(t, assertion{subject: i.subject})}
			}
			operator := []string{"AZURE_CLIENT_ID=" + world.env.Bootstrap.ClientID, "AZURE_CLIENT_SECRET=" + world.env.Bootstrap.ClientSecret}
			for _, c := range []struct {
				kind string
				vars []string
			}{{"secret", operator}, {"workload", workload(reader)}, {"default", workload(reader)}} {
				if c.kind == "secret" && l.asksMicrosoft {
					continue // TestOldMSAL has it
				}
				if got, err := l.readSecret(t, vault, c.kind, c.vars...); err != nil || got != "hello" {
					t.Errorf("%s: %v\n%s", c.kind, err, got)
				}
			}
			got, err := l.readSecret(t, vault, "workload", workload(stranger)...)
			if err == nil || !strings.Contains(got, "not authorized to perform action") {
				t.Errorf("the identity without the role: %v\n%s", err, got)
			}
			got, err = l.readSecret(t, vault, "workload", "AZURE_CLIENT_ID="+*reader.Properties.ClientID,
				"AZURE_FEDERATED_TOKEN_FILE="+world.cluster.tokenFile(t, assertion{subject: "system:serviceaccount:e2e:other"}))
			if err == nil || !strings.Contains(got, "AADSTS700213") {
				t.Errorf("another subject: %v\n%s", err, got)
			}
		})
	}
}

// TestOldMSAL signs in by secret with a release of MSAL for Python (1.21) that
// asks login.microsoftonline.com for the aliases of any authority: it works
// where the operator has the cloud answer to that name too.
func TestOldMSAL(t *testing.T) {
	run, _ := oldMSAL(t)
	run(`
import os
from azure.identity import ClientSecretCredential
credential = ClientSecretCredential(os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"])
print(len(credential.get_token("https://vault.azure.net/.default").token))`)
}

// oldMSAL runs a cloud that answers to login.microsoftonline.com too, and gives what
// runs a program of Debian's Python against it, and the cloud's environment file.
func oldMSAL(t *testing.T) (run func(program string, args ...string), envFile string) {
	t.Helper()
	python := languages[slices.IndexFunc(languages, func(l language) bool { return l.name == "Python" })]
	python.available(t)
	envFile = ownCloud(t, nil, "--aliases", "login-us.microsoftonline.com,login.microsoftonline.com")
	vars, err := variables(filepath.Join(world.bin, "lanyard"), envFile)
	if err != nil {
		t.Fatal(err)
	}
	return func(program string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(testContext(t), "/usr/bin/python3", append([]string{"-c", program}, args...)...)
		cmd.Env = os.Environ()
		for name, value := range vars {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}, envFile
}
