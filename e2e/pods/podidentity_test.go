package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// TestPodIdentityDetect: a Deployment that has an identity by AAD pod identity is
// moved to workload identity by "lanyard podidentity detect" and the commands that it
// names alone. Its program, which asks the machine's metadata service as before, reads
// the secret.
func TestPodIdentityDetect(t *testing.T) {
	k := world.Get(t)
	n := k.Namespace(t, nil) // the redirect takes a capability that the restricted standard refuses
	s := newSite(t)
	installPodIdentity(t, k)
	n.Apply(fmt.Sprintf(`
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentity
metadata: {name: orders}
spec: {type: 0, resourceID: %s, clientID: %s}
---
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentityBinding
metadata: {name: orders}
spec: {azureIdentity: orders, selector: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {team: a}}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, aadpodidbinding: web}}
    spec:
      terminationGracePeriodSeconds: 5
      initContainers: [%s]
      containers: [%s]
`, *s.identity.ID, *s.identity.Properties.ClientID, imdsReader(s, "early", "greeting"), container("main", steadyImage, s.vault, "greeting")))
	n.Eventually("the Deployment's pod", func(ctx context.Context) (bool, string) {
		names, err := podNames(ctx, n, "aadpodidbinding=web")
		return err == nil && len(names) == 1, fmt.Sprint(names, err)
	})

	dir := t.TempDir()
	w := detect(t, k, n, "--output-dir", dir)
	if w.State != "move" || w.ServiceAccount != "web" || len(w.Pods) != 1 || !strings.Contains(w.Reason, "AzureIdentity "+n.Name+"/orders by AzureIdentityBinding "+n.Name+"/orders") {
		t.Fatalf("detected: %+v", w)
	}
	if len(w.Commands) != 3 {
		t.Fatalf("the commands are %q", w.Commands)
	}
	for _, command := range w.Commands {
		words := strings.Fields(command)
		run := k.Kubectl
		if words[0] == "lanyard" {
			run = world.Lanyard
		}
		if out, err := run(t.Context(), words[1:]...); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}

	var moved []string
	n.Eventually("the pod that was moved", func(ctx context.Context) (_ bool, seen string) {
		var err error
		moved, err = podNames(ctx, n, "azure.workload.identity/use=true")
		return err == nil && len(moved) == 1, fmt.Sprint(moved, err)
	})
	pod := n.WaitReady(moved[0])
	if got := strings.TrimSpace(n.Logs(pod.Name, "early")); !strings.HasSuffix(got, s.greeting()) {
		t.Errorf("by the metadata service: %q; want %q", got, s.greeting())
	}
	waitReads(t, n, pod.Name, "main", 1)
	web, err := k.Client().AppsV1().Deployments(n.Name).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if web.Labels["team"] != "a" || web.Spec.Template.Labels["aadpodidbinding"] != "web" || web.Spec.Template.Spec.ServiceAccountName != "web" {
		t.Errorf("the Deployment after it: %+v", web)
	}
	if w := detect(t, k, n); w.State != "moved" || len(w.Commands) > 0 {
		t.Errorf("detected again: %+v", w)
	}
}

// installPodIdentity has the cluster know pod identity's resources, without anything
// that acts on them.
func installPodIdentity(t *testing.T, k *kubetest.Cluster) {
	t.Helper()
	files, err := filepath.Glob("../../apis/aadpodidentity/crds/*.yaml")
	if err != nil || len(files) != 4 {
		t.Fatalf("the definitions are %q, %v", files, err)
	}
	for i, file := range files {
		if files[i], err = filepath.Abs(file); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--filename=" + strings.Join(files, ",")}
	t.Cleanup(func() {
		if out, err := k.Kubectl(context.Background(), append([]string{"delete", "--ignore-not-found"}, args...)...); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	for _, verb := range [][]string{{"apply", "--server-side"}, {"wait", "--for=condition=Established", "--timeout=30s"}} {
		if out, err := k.Kubectl(t.Context(), append(verb, args...)...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// detected is what the command says of a workload.
type detected struct {
	Kind, Name, State, Reason, ServiceAccount string
	Pods                                      []struct{ Name string }
	Problems, Warnings, Commands              []string
}

// detect runs the command on a namespace with one workload.
func detect(t *testing.T, k *kubetest.Cluster, n *kubetest.Namespace, flags ...string) detected {
	t.Helper()
	args := append([]string{"podidentity", "detect", "--namespace", n.Name, "--kubeconfig", k.Kubeconfig, "-o", "json"}, flags...)
	out, err := world.Lanyard(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ Workloads []detected }
	if err := json.Unmarshal([]byte(out), &said); err != nil || len(said.Workloads) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return said.Workloads[0]
}

// podNames lists the pods of a label that are not being deleted.
func podNames(ctx context.Context, n *kubetest.Namespace, selector string) ([]string, error) {
	pods, err := n.Cluster.Client().CoreV1().Pods(n.Name).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil {
			names = append(names, p.Name)
		}
	}
	return names, nil
}
