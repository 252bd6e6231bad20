package pods

import (
	"context"
	"fmt"
	"testing"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
)

// TestIdentityBinding: two service accounts are one identity by one federated
// credential, that of the cluster's token proxy, because a role of the cluster says
// that they may; one without the role is refused, and told which rule is missing.
func TestIdentityBinding(t *testing.T) {
	n := world.Get(t).Namespace(t, nil)
	s := newSite(t)
	s.trust(t, "binding", cloudhost.Namespace, "lanyard-token-proxy")
	role := "bound-" + n.Name
	n.Apply(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[1]s}
rules: [{apiGroups: [cid.wi.aks.azure.com], resources: [%[2]s], verbs: [use-managed-identity]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}
subjects: [{kind: ServiceAccount, name: first, namespace: %[3]s}, {kind: ServiceAccount, name: second, namespace: %[3]s}]
`, role, *s.identity.Properties.ClientID, n.Name))
	t.Cleanup(func() {
		for _, kind := range []string{"clusterrolebinding", "clusterrole"} {
			if _, err := n.Cluster.Kubectl(context.Background(), "delete", kind, role); err != nil {
				t.Error(err)
			}
		}
	})
	for _, account := range []string{"first", "second", "third"} {
		n.Apply(s.account(account))
		// The agent is ready before the token proxy has made its authority.
		n.Eventually("the webhook to know the token proxy's authority", func(ctx context.Context) (bool, string) {
			err := n.Cluster.Apply(ctx, n.Name, pod(account, podSpec{account: account,
				containers: []string{s.reader("main", "greeting", "binding")},
			}, `azure.workload.identity/use-identity-binding: "true"`))
			return err == nil, fmt.Sprint(err)
		})
	}
	// Nor need its SDK know of bindings: the proxy asks in its place.
	n.Apply(pod("by-proxy", podSpec{account: "first",
		containers: []string{imdsReader(s, "main", "greeting"), imdsReader(s, "nameless", "greeting", "AZURE_CLIENT_ID")},
	}, injectProxy, `azure.workload.identity/proxy-sidecar-port: "8080"`, `azure.workload.identity/use-identity-binding: "true"`))
	wantOutput(t, n, "by-proxy", "main", s.greeting())
	wantOutput(t, n, "by-proxy", "nameless", s.greeting())
	wantOutput(t, n, "first", "main", s.greeting())
	wantOutput(t, n, "second", "main", s.greeting())
	wantRefusal(t, n, "third", "main", "use-managed-identity", *s.identity.Properties.ClientID)
}
