package attach

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const (
	agentImage = "kubetest.invalid/lanyard-agent:1"
)

// world is the package's cluster, with a cloud beside it.
var world struct {
	kubetest.Shared
	*cloudhost.Cloud
}

func TestMain(m *testing.M) {
	world.Options = kubetest.Options{Nodes: []kubetest.Node{{Name: "node1"}}}
	world.Ready = func(ctx context.Context, k *kubetest.Cluster) (err error) {
		if world.Cloud, err = cloudhost.Start(ctx, k, "../..", "--aliases", "login-us.microsoftonline.com,login.microsoftonline.com"); err != nil {
			return err
		}
		return world.LoadProgram(ctx, k, agentImage, "../..", "./cmd/lanyard-agent")
	}
	world.Done = func() error {
		if world.Cloud == nil {
			return nil
		}
		return world.Stop()
	}
	os.Exit(world.Main(m))
}

// lanyard runs a command as the operator, on the cluster.
func lanyard(t *testing.T, k *kubetest.Cluster, args ...string) (string, error) {
	t.Helper()
	if args[0] == "attach" || (args[0] == "detach" && !slices.Contains(args, "--cloud-only")) {
		args = append(args, "--kubeconfig", k.Kubeconfig)
	}
	return world.Lanyard(t.Context(), args...)
}

func mustLanyard(t *testing.T, k *kubetest.Cluster, args ...string) string {
	t.Helper()
	out, err := lanyard(t, k, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// everything lists what there is in the cluster, but for what comes and goes by
// itself.
func everything(ctx context.Context, k *kubetest.Cluster) ([]string, error) {
	kinds, err := k.Kubectl(ctx, "api-resources", "--verbs=list", "--output=name")
	if err != nil {
		return nil, err
	}
	listed := slices.DeleteFunc(strings.Fields(kinds), func(kind string) bool {
		return slices.Contains([]string{"events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses"}, kind)
	})
	out, err := k.Kubectl(ctx, "get", strings.Join(listed, ","), "--all-namespaces",
		`--output=go-template={{range .items}}{{.kind}} {{.metadata.namespace}}/{{.metadata.name}}{{"\n"}}{{end}}`)
	names := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(names)
	return slices.Compact(names), err
}

// sameAs waits until the cluster holds what it held.
func sameAs(t *testing.T, k *kubetest.Cluster, before []string) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := everything(t.Context(), k)
		if err == nil && slices.Equal(before, now) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the cluster holds something else (-before +now): %v\n%s", err, cmp.Diff(before, now))
		}
	}
}

// mutated reports whether the webhook sets a new pod of the namespace up.
func mutated(t *testing.T, n *kubetest.Namespace) bool {
	t.Helper()
	pods := n.Cluster.Client().CoreV1().Pods(n.Name)
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-", Labels: map[string]string{"azure.workload.identity/use": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "kubetest.invalid/none:1"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "AZURE_FEDERATED_TOKEN_FILE" })
}

