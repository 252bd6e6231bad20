// Command quickstart shows Lanyard's main job with the official Azure SDK for
// Go: a workload that holds nothing but a Kubernetes service-account token
// becomes a managed identity and reads a secret, while one without the role and
// one with another subject are refused as Azure would refuse them.
//
// It starts a cloud of its own in a temporary directory, has the programs
// platform and workload (beside this one) do their parts as separate processes,
// prints what each workload got, and takes everything away again. The programs
// hold no code of Lanyard's: they reach it as they would reach Azure.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	lanyard := flag.String("lanyard", "bin/lanyard", "the lanyard program")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *lanyard); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, lanyard string) error {
	started := time.Now()
	dir, err := os.MkdirTemp("", "lanyard-quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	fmt.Println("1. A cluster: it signs service-account tokens and publishes its keys.")
	cluster, err := startIssuer()
	if err != nil {
		return err
	}
	defer cluster.close(context.WithoutCancel(ctx))
	fmt.Println("  issuer", cluster.URL)
	clusterCA := filepath.Join(dir, "cluster-ca.pem")
	if err := os.WriteFile(clusterCA, cluster.Certificate, 0o600); err != nil {
		return err
	}

	fmt.Println("2. A cloud: lanyard up, on its own storage, in a temporary directory.")
	cloud, err := startCloud(ctx, lanyard, filepath.Join(dir, "cloud"), clusterCA)
	if err != nil {
		return err
	}
	defer cloud.stop()
	fmt.Println(" ", cloud.ready)

	fmt.Println("3. The platform team: identities, trust, a vault and a role, through Azure's SDK.")
	made, err := cloud.platform(ctx, cluster.URL)
	if err != nil {
		return err
	}

	fmt.Println("4. Three workloads, each with a service-account token and nothing else.")
	results := make([]outcome, 0, len(workloads))
	for _, w := range workloads {
		got, err := cloud.workload(ctx, w, cluster, made, dir)
		if err != nil {
			return err
		}
		fmt.Printf("  %s: %s\n", w.name, got.verdict())
		results = append(results, got)
	}
	fmt.Println()
	printTable(results, made)
	for _, r := range results {
		if r.allowed != r.want {
			return fmt.Errorf("workload %s: %s, which is not what its rights say:\n%s", r.name, r.verdict(), r.output)
		}
	}
	fmt.Printf("\nDone in %.1f s; everything is stopped and removed.\n", time.Since(started).Seconds())
	return nil
}

// workload is one application: the service account that its pod runs as, and
// the identity that it asks to become.
type workload struct {
	name           string
	serviceAccount string
	identity       string
	want           bool
}

var workloads = []workload{
	{name: "orders", serviceAccount: "reader", identity: "reader", want: true},
	{name: "batch", serviceAccount: "stranger", identity: "stranger", want: false},
	{name: "intruder", serviceAccount: "intruder", identity: "reader", want: false},
}

// outcome is what a workload got.
type outcome struct {
	workload
	allowed bool
	output  string
}

func (o outcome) verdict() string {
	if o.allowed {
		return "allowed"
	}
	return "denied"
}

var (
	entraCode = regexp.MustCompile(`AADSTS\d+`)
	innerCode = regexp.MustCompile(`"code":\s*"(ForbiddenBy\w+)"`)
)

// why gives the reason in the words of the service that decided.
func (o outcome) why() string {
	switch {
	case o.allowed:
		return "the secret's value: " + strings.TrimSpace(o.output)
	case entraCode.MatchString(o.output):
		return entraCode.FindString(o.output) + ": no federated credential for this subject"
	case innerCode.MatchString(o.output):
		return "403 " + innerCode.FindStringSubmatch(o.output)[1] + ": no role gives it getSecret"
	default:
		return strings.TrimSpace(o.output)
	}
}

func printTable(results []outcome, made platformResult) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WORKLOAD\tPROVED ITSELF AS\tIDENTITY\tRESOURCE\tRESULT\tWHY")
	for _, r := range results {
		fmt.Fprintf(table, "%s\tsystem:serviceaccount:shop:%s\t%s\tsecret %s\t%s\t%s\n",
			r.name, r.serviceAccount, r.identity, made.Secret, r.verdict(), r.why())
	}
	_ = table.Flush()
}

// cloud is a running lanyard.
type cloud struct {
	process *exec.Cmd
	env     map[string]string
	ready   string
}

// startCloud runs "lanyard up" and waits for its ready line. The issuer's
// address and certificate are allowed by name: by default Lanyard fetches no
// keys from private addresses.
func startCloud(ctx context.Context, lanyard, data, issuerCA string) (*cloud, error) {
	envFile := filepath.Join(data, "env.json")
	process := exec.Command(lanyard, "up", "--data", data, "--issuer-allow", "127.0.0.1/32", "--issuer-ca", issuerCA)
	var logs bytes.Buffer
	process.Stderr = &logs
	stdout, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w (make build puts it in place)", lanyard, err)
	}
	c := &cloud{process: process}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("lanyard did not become ready: %w\n%s", err, logs.String())
	}
	c.ready = strings.TrimSpace(line)
	out, err := exec.CommandContext(ctx, lanyard, "env", "--env-file", envFile, "--format", "json").Output()
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("lanyard env: %w", err)
	}
	if err := json.Unmarshal(out, &c.env); err != nil {
		c.stop()
		return nil, fmt.Errorf("lanyard env: %w", err)
	}
	c.env["LANYARD_ENV_FILE"] = envFile
	return c, nil
}

func (c *cloud) stop() {
	_ = c.process.Process.Signal(syscall.SIGTERM)
	_ = c.process.Wait()
}

// platformResult is what the platform program made.
type platformResult struct {
	VaultURL  string            `json:"vaultUrl"`
	Secret    string            `json:"secret"`
	TenantID  string            `json:"tenantId"`
	ClientIDs map[string]string `json:"clientIds"`
}

func (c *cloud) platform(ctx context.Context, issuer string) (platformResult, error) {
	cmd := exec.CommandContext(ctx, sibling("platform"), "-issuer", issuer)
	cmd.Env = environ(c.env)
	cmd.Stderr = os.Stdout
	out, err := cmd.Output()
	if err != nil {
		return platformResult{}, fmt.Errorf("the platform program: %w", err)
	}
	var made platformResult
	if err := json.Unmarshal(out, &made); err != nil {
		return platformResult{}, fmt.Errorf("the platform program's answer: %w", err)
	}
	return made, nil
}

func (c *cloud) workload(ctx context.Context, w workload, cluster *issuer, made platformResult, dir string) (outcome, error) {
	tokenFile := filepath.Join(dir, w.name+"-token")
	if err := cluster.serviceAccountToken("shop", w.serviceAccount, tokenFile); err != nil {
		return outcome{}, err
	}
	env := maps.Clone(c.env)
	delete(env, "AZURE_CLIENT_SECRET")
	env["AZURE_CLIENT_ID"] = made.ClientIDs[w.identity]
	env["AZURE_TENANT_ID"] = made.TenantID
	env["AZURE_FEDERATED_TOKEN_FILE"] = tokenFile
	cmd := exec.CommandContext(ctx, sibling("workload"), made.VaultURL, made.Secret)
	cmd.Env = environ(env)
	output, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return outcome{}, err
	}
	return outcome{workload: w, allowed: err == nil, output: string(output)}, nil
}

// environ is the environment of a program: the variables for the cloud and the
// little that any program needs, so that nothing of the caller's own Azure
// settings gets in.
func environ(vars map[string]string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	return env
}

// sibling gives the path of a program that was built beside this one.
func sibling(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), "quickstart-"+name)
}
