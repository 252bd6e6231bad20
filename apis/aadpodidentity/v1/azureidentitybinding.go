package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BindingLabel on a pod is compared with the selectors of AzureIdentityBindings.
const BindingLabel = "aadpodidbinding"

// AzureIdentityBinding gives an AzureIdentity to the pods of a label.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="api-approved.kubernetes.io=unapproved"
// +kubebuilder:printcolumn:name="AzureIdentity",type="string",JSONPath=".spec.azureIdentity"
// +kubebuilder:printcolumn:name="Selector",type="string",JSONPath=".spec.selector"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type AzureIdentityBinding struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AzureIdentityBindingSpec   `json:"spec,omitempty,omitzero"`
	Status AzureIdentityBindingStatus `json:"status,omitempty,omitzero"`
}

// AzureIdentityBindingSpec says which identity which pods have.
type AzureIdentityBindingSpec struct {
	// Metadata is part of the schema, and nothing of it is kept or read.
	Metadata metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// AzureIdentity is the name of an AzureIdentity in the binding's namespace.
	AzureIdentity string `json:"azureIdentity,omitempty"`
	// Selector is the whole value of the label aadpodidbinding of the pods that are meant, in its case. It is no label selector.
	Selector string `json:"selector,omitempty"`
	// Weight was to say which of several identities comes first. Upstream reads it nowhere.
	Weight int `json:"weight,omitempty"`
}

// AzureIdentityBindingStatus is written by nobody.
type AzureIdentityBindingStatus struct {
	Metadata          metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	AvailableReplicas int32             `json:"availableReplicas,omitempty"`
}

// AzureIdentityBindingList is a list of AzureIdentityBindings.
//
// +kubebuilder:object:root=true
type AzureIdentityBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AzureIdentityBinding `json:"items"`
}
