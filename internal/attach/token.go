package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ServiceAccountToken asks the API server for a token of a service account, for
// one audience, as the kubelet asks for those that it projects. That takes create
// on serviceaccounts/token. The API server raises a lifetime below ten minutes'
// to an error, and may shorten a long one.
func (c *Cluster) ServiceAccountToken(ctx context.Context, namespace, name, audience string, lifetime time.Duration) (string, error) {
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{
			"audiences":         []any{audience},
			"expirationSeconds": int64(lifetime / time.Second),
		},
	}}
	made, err := c.dynamic.Resource(serviceAccounts).Namespace(namespace).Create(ctx, request, metav1.CreateOptions{}, "token")
	switch {
	case apierrors.IsForbidden(err):
		return "", fmt.Errorf("asking for a token of service account %s/%s takes create on serviceaccounts/token: %w", namespace, name, err)
	case err != nil:
		return "", fmt.Errorf("asking for a token of service account %s/%s: %w", namespace, name, c.explain(err))
	}
	token, _, err := unstructured.NestedString(made.Object, "status", "token")
	if err == nil && token == "" {
		err = errors.New("the API server's answer holds none")
	}
	if err != nil {
		return "", fmt.Errorf("asking for a token of service account %s/%s: %w", namespace, name, err)
	}
	return token, nil
}
