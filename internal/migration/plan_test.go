package migration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestJudge has a case for each thing that may be in the way, or is to be known.
func TestJudge(t *testing.T) {
	orders := azureIdentity("orders", ordersClient, "web")
	account := func(name, client string) string {
		return "{kind: ServiceAccount, metadata: {name: " + name + ", annotations: {azure.workload.identity/client-id: \"" + client + "\"}}}"
	}
	pod := func(name, owner, spec string) string {
		if owner != "" {
			owner = ", ownerReferences: [" + owner + "]"
		}
		return "{kind: Pod, metadata: {name: " + name + ", labels: {aadpodidbinding: web}" + owner + "}, spec: {" + spec + "}}"
	}
	tests := []struct {
		name      string
		manifests []string
		options   Options
		state     State
		account   string
		problem   string // or, of one to move, a warning; it has no other
		clean     bool   // no warning is wanted
	}{
		{name: "its own service account", manifests: []string{orders, deployment("web", "web", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", clean: true},
		{name: "by the old name", manifests: []string{orders, deployment("web", "web", "serviceAccount: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", clean: true},
		{name: "the default one", manifests: []string{orders, deployment("web", "web", "")}, state: Move, account: "web", problem: "what Kubernetes's roles give to that"},
		{name: "a default one that has the identity", manifests: []string{orders, deployment("web", "web", ""), account("default", ordersClient)}, state: Move, account: "default", clean: true},
		{name: "a new one that is somebody's", manifests: []string{orders, deployment("web", "web", ""), "{kind: ServiceAccount, metadata: {name: web}}"}, state: Blocked, account: "web", problem: "there is one of that name, which is somebody's"},
		{name: "a new one that has the identity", manifests: []string{orders, deployment("web", "web", ""), account("web", strings.ToUpper(ordersClient))}, state: Move, account: "web", clean: true},
		{name: "no such service account", manifests: []string{orders, deployment("web", "web", "serviceAccountName: app")}, state: Blocked, account: "app", problem: "its service account app is not there"},
		{name: "one with another identity", manifests: []string{orders, deployment("web", "web", "serviceAccountName: app"), account("app", payClient)}, state: Blocked, account: "app", problem: "its service account app has the identity with the client ID " + payClient},
		{name: "no binding", manifests: []string{orders, deployment("web", "api", "")}, state: Blocked, problem: `no AzureIdentityBinding has the selector "api"; bindings of other namespaces count`},
		{name: "the case of a selector", manifests: []string{orders, deployment("web", "WEB", "")}, state: Blocked, problem: `AzureIdentityBinding shop/orders has "web", and the case counts`},
		{name: "a binding without its identity", manifests: []string{"{kind: AzureIdentityBinding, metadata: {name: b}, spec: {azureIdentity: gone, selector: web}}", deployment("web", "web", "")}, state: Blocked, problem: `AzureIdentityBinding shop/b names the AzureIdentity "gone", which is not in its namespace`},
		{name: "several identities", manifests: []string{orders, azureIdentity("pay", payClient, "web"), deployment("web", "web", "")}, state: Blocked, problem: "it has several identities, shop/orders, shop/pay, and a service account names one"},
		{name: "several, and one is chosen", options: Options{DefaultIdentities: []string{"pay"}}, manifests: []string{orders, azureIdentity("pay", payClient, "web"), deployment("web", "web", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: "the programs in it get AzureIdentity shop/pay where they name none"},
		{name: "several are chosen", options: Options{DefaultIdentities: []string{"pay", "shop/orders"}}, manifests: []string{orders, azureIdentity("pay", payClient, "web"), deployment("web", "web", "")}, state: Blocked, problem: "--default-identity names several of its identities, shop/orders and shop/pay"},
		{name: "one identity by two names", manifests: []string{orders, azureIdentity("same", ordersClient, "web"), deployment("web", "web", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", clean: true},
		{name: "no client ID", manifests: []string{azureIdentity("orders", "", "web"), deployment("web", "web", "")}, state: Blocked, problem: `has the clientID "", which is no GUID`},
		{name: "no resource ID", manifests: []string{azureIdentity("orders", ordersClient, "web", "type: 0"), deployment("web", "web", "")}, state: Blocked, problem: `is ignored: its resourceID "" is not`},
		{name: "a service principal", manifests: []string{azureIdentity("orders", ordersClient, "web", "type: 1", "tenantID: t"), deployment("web", "web", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", clean: true},
		{name: "one with auxiliary tenants", manifests: []string{azureIdentity("orders", ordersClient, "web", "type: 1", "auxiliaryTenantIDs: [t]"), deployment("web", "web", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: "has auxiliary tenants"},
		{name: "an unknown type", manifests: []string{azureIdentity("orders", ordersClient, "web", "type: 3"), deployment("web", "web", "")}, state: Blocked, problem: "has the type 3"},
		{name: "an exception", manifests: []string{orders, deployment("web", "web", ""), "{kind: AzurePodIdentityException, metadata: {name: e}, spec: {podLabels: {aadpodidbinding: web}}}"}, state: Excepted},
		{name: "an exception for pods without the label", manifests: []string{"{kind: Pod, metadata: {name: p, labels: {app: csi}}}", "{kind: AzurePodIdentityException, metadata: {name: e}, spec: {podLabels: {app: csi}}}"}, state: Excepted},
		{name: "the node's network", manifests: []string{orders, deployment("web", "web", "hostNetwork: true")}, state: Blocked, problem: "hostNetwork"},
		{name: "Windows", manifests: []string{orders, deployment("web", "web", "os: {name: windows}")}, state: Blocked, problem: "Windows"},
		{name: "Windows by its nodes", manifests: []string{orders, deployment("web", "web", "nodeSelector: {kubernetes.io/os: windows}")}, state: Blocked, problem: "Windows"},
		{name: "an owner of an unknown kind", manifests: []string{orders, pod("web-1", "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web, uid: x, controller: true}", "")}, state: Blocked, problem: "made by Rollout web (argoproj.io/v1alpha1), which this command does not know"},
		{name: "a static pod", manifests: []string{orders, pod("web-node1", "{apiVersion: v1, kind: Node, name: node1, uid: x, controller: true}", "")}, state: Blocked, problem: "made by Node node1 (v1)"},
		{name: "an owner that does not control", manifests: []string{orders, pod("web", "{apiVersion: v1, kind: Node, name: node1, uid: x}", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: "deleted and made anew"},
		{name: "the label is on a pod alone", manifests: []string{orders, "{kind: StatefulSet, metadata: {name: web, uid: set}, spec: {template: {spec: {serviceAccountName: app}}}}", pod("web-0", "{kind: StatefulSet, name: web, uid: set, controller: true}", ""), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: "is on its pods and not in its template"},
		{name: "a pod has another label", manifests: []string{orders, deployment("web", "web2", "serviceAccountName: app"), azureIdentity("pay", payClient, "web2"), pod("web-1", "{kind: Deployment, name: web, uid: web, controller: true}", ""), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: `pod web-1 has the label aadpodidbinding: "web", and the template "web2"`},
		{name: "being deleted", manifests: []string{orders, strings.Replace(deployment("web", "web", ""), "uid: web", "uid: web, deletionTimestamp: '2026-01-01T00:00:00Z'", 1)}, state: Blocked, problem: "it is being deleted"},
		{name: "a pod that has ended", manifests: []string{orders, strings.Replace(pod("web", "", ""), "spec:", "status: {phase: Failed}, spec:", 1)}, state: Blocked, problem: "it has run to its end"},
		{name: "Helm", manifests: []string{orders, strings.Replace(deployment("web", "web", "serviceAccountName: app"), "uid: web", "uid: web, labels: {app.kubernetes.io/managed-by: Helm}", 1), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: "Helm has made it"},
		{name: "OnDelete", manifests: []string{orders, "{kind: DaemonSet, metadata: {name: web}, spec: {updateStrategy: {type: OnDelete}, template: {metadata: {labels: {aadpodidbinding: web}}, spec: {serviceAccountName: app}}}}", "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: "OnDelete"},
		{name: "a pod security standard", manifests: []string{orders, "{kind: Namespace, metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop, pod-security.kubernetes.io/enforce: restricted}}}", deployment("web", "web", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", problem: "enforces the pod security standard restricted, which refuses the capability NET_ADMIN"},
		{name: "one that allows it", manifests: []string{orders, "{kind: Namespace, metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop, pod-security.kubernetes.io/enforce: privileged}}}", deployment("web", "web", "serviceAccountName: app"), "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", clean: true},
		{name: "moved", manifests: []string{orders, "{kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {aadpodidbinding: web, azure.workload.identity/use: 'true'}}, spec: {serviceAccountName: app}}}}", account("app", ordersClient)}, state: Moved, account: "app", clean: true},
		{name: "half moved", manifests: []string{orders, "{kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {aadpodidbinding: web, azure.workload.identity/use: 'true'}}, spec: {serviceAccountName: app}}}}", "{kind: ServiceAccount, metadata: {name: app}}"}, state: Move, account: "app", clean: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Namespaced = true
			w := newCluster(t, tt.manifests...).one(t, tt.options)
			if w.State != tt.state || w.ServiceAccount != tt.account {
				t.Errorf("%s with the service account %q; want %s with %q. Problems: %q", w.State, w.ServiceAccount, tt.state, tt.account, w.Problems)
			}
			said := w.Problems
			if tt.state != Blocked {
				if len(said) > 0 {
					t.Errorf("problems: %q", said)
				}
				said = w.Warnings
			}
			if !contains(said, tt.problem) {
				t.Errorf("it says %q; want %q", said, tt.problem)
			}
			if tt.clean && len(w.Warnings) > 0 {
				t.Errorf("warnings: %q", w.Warnings)
			}
			if (w.Manifests != nil) != (tt.state == Move) {
				t.Errorf("manifests of one that is %s: %+v", w.State, w.Manifests)
			}
			if w.Reason == "" {
				t.Error("no reason is given")
			}
		})
	}
}

// TestOwners: pods are their topmost owner's, each pod is told of, and what makes pods
// but has none now is found too.
func TestOwners(t *testing.T) {
	f := newCluster(t, azureIdentity("orders", ordersClient, "web"),
		deployment("web", "web", ""),
		"{kind: ReplicaSet, metadata: {name: web-5, uid: rs, ownerReferences: [{kind: Deployment, name: web, uid: web, controller: true}]}, spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}",
		"{kind: Pod, metadata: {name: web-5-b, labels: {aadpodidbinding: web}, ownerReferences: [{kind: ReplicaSet, name: web-5, uid: rs, controller: true}]}}",
		"{kind: Pod, metadata: {name: web-5-a, labels: {aadpodidbinding: web}, ownerReferences: [{kind: ReplicaSet, name: web-5, uid: rs, controller: true}]}}",
		"{kind: Pod, metadata: {name: alone, labels: {aadpodidbinding: web}}, spec: {}}",
		"{kind: Pod, metadata: {name: other, labels: {app: web}}, spec: {}}",
		"{kind: CronJob, metadata: {name: nightly}, spec: {jobTemplate: {spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}}}",
		"{kind: Job, metadata: {name: ended}, status: {conditions: [{type: Complete, status: 'True'}]}, spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}",
		"{kind: Job, metadata: {name: running, uid: running}, status: {conditions: [{type: Suspended, status: 'True'}]}, spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}",
		"{kind: ReplicaSet, metadata: {name: one, uid: one, ownerReferences: [{kind: ReplicaSet, name: two, uid: two, controller: true}]}, spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}",
		"{kind: ReplicaSet, metadata: {name: two, uid: two, ownerReferences: [{kind: ReplicaSet, name: one, uid: one, controller: true}]}, spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}",
		"{kind: Pod, metadata: {name: circle, labels: {aadpodidbinding: web}, ownerReferences: [{kind: ReplicaSet, name: one, uid: one, controller: true}]}}",
	)
	var got []string
	for _, w := range f.plan(t, Options{Namespaced: true}).Workloads {
		line := w.Kind + " " + w.Name + ":"
		for _, p := range w.Pods {
			line += " " + p.Name
			if !strings.Contains(p.Reason, "AzureIdentity shop/orders by AzureIdentityBinding shop/orders") {
				t.Errorf("pod %s: %q", p.Name, p.Reason)
			}
		}
		got = append(got, line)
	}
	want := []string{"Pod alone: alone", "CronJob nightly:", "Job running:", "ReplicaSet two: circle", "Deployment web: web-5-a web-5-b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workloads with their pods (-want +got):\n%s", diff)
	}
}

// TestPodsDisagree: nothing is guessed of a workload whose pods have several labels.
func TestPodsDisagree(t *testing.T) {
	owner := "ownerReferences: [{kind: StatefulSet, name: web, uid: set, controller: true}]"
	w := newCluster(t, azureIdentity("orders", ordersClient, "web"), azureIdentity("pay", payClient, "pay"),
		"{kind: StatefulSet, metadata: {name: web, uid: set}, spec: {template: {spec: {}}}}",
		"{kind: Pod, metadata: {name: web-0, labels: {aadpodidbinding: web}, "+owner+"}}",
		"{kind: Pod, metadata: {name: web-1, labels: {aadpodidbinding: pay}, "+owner+"}}",
	).one(t, Options{Namespaced: true})
	if w.State != Blocked || !contains(w.Problems, "its pods have different labels") {
		t.Errorf("%+v", w)
	}
}

// TestSharedServiceAccount: a service account names one identity, so workloads with
// different ones do not get it together, whoever was there first; with the same they do.
func TestSharedServiceAccount(t *testing.T) {
	orders, pay := azureIdentity("orders", ordersClient, "web"), azureIdentity("pay", payClient, "pay")
	app := "{kind: ServiceAccount, metadata: {name: app}}"
	state := func(manifests ...string) string {
		var all []string
		for _, w := range newCluster(t, manifests...).plan(t, Options{Namespaced: true}).Workloads {
			all = append(all, w.Name+" "+string(w.State))
			if w.State == Blocked && !contains(w.Problems, "would be that of workloads with different identities") {
				t.Errorf("%s: %q", w.Name, w.Problems)
			}
		}
		return strings.Join(all, ", ")
	}
	for _, tt := range []struct{ name, got, want string }{
		{"different", state(orders, pay, app, deployment("a", "web", "serviceAccountName: app"), deployment("b", "pay", "serviceAccountName: app")), "a blocked, b blocked"},
		{"the same", state(orders, app, deployment("a", "web", "serviceAccountName: app"), deployment("b", "web", "serviceAccountName: app")), "a move, b move"},
		{"default, each its own", state(orders, pay, deployment("a", "web", ""), deployment("b", "pay", "")), "a move, b move"},
		{"default, of one name", state(orders, pay, deployment("a", "web", ""), "{kind: StatefulSet, metadata: {name: a}, spec: {template: {metadata: {labels: {aadpodidbinding: pay}}, spec: {}}}}"), "a blocked, a blocked"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, tt.got, tt.want)
		}
	}
}

// TestOtherNamespaces: bindings of other namespaces count, and are read, only where
// pod identity runs so.
func TestOtherNamespaces(t *testing.T) {
	far := strings.ReplaceAll(azureIdentity("orders", ordersClient, "web"), "metadata: {name", "metadata: {namespace: other, name")
	f := newCluster(t, far, deployment("web", "web", ""))
	if w := f.one(t, Options{Namespaced: true}); w.State != Blocked || !contains(w.Problems, "--force-namespaced=false") {
		t.Errorf("namespaced: %s, %q", w.State, w.Problems)
	}
	w := f.one(t, Options{Partial: true})
	if w.State != Move || w.Identities[0].Namespace != "other" || w.Manifests.ServiceAccount.GetNamespace() != "shop" {
		t.Errorf("not namespaced: %s, %+v", w.State, w)
	}
}

func TestUnused(t *testing.T) {
	f := newCluster(t, azureIdentity("orders", ordersClient, "web"), azureIdentity("idle", payClient, "idle"), azureIdentity("none", payClient, `""`),
		"{kind: AzureIdentity, metadata: {name: lonely}}", deployment("web", "web", ""))
	p := f.plan(t, Options{Namespaced: true})
	want := Plan{
		UnusedBindings: []Unused{{"shop", "idle", "no pod has the label aadpodidbinding: idle"}, {"shop", "none", "it has no selector"}},
		UnusedIdentities: []Unused{
			{"shop", "idle", "no pod has it by AzureIdentityBinding idle"}, {"shop", "lonely", "no AzureIdentityBinding names it"}, {"shop", "none", "no pod has it by AzureIdentityBinding none"},
		},
	}
	if diff := cmp.Diff(want, p, cmpopts.IgnoreFields(Plan{}, "Workloads")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p := f.plan(t, Options{Partial: true}); len(p.UnusedBindings)+len(p.UnusedIdentities) > 0 {
		t.Errorf("what other namespaces may use is called unused: %+v", p)
	}
}
