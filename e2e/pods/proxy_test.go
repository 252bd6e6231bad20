package pods

import (
	"context"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const injectProxy = `azure.workload.identity/inject-proxy-sidecar: "true"`

// TestProxy: a program whose SDK asks the machine's metadata service alone is the
// identity, whether it names it or not, from its init containers on, and its Job
// finishes although the proxy is there.
func TestProxy(t *testing.T) {
	c := world.Get(t)
	n := c.Namespace(t, nil) // the redirect takes a capability that the restricted standard refuses
	s := newSite(t)
	s.trust(t, "app", n.Name, "app")
	n.Apply(s.account("app") + fmt.Sprintf(`
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {azure.workload.identity/use: "true"}, annotations: {%s}}
    spec: %s
`, injectProxy, podSpec{account: "app",
		init:       []string{imdsReader(s, "early", "greeting")},
		containers: []string{imdsReader(s, "main", "greeting"), imdsReader(s, "nameless", "greeting", "AZURE_CLIENT_ID")},
	}))
	var job *batchv1.Job
	n.Eventually("the Job to end", func(ctx context.Context) (bool, string) {
		var err error
		if job, err = c.Client().BatchV1().Jobs(n.Name).Get(ctx, "once", metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		return job.Status.Succeeded+job.Status.Failed > 0, fmt.Sprintf("%+v", job.Status)
	})
	pods, err := c.Client().CoreV1().Pods(n.Name).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=once"})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("the Job's pods: %v %v", pods, err)
	}
	for _, container := range []string{"early", "main", "nameless"} {
		wantOutput(t, n, pods.Items[0].Name, container, s.greeting())
	}
}

// imdsReader reads a secret by ManagedIdentityCredential, with the variables away
// by which that credential would exchange the service account's token itself, and
// others that are not to be there.
func imdsReader(s site, name, secret string, without ...string) string {
	var env []string
	for _, variable := range append(without, "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID") {
		env = append(env, fmt.Sprintf(`{name: %s, value: ""}`, variable))
	}
	c := container(name, readerImage, s.vault, secret, "managed")
	return c[:len(c)-1] + ", env: [" + strings.Join(env, ", ") + "]}"
}
