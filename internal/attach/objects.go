package attach

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Labels by which everything that attach made is found again: the chart's own,
// with lanyard as who manages.
const (
	nameLabel      = "app.kubernetes.io/name"
	instanceLabel  = "app.kubernetes.io/instance"
	managedByLabel = "app.kubernetes.io/managed-by"

	agentName = "lanyard-agent"
	manager   = "lanyard" // in managed-by, and of the fields that are applied
	ours      = nameLabel + "=" + agentName + "," + managedByLabel + "=" + manager

	// trust are the config maps by which the webhook brings the cloud's authority
	// to the namespaces of pods.
	trust = managedByLabel + "=" + agentName + ",app.kubernetes.io/component=trust"
)

// kind is a kind of object that attach makes.
type kind struct {
	schema.GroupVersionResource
	name       string
	namespaced bool
}

// kinds are all that any version of the chart has made, in the order in which
// they are made; they are looked for in the reverse when the agent is removed.
// It is Helm's order: what others refer to comes first, and the webhook's
// configuration last, so that nothing is sent to a server that is not there yet.
var kinds = []kind{
	{schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "Namespace", false},
	{schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}, "NetworkPolicy", true},
	{schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}, "PodDisruptionBudget", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "ServiceAccount", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "Secret", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "ConfigMap", true},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, "ClusterRole", false},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}, "ClusterRoleBinding", false},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, "Role", true},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}, "RoleBinding", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "services"}, "Service", true},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "Deployment", true},
	{schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "servicemonitors"}, "ServiceMonitor", true},
	{schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}, "MutatingWebhookConfiguration", false},
}

// rank is a kind's place in the order, -1 for one that is unknown.
func rank(name string) int {
	return slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
}

// kindNamed gives a known kind.
func kindNamed(name string) kind { return kinds[rank(name)] }

// Object names an object of the cluster.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

func nameOf(o *unstructured.Unstructured) Object {
	return Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// at gives the client of an object's kind and namespace.
func (c *Cluster) at(o Object) dynamic.ResourceInterface {
	k := kindNamed(o.Kind)
	if !k.namespaced {
		return c.dynamic.Resource(k.GroupVersionResource)
	}
	return c.dynamic.Resource(k.GroupVersionResource).Namespace(o.Namespace)
}

// live reads an object, nil where there is none, nor its kind.
func (c *Cluster) live(ctx context.Context, o Object) (*unstructured.Unstructured, error) {
	got, err := c.at(o).Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", o, c.explain(err))
	}
	return got, nil
}

// list is List for a kind, of which a cluster that does not know it has none.
func (c *Cluster) list(ctx context.Context, k kind, namespace, selector string) ([]unstructured.Unstructured, error) {
	all, err := c.List(ctx, k.GroupVersionResource, namespace, selector)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return all, err
}

// List reads the objects of a resource in a namespace, or in all where that is empty,
// by a label selector. A resource that the cluster does not know is an error that
// wraps [ErrNotFound].
func (c *Cluster) List(ctx context.Context, resource schema.GroupVersionResource, namespace, selector string) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	o := metav1.ListOptions{LabelSelector: selector, Limit: 500}
	for {
		page, err := c.dynamic.Resource(resource).Namespace(namespace).List(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", resource.GroupResource(), c.explain(err))
		}
		all = append(all, page.Items...)
		if o.Continue = page.GetContinue(); o.Continue == "" {
			return all, nil
		}
	}
}

// installed lists everything that attach made, in the order of kinds.
func (c *Cluster) installed(ctx context.Context) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, k := range kinds {
		some, err := c.list(ctx, k, metav1.NamespaceAll, ours)
		if err != nil {
			return nil, err
		}
		for i := range some {
			some[i].SetKind(k.name) // items of a list need not say it
		}
		all = append(all, some...)
	}
	return all, nil
}

// removeNamed deletes the object of that name, if there is one.
func (c *Cluster) removeNamed(ctx context.Context, name Object) error {
	o, err := c.live(ctx, name)
	if err != nil || o == nil {
		return err
	}
	return c.remove(ctx, o)
}

// remove deletes one object, that one and none that has its name since. A
// deployment is there until its pods are gone.
func (c *Cluster) remove(ctx context.Context, o *unstructured.Unstructured) error {
	uid := o.GetUID()
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	if o.GetKind() == "Deployment" {
		foreground := metav1.DeletePropagationForeground
		options.PropagationPolicy = &foreground
	}
	err := c.at(nameOf(o)).Delete(ctx, o.GetName(), options)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", nameOf(o), c.explain(err))
	}
	return nil
}
