package migration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
)

// fakeCluster is a cluster of manifests.
type fakeCluster struct {
	objects   map[string][]unstructured.Unstructured // by kind
	missing   []string                               // resources that it does not know
	forbidden string                                 // one that nobody may read
	asked     []string
}

// newCluster has the manifests, each of the namespace shop unless it says another, and
// the default service account of each namespace.
func newCluster(t *testing.T, manifests ...string) *fakeCluster {
	t.Helper()
	f := &fakeCluster{objects: map[string][]unstructured.Unstructured{}}
	all := strings.Split(strings.Join(manifests, "\n---\n"), "\n---\n")
	if !contains(all, "kind: ServiceAccount, metadata: {name: default") {
		all = append(all, "{kind: ServiceAccount, metadata: {name: default}}")
	}
	for i, text := range all {
		if strings.TrimSpace(text) == "" {
			continue
		}
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if o.GetNamespace() == "" && o.GetKind() != "Namespace" {
			o.SetNamespace("shop")
		}
		if o.GetUID() == "" {
			if err := unstructured.SetNestedField(o.Object, fmt.Sprint("uid-", i), "metadata", "uid"); err != nil {
				t.Fatal(err)
			}
		}
		f.objects[o.GetKind()] = append(f.objects[o.GetKind()], o)
	}
	return f
}

// List is Lister's. As API servers may, it leaves the kind out of a list's items.
func (f *fakeCluster) List(_ context.Context, resource schema.GroupVersionResource, namespace, selector string) ([]unstructured.Unstructured, error) {
	f.asked = append(f.asked, fmt.Sprintf("%s %q %q", resource.Resource, namespace, selector))
	kind := map[string]string{
		"pods": "Pod", "namespaces": "Namespace", "serviceaccounts": "ServiceAccount", v1.AzureIdentityResource: "AzureIdentity",
		v1.AzureIdentityBindingResource: "AzureIdentityBinding", v1.AzurePodIdentityExceptionResource: "AzurePodIdentityException",
	}[resource.Resource]
	for _, k := range WorkloadKinds() {
		if k.GroupVersionResource == resource {
			kind = k.Kind
		}
	}
	if f.forbidden == resource.Resource {
		return nil, fmt.Errorf("listing: %w", apierrors.NewForbidden(resource.GroupResource(), "", nil))
	}
	for _, name := range f.missing {
		if name == resource.Resource {
			return nil, fmt.Errorf("listing: %w", apierrors.NewNotFound(resource.GroupResource(), ""))
		}
	}
	matches, err := labels.Parse(selector)
	if err != nil {
		return nil, err
	}
	var found []unstructured.Unstructured
	for _, o := range f.objects[kind] {
		if (namespace == "" || o.GetNamespace() == namespace) && matches.Matches(labels.Set(o.GetLabels())) {
			o := *o.DeepCopy()
			delete(o.Object, "kind")
			delete(o.Object, "apiVersion")
			found = append(found, o)
		}
	}
	return found, nil
}

// plan reads the namespace shop and plans.
func (f *fakeCluster) plan(t *testing.T, o Options) Plan {
	t.Helper()
	c, err := Read(t.Context(), f, "shop", o.Namespaced)
	if err != nil {
		t.Fatal(err)
	}
	return New(c, o)
}

// one plans, and gives the one workload that there is.
func (f *fakeCluster) one(t *testing.T, o Options) Workload {
	t.Helper()
	p := f.plan(t, o)
	if len(p.Workloads) != 1 {
		t.Fatalf("%d workloads: %+v", len(p.Workloads), p.Workloads)
	}
	return p.Workloads[0]
}

const (
	ordersClient = "00000000-0000-0000-0000-00000000000a"
	payClient    = "00000000-0000-0000-0000-00000000000b"
	ordersID     = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders"
)

// azureIdentity is an AzureIdentity with its binding, which is called as it is.
func azureIdentity(name, client, selector string, more ...string) string {
	spec := fmt.Sprintf("clientID: %q, resourceID: %q", client, ordersID)
	if len(more) > 0 {
		spec = strings.Join(append(more, fmt.Sprintf("clientID: %q", client)), ", ")
	}
	return fmt.Sprintf(`
{kind: AzureIdentity, metadata: {name: %[1]s}, spec: {%[2]s}}
---
{kind: AzureIdentityBinding, metadata: {name: %[1]s}, spec: {azureIdentity: %[1]s, selector: %[3]s}}`, name, spec, selector)
}

// deployment has a template with the label; spec is more of the pods'.
func deployment(name, selector, spec string) string {
	return fmt.Sprintf("{kind: Deployment, metadata: {name: %[1]s, uid: %[1]s}, spec: {template: {metadata: {labels: {aadpodidbinding: %[2]s}}, spec: {%[3]s}}}}", name, selector, spec)
}

func contains(all []string, text string) bool { return strings.Contains(strings.Join(all, "\n"), text) }