// serviceAccount makes one that is annotated with an identity of nobody.
func serviceAccount(t *testing.T, n *kubetest.Namespace) {
	t.Helper()
	_, err := n.Cluster.Kubectl(t.Context(), "annotate", "serviceaccount", "default", "--namespace="+n.Name,
		"azure.workload.identity/client-id=dddddddd-0000-0000-0000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
}

// outcomes are how many objects of a plan are to be created, changed and so on.
func outcomes(t *testing.T, plan string) map[string]int {
	t.Helper()
	var p struct{ Objects []struct{ Outcome string } }
	if err := json.Unmarshal([]byte(plan), &p); err != nil {
		t.Fatalf("%v\n%s", err, plan)
	}
	n := map[string]int{}
	for _, o := range p.Objects {
		n[o.Outcome]++
	}
	return n
}

// TestAttachDetach: a cluster is attached, changed, attached again, and detached,
// after which it holds what it held before.
func TestAttachDetach(t *testing.T) {
	k := world.Get(t)
	n := k.Namespace(t, nil)
	serviceAccount(t, n)
	before, err := everything(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	place := []string{"shop", "--resource-group", "clusters"}
	attach := append([]string{"attach", "--image", agentImage}, place...)

	plan := outcomes(t, mustLanyard(t, k, append(attach, "--dry-run", "-o", "json")...))
	if plan["created"] < 15 || len(plan) != 1 {
		t.Errorf("the plan for an empty cluster: %v", plan)
	}
	sameAs(t, k, before)
	if _, err := lanyard(t, k, attach...); err == nil || !strings.Contains(err.Error(), "there is no terminal to ask on") {
		t.Errorf("without a terminal: %v", err)
	}
	if _, err := world.Attach(t.Context(), k, "shop", "clusters", agentImage, "--set", "logLevel=debug"); err != nil {
		t.Fatal(err)
	}
	if !mutated(t, n) {
		t.Error("the webhook did not set a pod up")
	}
	if out := mustLanyard(t, k, "cluster", "list"); !strings.Contains(out, "Connected") {
		t.Errorf("lanyard cluster list:\n%s", out)
	}

	// Again, with nothing to do; what was given before stays.
	again := outcomes(t, mustLanyard(t, k, append(attach, "--dry-run", "-o", "json")...))
	if again["unchanged"] < 15 || len(again) != 1 {
		t.Errorf("the plan for an attached cluster: %v", again)
	}
	mustLanyard(t, k, append(attach, "--set", "replicaCount=1", "--yes")...)
	mustLanyard(t, k, append(attach, "--yes")...)
	d, err := k.Client().AppsV1().Deployments(namespace).Get(t.Context(), "azure-wi-webhook-controller-manager", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if *d.Spec.Replicas != 1 || !slices.Contains(d.Spec.Template.Spec.Containers[0].Args, "--log-level=debug") {
		t.Errorf("%d replicas, arguments %v", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Args)
	}

	// Under another name it would be two clusters with one set of keys.
	_, err = lanyard(t, k, "attach", "other", "--resource-group", "clusters", "--yes")
	if err == nil || !strings.Contains(err.Error(), "this cluster is attached already, as") {
		t.Errorf("attached twice: %v", err)
	}
	if _, err := lanyard(t, k, "detach", "other", "--resource-group", "clusters", "--yes"); err == nil || !strings.Contains(err.Error(), "is attached as") {
		t.Errorf("detached as another: %v", err)
	}

	mustLanyard(t, k, append([]string{"detach", "--yes"}, place...)...)
	if mutated(t, n) {
		t.Error("the webhook goes on")
	}
	sameAs(t, k, before)
	if out := mustLanyard(t, k, append([]string{"detach"}, place...)...); !strings.Contains(out, "nothing is left of it") {
		t.Errorf("detached again:\n%s", out)
	}
}

// TestHelmInstall: Helm, unmodified, installs the chart by the values that attach
// prints, and takes it out.
func TestHelmInstall(t *testing.T) {
	k := world.Get(t)
	n := k.Namespace(t, nil)
	serviceAccount(t, n)
	place := []string{"by-helm", "--resource-group", "clusters"}
	// Its issuer is the cluster's own, which the cloud cannot reach.
	if err := k.RestartAPIServer(t.Context(), func(o *kubetest.APIServerOptions) {
		o.Issuers, o.JWKSURI = append([]string{"https://kubernetes.example.test"}, o.Issuers...), "https://kubernetes.example.test/openid/v1/jwks"
	}); err != nil {
		t.Fatal(err)
	}
	values := mustLanyard(t, k, append([]string{"attach", "--cloud-only", "--trust-issuer", "--yes", "--image", agentImage}, place...)...)
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	chart, err := filepath.Abs(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	onCluster := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := world.Host.Command(ctx, helmPath(t), append(args, "--namespace", namespace, "--kubeconfig", k.Kubeconfig)...)
		cmd.Env = append(cmd.Env, "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("helm %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	onCluster("install", "lanyard-agent", chart, "--create-namespace", "--values", file, "--wait", "--timeout", "2m")
	if !mutated(t, n) {
		t.Error("the webhook did not set a pod up")
	}
	if out := onCluster("list"); !strings.Contains(out, "deployed") {
		t.Errorf("helm list:\n%s", out)
	}
	// What Helm installed attach leaves alone, and says whose it is.
	for command, want := range map[string]string{"attach": "helm uninstall lanyard-agent", "detach": "helm uninstall lanyard-agent"} {
		if _, err := lanyard(t, k, append([]string{command, "--yes"}, place...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("lanyard %s: %v", command, err)
		}
	}
	onCluster("upgrade", "lanyard-agent", chart, "--values", file, "--set", "replicaCount=1", "--wait", "--timeout", "2m")
	onCluster("uninstall", "lanyard-agent", "--wait")
	mustLanyard(t, k, append([]string{"detach", "--cloud-only", "--yes"}, place...)...)
	if out := mustLanyard(t, k, "cluster", "list"); strings.Contains(out, "by-helm") {
		t.Errorf("the cluster is still registered:\n%s", out)
	}
}
