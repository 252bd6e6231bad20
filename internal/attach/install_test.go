package attach

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	deploymentPath    = "/apis/apps/v1/namespaces/" + DefaultNamespace + "/deployments/azure-wi-webhook-controller-manager"
	configurationPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/azure-wi-webhook-mutating-webhook-configuration"
	namespacePath     = "/api/v1/namespaces/" + DefaultNamespace
)

// withControllers makes deployments ready at once, and has the webhook tell its
// authority.
func (f *fakeAPI) withControllers() {
	f.onWrite = func(path string, o map[string]any) {
		switch o["kind"] {
		case "Deployment":
			n := o["spec"].(map[string]any)["replicas"]
			o["status"] = map[string]any{"replicas": n, "updatedReplicas": n, "readyReplicas": n, "availableReplicas": n, "observedGeneration": 1}
		case "MutatingWebhookConfiguration":
			for _, hook := range o["webhooks"].([]any) {
				hook.(map[string]any)["clientConfig"].(map[string]any)["caBundle"] = "QUJD"
			}
		}
	}
}

func prepare(t *testing.T, values map[string]any) *Installation {
	t.Helper()
	i, err := Prepare(Attachment{ResourceID: "/subscriptions/s/x", Cloud: "https://management.example", Version: "v1", Values: values},
		map[string]any{"azureTenantID": tenant})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func outcomes(t *testing.T, i *Installation, c *Cluster) map[Outcome]int {
	t.Helper()
	changes, err := i.Plan(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	n := map[Outcome]int{}
	for _, change := range changes {
		n[change.Outcome]++
	}
	return n
}

func TestInstallUpgradeRemove(t *testing.T) {
	f := newFakeAPI(t)
	f.withControllers()
	c := f.connect(t)
	first := prepare(t, nil)
	if n := outcomes(t, first, c); n[Created] != len(first.objects) || len(f.requests) > 0 {
		t.Fatalf("plan for an empty cluster: %v of %d objects; writes %v", n, len(first.objects), f.requests)
	}
	if err := first.Apply(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	if err := first.Ready(t.Context(), c, func(string) {}); err != nil {
		t.Fatal(err)
	}
	// The fake gives what was applied back, so that the authority which the
	// webhook wrote would be taken away by a merge of lists; a real API server
	// merges webhooks by their names.
	f.onWrite(configurationPath, f.get(configurationPath))
	got, err := c.Attachment(t.Context())
	if err != nil || got == nil || got.ResourceID != "/subscriptions/s/x" || got.Namespace != DefaultNamespace {
		t.Fatalf("attachment %+v, %v", got, err)
	}

	second := prepare(t, map[string]any{"replicaCount": 3, "metrics": map[string]any{"service": false}})
	n := outcomes(t, second, c)
	if n[Created] != 0 || n[Deleted] != 1 || n[Changed] < 2 || n[Unchanged] < 5 {
		t.Errorf("plan of an upgrade: %v", n)
	}
	if err := second.Apply(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	if f.get("/api/v1/namespaces/"+DefaultNamespace+"/services/azure-wi-webhook-metrics") != nil {
		t.Error("the metrics service is still there")
	}

	// What the agent makes in the namespaces of pods, and a pod that uses it.
	f.put("/api/v1/namespaces/shop/configmaps/azure-wi-lanyard-trust", map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{
		"name": "azure-wi-lanyard-trust", "labels": map[string]any{managedByLabel: agentName, "app.kubernetes.io/component": "trust"}}})
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "web", "labels": map[string]any{"azure.workload.identity/use": "true"}},
		"spec": map[string]any{"volumes": []any{map[string]any{"name": "azure-workload-identity-reserved-0"}}}}
	f.put("/api/v1/namespaces/shop/pods/web", pod)
	job := maps.Clone(pod)
	job["metadata"] = map[string]any{"name": "job", "labels": map[string]any{"azure.workload.identity/use": "true"}}
	job["status"] = map[string]any{"phase": "Succeeded"}
	f.put("/api/v1/namespaces/shop/pods/job", job) // it needs no tokens any more
	r, err := c.Removal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Pods != 1 {
		t.Errorf("%d pods were set up", r.Pods)
	}
	if o := r.Objects(); o[0].Kind != "MutatingWebhookConfiguration" || o[len(o)-1].Kind != "Namespace" {
		t.Errorf("order of removal: %v", o)
	}
	f.requests = nil
	if err := c.Remove(t.Context(), r, func(Object) {}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"/api/v1/namespaces/shop/pods/job", "/api/v1/namespaces/shop/pods/web"}, f.paths()); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	if f.requests[0] != "DELETE "+configurationPath {
		t.Errorf("first request of the removal: %s", f.requests[0])
	}
	if r, err = c.Removal(t.Context()); err != nil || len(r.Objects()) > 0 {
		t.Errorf("a second removal: %v, %v", r.Objects(), err)
	}
}

