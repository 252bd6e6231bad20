package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The states of an AzureAssignedIdentity. Before upstream's 1.5 there was none,
// which counts as assigned.
const (
	// AssignedIDCreated: the identity is not on the pod's node yet.
	AssignedIDCreated = "Created"
	// AssignedIDAssigned: it is, and tokens are given.
	AssignedIDAssigned = "Assigned"
	// AssignedIDUnassigned: it is being taken away.
	AssignedIDUnassigned = "Unassigned"
)

// AzureAssignedIdentity says that a pod has an identity. The controller writes it.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="api-approved.kubernetes.io=unapproved"
type AzureAssignedIdentity struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AzureAssignedIdentitySpec   `json:"spec,omitempty,omitzero"`
	Status AzureAssignedIdentityStatus `json:"status,omitempty,omitzero"`
}

// AzureAssignedIdentitySpec holds the identity and the binding as they were.
type AzureAssignedIdentitySpec struct {
	// Metadata is part of the schema, and nothing of it is kept or read.
	Metadata metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// AzureIdentityRef is the whole AzureIdentity.
	// +kubebuilder:validation:EmbeddedResource
	AzureIdentityRef *AzureIdentity `json:"azureIdentityRef,omitempty"`
	// AzureBindingRef is the whole AzureIdentityBinding.
	// +kubebuilder:validation:EmbeddedResource
	AzureBindingRef *AzureIdentityBinding `json:"azureBindingRef,omitempty"`
	// Pod is the pod's name.
	Pod string `json:"pod,omitempty"`
	// PodNamespace is the pod's namespace.
	PodNamespace string `json:"podNamespace,omitempty"`
	// NodeName is the pod's node. Its name is in lower case alone.
	NodeName string `json:"nodename,omitempty"`
	// Replicas is read by nobody.
	// +nullable
	Replicas *int32 `json:"replicas,omitempty"`
}

// AzureAssignedIdentityStatus says how far the assignment is.
type AzureAssignedIdentityStatus struct {
	Metadata metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// Status is Created, Assigned or Unassigned.
	Status string `json:"status,omitempty"`
	// AvailableReplicas is 1.
	AvailableReplicas int32 `json:"availableReplicas,omitempty"`
}

// AzureAssignedIdentityList is a list of AzureAssignedIdentities.
//
// +kubebuilder:object:root=true
type AzureAssignedIdentityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AzureAssignedIdentity `json:"items"`
}
