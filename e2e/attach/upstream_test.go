package attach

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// TestInPlaceOfUpstream: a release of upstream's chart becomes the agent's by
// "helm upgrade", with upstream's values, as the chart's README says. Meanwhile no
// pod that asks for the webhook gets in without what it adds.
func TestInPlaceOfUpstream(t *testing.T) {
	k := world.Get(t)
	n := k.Namespace(t, nil)
	serviceAccount(t, n)
	values := filepath.Join(t.TempDir(), "values.yaml")
	repository, tag, _ := strings.Cut(agentImage, ":")
	if err := os.WriteFile(values, fmt.Appendf(nil, `
azureTenantID: aaaaaaaa-0000-0000-0000-000000000001
image: {repository: %s, release: "%s", pullPolicy: Never}
podDisruptionBudget: {minAvailable: 1}
customTokenEndpoint: {annotationSuffix: "", audience: "", azureKubernetesCaData: ""}
`, repository, tag), 0o600); err != nil {
		t.Fatal(err)
	}
	helm := func(args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := world.Host.Command(ctx, helmPath(t), append(args, "--namespace", namespace, "--kubeconfig", k.Kubeconfig)...)
		cmd.Env = append(cmd.Env, "HOME="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("helm %v: %v\n%s", args, err, out)
		}
	}
	charts := map[string]string{}
	for name, dir := range map[string]string{"upstream": "testdata/upstream", "agent": chartDir} {
		abs, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		charts[name] = abs
	}
	helm("install", "azwi", charts["upstream"], "--create-namespace", "--values", values, "--wait", "--timeout", "2m")
	n.Eventually("upstream's webhook", func(ctx context.Context) (bool, string) {
		has, err := dryRun(ctx, n)
		return has, fmt.Sprint(err)
	})

	stop := watchAdmissions(t, n)
	if _, err := k.Kubectl(t.Context(), "delete", "deployment", "azure-wi-webhook-controller-manager", "--namespace="+namespace); err != nil {
		t.Fatal(err)
	}
	helm("upgrade", "azwi", charts["agent"], "--reset-values", "--values", values, "--wait", "--timeout", "2m")
	n.Eventually("the agent's webhook", func(ctx context.Context) (bool, string) {
		has, err := dryRun(ctx, n)
		return has, fmt.Sprint(err)
	})
	stop()
	if !mutated(t, n) {
		t.Error("the webhook did not set a pod up")
	}
	// Instructions of upstream's find it.
	pods, err := k.Client().CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=workload-identity-webhook", FieldSelector: "status.phase=Running"})
	if err != nil || !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Labels["app.kubernetes.io/component"] == "webhook" }) {
		t.Errorf("%d pods, %v", len(pods.Items), err)
	}
	helm("uninstall", "azwi", "--wait")
	if mutated(t, n) {
		t.Error("the webhook goes on")
	}
}

// dryRun asks for the admission of a pod that asks for the webhook, and tells
// whether it has what that adds.
func dryRun(ctx context.Context, n *kubetest.Namespace) (bool, error) {
	pod, err := n.Cluster.Client().CoreV1().Pods(n.Name).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-", Labels: map[string]string{"azure.workload.identity/use": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "kubetest.invalid/none:1"}}},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "AZURE_FEDERATED_TOKEN_FILE" }), nil
}

// watchAdmissions asks for admissions until it is stopped: each is refused, or
// the pod has what the webhook adds.
func watchAdmissions(t *testing.T, n *kubetest.Namespace) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	var good, refused, bare int
	asking.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			switch has, err := dryRun(ctx, n); {
			case err != nil:
				refused++
			case has:
				good++
			default:
				bare++
			}
		}
	})
	return func() {
		t.Helper()
		cancel()
		asking.Wait()
		t.Logf("%d pods were mutated, %d refused", good, refused)
		if bare > 0 || good == 0 {
			t.Errorf("%d pods got in without what the webhook adds, %d with it", bare, good)
		}
	}
}