// TestInstallGoesOn: an installation that failed half way is mended by another.
func TestInstallGoesOn(t *testing.T) {
	f := newFakeAPI(t)
	f.withControllers()
	c := f.connect(t)
	f.refuse = func(r *http.Request) (int, string) {
		if r.URL.Path == deploymentPath && r.Method == http.MethodPatch && r.URL.Query().Get("dryRun") == "" {
			return http.StatusInternalServerError, "etcd is out of space"
		}
		return 0, ""
	}
	i := prepare(t, nil)
	var done []string
	err := i.Apply(t.Context(), c, func(change Change) { done = append(done, change.Kind) })
	if err == nil || !strings.Contains(err.Error(), "etcd is out of space") || !strings.Contains(err.Error(), "azure-wi-webhook-controller-manager") {
		t.Fatalf("error %v", err)
	}
	if slices.Contains(done, "Deployment") || !slices.Contains(done, "Service") {
		t.Errorf("done: %v", done)
	}
	f.refuse = nil
	if a, err := c.Attachment(t.Context()); err != nil || a == nil {
		t.Errorf("what had begun is not known: %v, %v", a, err)
	}
	if err := i.Apply(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	if f.get(deploymentPath) == nil || f.get(configurationPath) == nil {
		t.Error("the second run did not go on")
	}
}

func TestInstallRefusesOthersObjects(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	f.put(configurationPath, map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
		"metadata": map[string]any{
			"name":        "azure-wi-webhook-mutating-webhook-configuration",
			"labels":      map[string]any{managedByLabel: "Helm"},
			"annotations": map[string]any{"meta.helm.sh/release-name": "azwi", "meta.helm.sh/release-namespace": "kube-system"},
		},
	})
	err := prepare(t, nil).Apply(t.Context(), c, nil)
	if err == nil || !strings.Contains(err.Error(), "helm uninstall azwi --namespace kube-system") {
		t.Errorf("error %v", err)
	}
	if len(f.requests) > 0 {
		t.Errorf("writes: %v", f.requests)
	}
	if r, err := c.Removal(t.Context()); err != nil || len(r.Objects()) > 0 {
		t.Errorf("a removal takes %v, %v", r.Objects(), err)
	}
}

func TestRemovalLeavesHelmsToHelm(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	f.put("/apis/apps/v1/namespaces/azwi/deployments/azure-wi-webhook-controller-manager", map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{
			"name": "azure-wi-webhook-controller-manager", "labels": map[string]any{nameLabel: agentName, managedByLabel: "Helm"},
			"annotations": map[string]any{"meta.helm.sh/release-name": "agent", "meta.helm.sh/release-namespace": "azwi"},
		},
	})
	if _, err := c.Removal(t.Context()); err == nil || !strings.Contains(err.Error(), "helm uninstall agent --namespace azwi") {
		t.Errorf("error %v", err)
	}
}

// TestNamespaceOfOthers: a namespace that attach did not make, or in which
// somebody else lives, is neither changed nor deleted.
func TestNamespaceOfOthers(t *testing.T) {
	f := newFakeAPI(t)
	f.withControllers()
	c := f.connect(t)
	f.put(namespacePath, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": DefaultNamespace}})
	if err := prepare(t, nil).Apply(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	r, err := c.Removal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), r, func(Object) {}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{namespacePath}, f.paths()); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}

	f.put(namespacePath, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
		"name": DefaultNamespace, "labels": map[string]any{nameLabel: agentName, managedByLabel: manager}}})
	f.put(namespacePath+"/configmaps/kube-root-ca.crt", map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "kube-root-ca.crt"}})
	f.put(namespacePath+"/pods/guest", map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "guest"}})
	if r, err = c.Removal(t.Context()); err != nil || len(r.Objects()) > 0 || !strings.Contains(r.Kept, "Pod guest") {
		t.Errorf("removal of an inhabited namespace: %v, kept %q, %v", r.Objects(), r.Kept, err)
	}
}

// TestSuits: the chart says from which version on.
func TestSuits(t *testing.T) {
	i := prepare(t, nil)
	for version, want := range map[string]string{
		"v1.30.0": "", "v1.30.4-gke.1005": "", "v1.36.3": "", "v1.31.0-rc.0+k3s1": "", "unknown": "",
		"v1.29.15": "the cluster's Kubernetes is v1.29.15, and the agent is made for >=1.30", "v1.9.0": "is v1.9.0",
	} {
		if err := i.Suits(version); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", version, err, want)
		}
	}
}

// TestReadySaysWhatPodsSay: the cause is named while it is waited, once, and when
// the wait has ended.
func TestReadySaysWhatPodsSay(t *testing.T) {
	f := newFakeAPI(t)
	c := f.connect(t)
	i := prepare(t, nil)
	if err := i.Apply(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	f.put(namespacePath+"/pods/webhook-1", map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": "webhook-1", "labels": map[string]any{
			nameLabel: agentName, instanceLabel: agentName, "app.kubernetes.io/component": "webhook"}},
		"status": map[string]any{"containerStatuses": []any{map[string]any{
			"state": map[string]any{"waiting": map[string]any{"reason": "ImagePullBackOff", "message": "no such image"}}}}},
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	var said []string
	err := i.Ready(ctx, c, func(text string) {
		if said = append(said, text); strings.Contains(text, "replicas") {
			cancel(errors.New("five minutes are over"))
		}
	})
	if err == nil {
		t.Fatal("ready")
	}
	if n := strings.Count(strings.Join(said, "\n"), "webhook-1: ImagePullBackOff: no such image"); n != 1 {
		t.Errorf("the trouble was told %d times: %q", n, said)
	}
	for _, want := range []string{"0 of 2 replicas are new", "five minutes are over", "webhook-1: ImagePullBackOff: no such image"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
}
