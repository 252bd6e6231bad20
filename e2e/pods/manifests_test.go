package pods

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// account is a service account that names the site's identity.
func (s *site) account(name string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: %s, annotations: {azure.workload.identity/client-id: %s}}
`, name, *s.identity.Properties.ClientID)
}

// restricted is what a container needs under the restricted pod security standard.
const restricted = `{allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}, readOnlyRootFilesystem: true}`

// container is one line of a list of containers.
func container(name, image string, args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	return fmt.Sprintf("{name: %s, image: %s, imagePullPolicy: Never, args: [%s], securityContext: %s}", name, image, strings.Join(quoted, ", "), restricted)
}

// reader reads a secret of the site, once.
func (s *site) reader(name, secret, credential string) string {
	return container(name, readerImage, s.vault, secret, credential)
}

// podSpec is a pod's spec, with what the restricted standard wants of it.
type podSpec struct {
	account    string
	init       []string
	containers []string
	restart    string // Never by default
}

func (p podSpec) String() string {
	if p.restart == "" {
		p.restart = "Never"
	}
	return fmt.Sprintf("{serviceAccountName: %s, restartPolicy: %s, terminationGracePeriodSeconds: 5, initContainers: [%s], containers: [%s]}",
		p.account, p.restart, strings.Join(p.init, ", "), strings.Join(p.containers, ", "))
}

// pod is one that asks for the webhook; annotations are "key: value" pairs.
func pod(name string, spec podSpec, annotations ...string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {azure.workload.identity/use: "true"}, annotations: {%s}}
spec: %s
`, name, strings.Join(annotations, ", "), spec)
}

// newApp is a namespace under the restricted standard with a service account
// "app" that the site's identity trusts.
func newApp(t testing.TB) (*kubetest.Namespace, site) {
	t.Helper()
	c := world.Get(t)
	n := c.Namespace(t, kubetest.Restricted())
	s := newSite(t)
	s.trust(t, "app", n.Name, "app")
	n.Apply(s.account("app"))
	return n, s
}

// wantOutput waits until a pod has ended, and compares the last line of what a
// container said: SDKs warn before of credentials that they pass over.
func wantOutput(t testing.TB, n *kubetest.Namespace, name, container, want string) {
	t.Helper()
	ended := n.WaitEnd(name)
	said := strings.TrimSpace(n.Logs(name, container))
	if got := said[strings.LastIndexByte(said, '\n')+1:]; got != want {
		t.Errorf("pod %s, %s, container %s: %q, want %q", name, ended.Status.Phase, container, said, want)
	}
}

// wantRefusal waits until a pod has failed, and wants a text in what it said.
func wantRefusal(t testing.TB, n *kubetest.Namespace, name, container string, want ...string) {
	t.Helper()
	ended := n.WaitEnd(name)
	said := n.Logs(name, container)
	if ended.Status.Phase != "Failed" {
		t.Errorf("pod %s is %s; want it refused. It said %s", name, ended.Status.Phase, said)
	}
	for _, text := range want {
		if !strings.Contains(said, text) {
			t.Errorf("pod %s was refused without %q:\n%s", name, text, said)
		}
	}
}
