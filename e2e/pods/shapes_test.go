package pods

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestInitContainersAndSidecars: whatever a pod is made of, each of its containers
// is the identity, before, beside and after the others.
func TestInitContainersAndSidecars(t *testing.T) {
	n, s := newApp(t)
	sidecar := fmt.Sprintf("{name: sidecar, image: %s, imagePullPolicy: Never, restartPolicy: Always, args: [%q, greeting], securityContext: %s}", steadyImage, s.vault, restricted)
	n.Apply(pod("many", podSpec{account: "app",
		init:       []string{s.reader("first", "greeting", "workload"), sidecar, s.reader("second", "greeting", "default")},
		containers: []string{s.reader("one", "greeting", "workload"), s.reader("two", "greeting", "default"), s.reader("left-alone", "greeting", "workload")},
	}, `azure.workload.identity/skip-containers: "left-alone; nobody"`))
	ended := n.WaitEnd("many")
	for _, c := range []string{"first", "second", "one", "two"} {
		wantOutput(t, n, "many", c, s.greeting())
	}
	if tally := lastTally(t, n, "many", "sidecar"); tally.Reads == 0 || tally.Failures > 0 {
		t.Errorf("the sidecar: %+v", tally)
	}
	// The one that was to be left alone is nobody, and has no token.
	for _, c := range ended.Spec.Containers {
		if c.Name == "left-alone" && (len(c.Env) > 0 || hasTokenMount(c)) {
			t.Errorf("the skipped container got %v %v", c.Env, c.VolumeMounts)
		}
	}
	if ended.Status.Phase != corev1.PodFailed {
		t.Errorf("the skipped container has read the secret: pod %s", ended.Status.Phase)
	}
}

func hasTokenMount(c corev1.Container) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == "/var/run/secrets/azure/wi" {
			return true
		}
	}
	return false
}

// TestJobsFinish: a Job whose pods are mutated completes, with the proxy sidecar too.
func TestJobsFinish(t *testing.T) {
	n, s := newApp(t)
	n.Apply(fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {azure.workload.identity/use: "true"}}
    spec: %s
`, podSpec{account: "app", containers: []string{s.reader("main", "greeting", "default")}}))
	n.Eventually("the Job to complete", func(ctx context.Context) (bool, string) {
		job, err := n.Cluster.Client().BatchV1().Jobs(n.Name).Get(ctx, "once", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		if job.Status.Failed > 0 {
			t.Fatalf("the Job has failed: %+v", job.Status)
		}
		return job.Status.Succeeded == 1, fmt.Sprintf("%+v", job.Status)
	})
}

// TestDeployment: pods that a controller makes, named while they are admitted, go
// on reading.
func TestDeployment(t *testing.T) {
	n, s := newApp(t)
	n.Apply(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, azure.workload.identity/use: "true"}}
    spec: %s
`, podSpec{account: "app", restart: "Always", containers: []string{container("main", steadyImage, s.vault, "greeting")}}))
	var names []string
	n.Eventually("two pods that read", func(ctx context.Context) (bool, string) {
		pods, err := n.Cluster.Client().CoreV1().Pods(n.Name).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return false, err.Error()
		}
		names = names[:0]
		for _, p := range pods.Items {
			if p.Status.Phase == corev1.PodRunning {
				names = append(names, p.Name)
			}
		}
		return len(names) == 2, fmt.Sprint(names)
	})
	for _, name := range names {
		waitReads(t, n, name, "main", 3)
	}
}
