package v1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BehaviorAnnotation on an AzureIdentity, with the value BehaviorNamespaced, keeps
// it to the pods of its own namespace where the controller does not do so for all.
const (
	BehaviorAnnotation = "aadpodidentity.k8s.io/Behavior"
	BehaviorNamespaced = "namespaced"
)

// AzureIdentity names an identity that pods may have, and how tokens for it are
// obtained.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="api-approved.kubernetes.io=unapproved"
// +kubebuilder:printcolumn:name="Type",type="string",JSONPath=".spec.type"
// +kubebuilder:printcolumn:name="ClientID",type="string",JSONPath=".spec.clientID"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type AzureIdentity struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AzureIdentitySpec   `json:"spec,omitempty,omitzero"`
	Status AzureIdentityStatus `json:"status,omitempty,omitzero"`
}

// IdentityType is the kind of an identity.
type IdentityType int

// The kinds. Upstream's published constants end at ServicePrincipal; its node agent
// reads all three.
const (
	// UserAssignedMSI is a user-assigned managed identity.
	UserAssignedMSI IdentityType = 0
	// ServicePrincipal is an application with a client secret.
	ServicePrincipal IdentityType = 1
	// ServicePrincipalCertificate is an application with a certificate.
	ServicePrincipalCertificate IdentityType = 2
)

// String names the kind, for people.
func (t IdentityType) String() string {
	switch t {
	case UserAssignedMSI:
		return "managed identity"
	case ServicePrincipal:
		return "service principal with a secret"
	case ServicePrincipalCertificate:
		return "service principal with a certificate"
	}
	return fmt.Sprintf("unknown type %d", int(t))
}

// AzureIdentitySpec says which identity it is.
type AzureIdentitySpec struct {
	// Metadata is part of the schema, and nothing of it is kept or read.
	Metadata metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// Type is 0 for a user-assigned managed identity, 1 for a service principal with a secret, 2 for one with a certificate.
	Type IdentityType `json:"type,omitempty"`
	// ResourceID is the managed identity's. One of type 0 without it is ignored.
	ResourceID string `json:"resourceID,omitempty"`
	// ClientID is the managed identity's or the service principal's.
	ClientID string `json:"clientID,omitempty"`
	// ClientPassword names the Secret of a service principal: with one key of any name for a client secret, or with the keys certificate (PKCS #12) and password.
	ClientPassword SecretReference `json:"clientPassword,omitempty,omitzero"`
	// TenantID is the service principal's tenant.
	TenantID string `json:"tenantID,omitempty"`
	// AuxiliaryTenantIDs are more tenants for which a service principal of type 1 gets tokens.
	// +nullable
	AuxiliaryTenantIDs []string `json:"auxiliaryTenantIDs,omitempty"`
	// ADResourceID is read by nobody.
	ADResourceID string `json:"adResourceID,omitempty"`
	// ADEndpoint is the authority host for a service principal, Azure's public one when empty.
	ADEndpoint string `json:"adEndpoint,omitempty"`
	// Replicas is read by nobody.
	// +nullable
	Replicas *int32 `json:"replicas,omitempty"`
}

// SecretReference names a Secret. It is Kubernetes's type of this name, which would
// bring every type of its API into programs that need none.
type SecretReference struct {
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

// AzureIdentityStatus is written by nobody.
type AzureIdentityStatus struct {
	Metadata          metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	AvailableReplicas int32             `json:"availableReplicas,omitempty"`
}

// AzureIdentityList is a list of AzureIdentities.
//
// +kubebuilder:object:root=true
type AzureIdentityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AzureIdentity `json:"items"`
}
