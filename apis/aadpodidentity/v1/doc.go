// Package v1 has the types of aadpodidentity.k8s.io/v1, the custom resources of AAD
// pod identity (Azure/aad-pod-identity v1.8.17, its last release): AzureIdentity,
// AzureIdentityBinding, AzureAssignedIdentity and AzurePodIdentityException.
//
// The field names are that release's to the letter. Its custom resource definitions
// validate types alone and drop what they do not know, a name in another case too;
// they ask for nothing and there is no status subresource. The definitions in
// ../crds are made from these types and say the same.
//
// What the fields do, and who reads them, is said at each. The package must not know
// how pods are matched: that is internal/podidentity.
//
// +kubebuilder:object:generate=true
// +groupName=aadpodidentity.k8s.io
package v1
