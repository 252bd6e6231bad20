package attach

import (
	"context"
	"encoding/base64"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// DefaultNamespace is where the agent lives, upstream's namespace.
const DefaultNamespace = "azure-workload-identity-system"

// attachmentName is the Secret in which a cluster remembers what it is attached
// to. It is a Secret since values may hold some.
const attachmentName = "lanyard-attachment"

// Attachment is what a cluster remembers of being attached.
type Attachment struct {
	// Namespace is the agent's.
	Namespace string `json:"namespace"`
	// ResourceID is the connected cluster in the cloud's Resource Manager, and
	// Cloud that cloud's address.
	ResourceID string `json:"resourceId"`
	Cloud      string `json:"cloud"`
	// Version is that of the lanyard that installed the agent.
	Version string `json:"version"`
	// Values are those that the operator gave, without what attach adds.
	Values map[string]any `json:"values,omitempty"`
}

// Attachment reads what the cluster is attached to, nil where it is not.
func (c *Cluster) Attachment(ctx context.Context) (*Attachment, error) {
	found, err := c.list(ctx, kindNamed("Secret"), metav1.NamespaceAll, ours+",app.kubernetes.io/component=attachment")
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("what attach and detach do takes an administrator of the cluster, such as the cluster role cluster-admin: %w", err)
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("the cluster has two attachments, in the namespaces %s and %s: delete the Secret %s of the one that does not hold",
			found[0].GetNamespace(), found[1].GetNamespace(), attachmentName)
	}
	data, _, err := unstructured.NestedStringMap(found[0].Object, "data")
	if err != nil {
		return nil, fmt.Errorf("reading the attachment: %w", err)
	}
	a := &Attachment{}
	raw, err := base64.StdEncoding.DecodeString(data["attachment"])
	if err == nil {
		err = yaml.UnmarshalStrict(raw, a)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s: %w", found[0].GetNamespace(), attachmentName, err)
	}
	a.Namespace = found[0].GetNamespace()
	return a, nil
}

// object is the Secret that holds the attachment.
func (a Attachment) object() (*unstructured.Unstructured, error) {
	content, err := yaml.Marshal(a)
	if err != nil {
		return nil, err
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "lanyard.dev/attachment",
		"metadata": map[string]any{"name": attachmentName, "namespace": a.Namespace, "labels": map[string]any{
			nameLabel: agentName, managedByLabel: manager, "app.kubernetes.io/component": "attachment",
		}},
		"data": map[string]any{"attachment": base64.StdEncoding.EncodeToString(content)},
	}}, nil
}
