package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AzurePodIdentityException leaves pods of its namespace to the identities of their
// node: what they ask for is not looked at.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="api-approved.kubernetes.io=unapproved"
type AzurePodIdentityException struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AzurePodIdentityExceptionSpec   `json:"spec,omitempty,omitzero"`
	Status AzurePodIdentityExceptionStatus `json:"status,omitempty,omitzero"`
}

// AzurePodIdentityExceptionSpec says which pods are meant.
type AzurePodIdentityExceptionSpec struct {
	// Metadata is part of the schema, and nothing of it is kept or read.
	Metadata metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// PodLabels are the labels of which a pod has any one, with its value in any case.
	PodLabels map[string]string `json:"podLabels,omitempty"`
}

// AzurePodIdentityExceptionStatus is written by nobody.
type AzurePodIdentityExceptionStatus struct {
	Metadata metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	Status   string            `json:"status,omitempty"`
}

// AzurePodIdentityExceptionList is a list of AzurePodIdentityExceptions.
//
// +kubebuilder:object:root=true
type AzurePodIdentityExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AzurePodIdentityException `json:"items"`
}
