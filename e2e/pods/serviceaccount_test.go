package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestServiceAccountCommand: "lanyard serviceaccount create" gives a service
// account that there is an identity, an application or a managed one, as which its
// pods read the secret; "delete" leaves nothing of it.
func TestServiceAccountCommand(t *testing.T) {
	for _, tt := range []struct {
		name     string
		identity func(s site) []string
	}{
		{"Application", func(site) []string { return nil }},
		{"ManagedIdentity", func(s site) []string { return []string{"--managed-identity", "web", "--resource-group", s.group} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := world.Get(t)
			n := k.Namespace(t, nil)
			s := newSite(t)
			n.Apply(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, labels: {team: a}, annotations: {example.com/mine: "yes"}}
imagePullSecrets: [{name: pull}]
`)
			vault, err := url.Parse(s.vault)
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(vault.Host, ".")
			command := func(verb string, more ...string) (steps map[string]string, all string) {
				t.Helper()
				args := append([]string{"serviceaccount", verb, "-o", "json", "--kubeconfig", k.Kubeconfig,
					"--service-account-namespace", n.Name, "--service-account-name", "web"}, more...)
				out, err := world.Lanyard(t.Context(), append(args, tt.identity(s)...)...)
				if err != nil {
					t.Fatal(err)
				}
				var said struct {
					ClientID, PrincipalID string
					Steps                 []struct{ Phase, Outcome string }
				}
				if err := json.Unmarshal([]byte(out), &said); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				steps = map[string]string{"clientId": said.ClientID, "principalId": said.PrincipalID}
				for _, step := range said.Steps {
					all += step.Phase + " " + step.Outcome + "\n"
				}
				return steps, all
			}
			role := []string{"--azure-role", "Key Vault Secrets User", "--azure-scope", fmt.Sprintf(
				"/subscriptions/%s/resourceGroups/%s/providers/Microsoft.KeyVault/vaults/%s/secrets/greeting", world.azure.subscription, s.group, name)}

			const created = "aad-application created\nservice-account changed\nfederated-identity created\nrole-assignment created\n"
			made, steps := command("create", role...)
			if steps != created {
				t.Errorf("the first time:\n%swant\n%s", steps, created)
			}
			if _, steps := command("create", role...); strings.Count(steps, " exists\n") != 4 {
				t.Errorf("the second time:\n%s", steps)
			}
			accounts := k.Client().CoreV1().ServiceAccounts(n.Name)
			account, err := accounts.Get(t.Context(), "web", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if account.Annotations["azure.workload.identity/client-id"] != made["clientId"] || account.Annotations["example.com/mine"] != "yes" ||
				account.Labels["team"] != "a" || len(account.ImagePullSecrets) != 1 {
				t.Errorf("the service account: %+v", account)
			}
			n.Apply(pod("may", podSpec{account: "web", containers: []string{s.reader("main", "greeting", "workload")}}) + "---" +
				pod("may-not", podSpec{account: "web", containers: []string{s.reader("main", "forbidden", "workload")}}))
			wantOutput(t, n, "may", "main", s.greeting())
			wantRefusal(t, n, "may-not", "main", "403", "ForbiddenByRbac")

			const deleted = "role-assignment deleted\nfederated-identity deleted\nservice-account deleted\naad-application deleted\n"
			if _, steps := command("delete"); steps != deleted {
				t.Errorf("deleted:\n%swant\n%s", steps, deleted)
			}
			if _, steps := command("delete"); strings.Count(steps, " absent\n") != 4 {
				t.Errorf("deleted again:\n%s", steps)
			}
			if _, err := accounts.Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("the service account after delete: %v", err)
			}
			if left := assignmentsOf(t, made["principalId"]); len(left) > 0 {
				t.Errorf("role assignments after delete: %v", left)
			}
		})
	}
}

// assignmentsOf lists a principal's role assignments.
func assignmentsOf(t testing.TB, principal string) (ids []string) {
	t.Helper()
	a := world.azure
	pager := must(armauthorization.NewRoleAssignmentsClient(a.subscription, a.credential, a.options)).
		NewListForSubscriptionPager(&armauthorization.RoleAssignmentsClientListForSubscriptionOptions{Filter: to.Ptr("principalId eq '" + principal + "'")})
	for pager.More() {
		page, err := pager.NextPage(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Value {
			ids = append(ids, *one.ID)
		}
	}
	return ids
}

// TestIssuerCheckOfAttachedCluster: an issuer that the cloud assigned is checked
// with its cluster: every key that the API server has is published, and a token
// that it gives now verifies.
func TestIssuerCheckOfAttachedCluster(t *testing.T) {
	k := world.Get(t)
	n := k.Namespace(t, nil)
	n.Apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: web}}")
	n.Eventually("the issuer to be as the API server has it", func(ctx context.Context) (bool, string) {
		out, err := world.Lanyard(ctx, "issuer", "check", "--kubeconfig", k.Kubeconfig, "--service-account", n.Name+"/web", "-o", "json")
		if err != nil {
			return false, err.Error()
		}
		var said struct {
			Issuer   string
			Findings []struct{ Check, Severity, Message string }
		}
		if err := json.Unmarshal([]byte(out), &said); err != nil {
			return false, err.Error()
		}
		for _, f := range said.Findings {
			if f.Severity != "ok" {
				return false, f.Check + ": " + f.Message
			}
		}
		return said.Issuer == world.issuer && strings.Contains(out, "a new token of the cluster verifies"), out
	})
}
