package tokenproxy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The permission to use an identity, as AKS's identity bindings have it.
const (
	useVerb  = "use-managed-identity"
	useGroup = "cid.wi.aks.azure.com"
)

// podNameExtra is the extra of a user whose token is bound to a pod.
const podNameExtra = "authentication.kubernetes.io/pod-name"

// reviewTimeout bounds one question to the API server.
const reviewTimeout = 5 * time.Second

var (
	tokenReviews  = schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "tokenreviews"}
	accessReviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}
)

// user is who the API server says that a token is of.
type user struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra"`
}

// pod is the name of the pod that the user's token is bound to.
func (u user) pod() string {
	if names := u.Extra[podNameExtra]; len(names) == 1 {
		return names[0]
	}
	return ""
}

// reviewer asks the API server who somebody is, and what he may do.
type reviewer struct {
	client   dynamic.Interface
	audience string
}

// authenticate gives the service account whose token this is. The token must be
// for this endpoint, and bound to a pod that exists: one that was asked for by
// hand, or taken from a pod that is gone, is none.
func (r *reviewer) authenticate(ctx context.Context, token string) (user, error) {
	var status struct {
		Authenticated bool     `json:"authenticated"`
		User          user     `json:"user"`
		Audiences     []string `json:"audiences"`
		Error         string   `json:"error"`
	}
	err := r.review(ctx, tokenReviews, "TokenReview", map[string]any{"token": token, "audiences": []any{r.audience}}, &status)
	switch {
	case err != nil:
		return user{}, unavailable(err, "The API server could not be asked whose token this is.")
	case !status.Authenticated:
		why := "."
		if status.Error != "" {
			why = ": " + status.Error
		}
		return user{}, invalidClient("The API server does not accept the service account token%s", why)
	case !slices.Contains(status.Audiences, r.audience):
		// An API server that does not check audiences says so by leaving them out.
		return user{}, invalidClient("The API server does not say that the service account token is for the audience '%s'.", r.audience)
	case !strings.HasPrefix(status.User.Username, "system:serviceaccount:"):
		return user{}, invalidClient("The token is not a service account's.")
	case status.User.pod() == "":
		return user{}, invalidClient("The service account token is not bound to a pod: only tokens of pods' projected volumes are.")
	}
	return status.User, nil
}

// authorize refuses a user who may not use the identity.
func (r *reviewer) authorize(ctx context.Context, u user, clientID string) error {
	extra := make(map[string]any, len(u.Extra))
	for name, values := range u.Extra {
		extra[name] = list(values)
	}
	spec := map[string]any{
		"user": u.Username, "uid": u.UID, "groups": list(u.Groups), "extra": extra,
		"resourceAttributes": map[string]any{"verb": useVerb, "group": useGroup, "resource": clientID},
	}
	var status struct {
		Allowed bool   `json:"allowed"`
		Reason  string `json:"reason"`
	}
	if err := r.review(ctx, accessReviews, "SubjectAccessReview", spec, &status); err != nil {
		return unavailable(err, "The API server could not be asked what %s may do.", u.Username)
	}
	if status.Allowed {
		return nil
	}
	return azure.Errorf(http.StatusForbidden, "unauthorized_client",
		`%s may not use the identity '%s'. Bind it to a ClusterRole with the rule {"apiGroups": [%q], "resources": [%q], "verbs": [%q]}.`,
		u.Username, clientID, useGroup, clientID, useVerb)
}

func list(values []string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// review creates a review, which is how the API server is asked, and reads its
// status.
func (r *reviewer) review(ctx context.Context, resource schema.GroupVersionResource, kind string, spec map[string]any, status any) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	answer, err := r.client.Resource(resource).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": resource.GroupVersion().String(), "kind": kind, "spec": spec,
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating a %s: %w", kind, err)
	}
	content, found, err := unstructured.NestedMap(answer.Object, "status")
	if err != nil || !found {
		return fmt.Errorf("the %s has no status", kind)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, status); err != nil {
		return fmt.Errorf("the status of the %s: %w", kind, err)
	}
	return nil
}
