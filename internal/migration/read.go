package migration

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
)

// Lister reads a cluster: the objects of a resource in a namespace, or in all where it
// is empty, by a label selector. The error about a resource that the cluster does not
// have satisfies apierrors.IsNotFound.
type Lister interface {
	List(ctx context.Context, resource schema.GroupVersionResource, namespace, selector string) ([]unstructured.Unstructured, error)
}

// Read reads what a plan rests on, of a namespace or, where it is empty, of all. With
// namespaced, bindings of other namespaces do not count and are not read. A cluster
// without the resources of pod identity is an error.
func Read(ctx context.Context, from Lister, namespace string, namespaced bool) (Cluster, error) {
	var c Cluster
	reach := namespace
	if !namespaced {
		reach = ""
	}
	var err error
	if c.Bindings, err = readObjects[v1.AzureIdentityBinding](ctx, from, v1.AzureIdentityBindingResource, reach); err == nil {
		c.Identities, err = readObjects[v1.AzureIdentity](ctx, from, v1.AzureIdentityResource, reach)
	}
	if apierrors.IsNotFound(err) {
		return c, fmt.Errorf("the cluster has no AAD pod identity: its custom resource definitions (%s.%s, ...) are not there: %w", v1.AzureIdentityResource, v1.Group, err)
	}
	if err != nil {
		return c, err
	}
	// Exceptions came later than the rest.
	c.Exceptions, err = readObjects[v1.AzurePodIdentityException](ctx, from, v1.AzurePodIdentityExceptionResource, namespace)
	if err != nil && !apierrors.IsNotFound(err) {
		return c, err
	}
	// An exception may be for pods without the label.
	selector := v1.BindingLabel
	if len(c.Exceptions) > 0 {
		selector = ""
	}
	// Whoever may not read namespaces is not told what they enforce.
	only := ""
	if namespace != "" {
		only = "kubernetes.io/metadata.name=" + namespace
	}
	c.Namespaces, err = readKind(ctx, from, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "Namespace", "", only)
	if err != nil && !apierrors.IsForbidden(err) {
		return c, err
	}
	if c.Pods, err = readKind(ctx, from, schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "Pod", namespace, selector); err != nil {
		return c, err
	}
	for _, k := range WorkloadKinds() {
		some, err := readKind(ctx, from, k.GroupVersionResource, k.Kind, namespace, "")
		if err != nil {
			return c, err
		}
		c.Workloads = append(c.Workloads, some...)
	}
	c.ServiceAccounts, err = readKind(ctx, from, schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "ServiceAccount", namespace, "")
	if err == nil && namespace != "" && len(c.ServiceAccounts) == 0 { // each has one called default
		err = fmt.Errorf("there is no namespace %q in the cluster", namespace)
	}
	return c, err
}

// readKind reads objects, and has each say its kind, which items of a list need not.
func readKind(ctx context.Context, from Lister, resource schema.GroupVersionResource, kind, namespace, selector string) ([]unstructured.Unstructured, error) {
	all, err := from.List(ctx, resource, namespace, selector)
	for i := range all {
		all[i].SetGroupVersionKind(resource.GroupVersion().WithKind(kind))
	}
	return all, err
}

// readObjects reads objects of pod identity.
func readObjects[T any](ctx context.Context, from Lister, resource, namespace string) ([]T, error) {
	found, err := from.List(ctx, v1.Resource(resource), namespace, "")
	if err != nil {
		return nil, err
	}
	all := make([]T, len(found))
	for i := range found {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found[i].Object, &all[i]); err != nil {
			return nil, fmt.Errorf("reading %s %s/%s: %w", resource, found[i].GetNamespace(), found[i].GetName(), err)
		}
	}
	return all, nil
}
