package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lanyard-id/lanyard/e2e/environment"
)

// world is the one cloud of the test run, with a cluster's issuer that it trusts.
var world struct {
	bin     string
	env     environment.File
	cluster *issuer
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runWorld(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// runWorld builds the programs, starts the cloud, gives this process the
// variables by which Azure's SDKs find it, and runs the tests.
func runWorld(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "lanyard-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	world.bin = filepath.Join(dir, "bin")
	if err := build("..", world.bin, "./cmd/lanyard"); err != nil {
		return 1, err
	}
	if world.cluster, err = startIssuer(); err != nil {
		return 1, err
	}
	defer world.cluster.close()
	issuerCA := filepath.Join(dir, "issuer-ca.pem")
	if err := os.WriteFile(issuerCA, world.cluster.certificate, 0o600); err != nil {
		return 1, err
	}
	lanyard := filepath.Join(world.bin, "lanyard")
	data := filepath.Join(dir, "data")
	stop, err := up(lanyard, data, "--issuer-allow", "127.0.0.1/32", "--issuer-ca", issuerCA)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	envFile := filepath.Join(data, "env.json")
	if world.env, err = environment.Read(envFile); err != nil {
		return 1, err
	}
	if err := adopt(lanyard, envFile); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// adopt sets the variables of "lanyard env" in this process. It must run before
// the first request: Go reads the proxy and the roots once.
func adopt(lanyard, envFile string) error {
	vars, err := variables(lanyard, envFile)
	if err != nil {
		return err
	}
	for name, value := range vars {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// variables are what "lanyard env" says.
func variables(lanyard, envFile string) (map[string]string, error) {
	out, err := exec.Command(lanyard, "env", "--env-file", envFile, "--format", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("lanyard env: %w", err)
	}
	var vars map[string]string
	if err := json.Unmarshal(out, &vars); err != nil {
		return nil, fmt.Errorf("lanyard env: %w", err)
	}
	return vars, nil
}

func build(dir, bin string, packages ...string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{"build", "-o", bin + "/"}, packages...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", packages, err, out)
	}
	return nil
}

// up runs "lanyard up" until stop, and returns when it says that it is ready.
func up(lanyard, data string, flags ...string) (stop func() error, err error) {
	return upBy([]string{lanyard}, data, flags...)
}

// upBy is up where lanyard is run by another command, whose arguments go before.
func upBy(lanyard []string, data string, flags ...string) (stop func() error, err error) {
	cmd := exec.Command(lanyard[0], append(append(lanyard[1:len(lanyard):len(lanyard)], "up", "--data", data), flags...)...)
	var logs bytes.Buffer
	cmd.Stderr = &logs
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("lanyard up ended before it was ready: %w\n%s", err, logs.String())
	}
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("lanyard up did not stop cleanly: %w\n%s", err, logs.String())
		}
		return nil
	}, nil
}

// ownCloud runs a cloud of the test's own until it ends, by another command where
// run is not empty, and gives its environment file.
func ownCloud(t *testing.T, run []string, flags ...string) (envFile string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	stop, err := upBy(append(slices.Clone(run), filepath.Join(world.bin, "lanyard")), data, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(data, "env.json")
}

// testContext bounds a test's requests, so that a client's retries cannot hang it. An
// az command alone takes seconds, and on a busy machine many.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// operator is the bootstrap principal, signed in by its secret.
func operator(t *testing.T) azcore.TokenCredential {
	t.Helper()
	credential, err := azidentity.NewClientSecretCredential(world.env.TenantID, world.env.Bootstrap.ClientID, world.env.Bootstrap.ClientSecret, nil)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// armOptions leads the management clients to the cloud.
func armOptions() *arm.ClientOptions {
	return &arm.ClientOptions{ClientOptions: azcore.ClientOptions{Cloud: cloud.Configuration{
		ActiveDirectoryAuthorityHost: world.env.Endpoints.ActiveDirectory,
		Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: world.env.Endpoints.ResourceManager, Audience: world.env.Endpoints.ResourceManager},
		},
	}}}
}

// wantAzureError checks that err is the service's own answer with the status
// and error code.
func wantAzureError(t *testing.T, err error, status int, code string) {
	t.Helper()
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		t.Fatalf("got error %v, want %d %s", err, status, code)
	}
	if response.StatusCode != status || response.ErrorCode != code {
		t.Fatalf("got %d %s, want %d %s:\n%v", response.StatusCode, response.ErrorCode, status, code, err)
	}
}

// wantEntraError checks that err is the token service's own answer with the
// AADSTS number, and that the client did not take it for something else.
func wantEntraError(t *testing.T, err error, number string) {
	t.Helper()
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) {
		t.Fatalf("got error %v, want an authentication failure with %s", err, number)
	}
	if !strings.Contains(err.Error(), number+":") {
		t.Fatalf("got error %v, want %s", err, number)
	}
}

// wantStatus sends a plain request and checks the answer's status.
func wantStatus(t *testing.T, r *http.Request, status int) *http.Response {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d", r.Method, r.URL, response.StatusCode, status)
	}
	return response
}
