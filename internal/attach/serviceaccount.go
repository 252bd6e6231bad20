package attach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

// ServiceAccount is as much of a service account as commands deal with.
type ServiceAccount struct {
	Namespace, Name     string
	Labels, Annotations map[string]string
	// UID tells a service account from another that had its name before.
	UID string
}

// Outcome is what became of something that was to be as described.
type Outcome string

// The outcomes.
const (
	Created   Outcome = "created"
	Changed   Outcome = "changed"
	Unchanged Outcome = "unchanged"
)

// ServiceAccount reads a service account. One that is not there is an error that
// wraps [ErrNotFound].
func (c *Cluster) ServiceAccount(ctx context.Context, namespace, name string) (ServiceAccount, error) {
	o, err := c.dynamic.Resource(serviceAccounts).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ServiceAccount{}, fmt.Errorf("reading service account %s/%s: %w", namespace, name, c.explain(err))
	}
	return serviceAccountOf(o), nil
}

// EnsureServiceAccount makes the service account with these labels and
// annotations, or gives them to the one that is there, which keeps every other
// label, annotation and field. It gives the service account as it then is.
func (c *Cluster) EnsureServiceAccount(ctx context.Context, want ServiceAccount) (ServiceAccount, Outcome, error) {
	for {
		have, err := c.ServiceAccount(ctx, want.Namespace, want.Name)
		if err == nil {
			return c.patchServiceAccount(ctx, have, want)
		}
		if !errors.Is(err, ErrNotFound) {
			return ServiceAccount{}, "", err
		}
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount"}}
		o.SetName(want.Name)
		o.SetLabels(want.Labels)
		o.SetAnnotations(want.Annotations)
		made, err := c.dynamic.Resource(serviceAccounts).Namespace(want.Namespace).Create(ctx, o, metav1.CreateOptions{})
		switch {
		case err == nil:
			return serviceAccountOf(made), Created, nil
		case apierrors.IsAlreadyExists(err):
			// Somebody was first: theirs is changed.
		case apierrors.IsNotFound(err):
			return ServiceAccount{}, "", fmt.Errorf("creating service account %s/%s: there is no namespace %s: %w", want.Namespace, want.Name, want.Namespace, c.explain(err))
		default:
			return ServiceAccount{}, "", fmt.Errorf("creating service account %s/%s: %w", want.Namespace, want.Name, c.explain(err))
		}
	}
}

// patchServiceAccount sends what is wanted and not there.
func (c *Cluster) patchServiceAccount(ctx context.Context, have, want ServiceAccount) (ServiceAccount, Outcome, error) {
	labels, annotations := missing(have.Labels, want.Labels), missing(have.Annotations, want.Annotations)
	if len(labels)+len(annotations) == 0 {
		return have, Unchanged, nil
	}
	after, err := c.UpdateServiceAccount(ctx, have, labels, annotations)
	return after, Changed, err
}

// missing gives those of want that have lacks or has otherwise.
func missing(have, want map[string]string) map[string]*string {
	m := map[string]*string{}
	for key, value := range want {
		if old, ok := have[key]; !ok || old != value {
			m[key] = &value
		}
	}
	return m
}

// UpdateServiceAccount sets labels and annotations, or removes those that are
// nil, and leaves everything else as it is. With a UID the API server refuses to
// change another that has the name since.
func (c *Cluster) UpdateServiceAccount(ctx context.Context, sa ServiceAccount, labels, annotations map[string]*string) (ServiceAccount, error) {
	meta := map[string]any{}
	if len(labels) > 0 {
		meta["labels"] = labels
	}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
	if sa.UID != "" {
		meta["uid"] = sa.UID
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return ServiceAccount{}, err
	}
	o, err := c.dynamic.Resource(serviceAccounts).Namespace(sa.Namespace).Patch(ctx, sa.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return ServiceAccount{}, fmt.Errorf("changing service account %s/%s: %w", sa.Namespace, sa.Name, c.explain(err))
	}
	return serviceAccountOf(o), nil
}

// DeleteServiceAccount deletes the service account, and tells whether there was
// one. With a UID it deletes that one and none that has its name since.
func (c *Cluster) DeleteServiceAccount(ctx context.Context, sa ServiceAccount) (bool, error) {
	o := metav1.DeleteOptions{}
	if sa.UID != "" {
		o.Preconditions = metav1.NewUIDPreconditions(sa.UID)
	}
	err := c.dynamic.Resource(serviceAccounts).Namespace(sa.Namespace).Delete(ctx, sa.Name, o)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("deleting service account %s/%s: %w", sa.Namespace, sa.Name, c.explain(err))
	}
	return true, nil
}

func serviceAccountOf(o *unstructured.Unstructured) ServiceAccount {
	return ServiceAccount{
		Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID()),
		Labels: o.GetLabels(), Annotations: o.GetAnnotations(),
	}
}
