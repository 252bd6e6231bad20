package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The group and its one version.
const (
	Group   = "aadpodidentity.k8s.io"
	Version = "v1"
)

// The names of the resources, as API servers have them in paths. None has a short
// name.
const (
	AzureIdentityResource             = "azureidentities"
	AzureIdentityBindingResource      = "azureidentitybindings"
	AzureAssignedIdentityResource     = "azureassignedidentities"
	AzurePodIdentityExceptionResource = "azurepodidentityexceptions"
)

// GroupVersion gives the group and version of the types.
func GroupVersion() schema.GroupVersion { return schema.GroupVersion{Group: Group, Version: Version} }

// Resource gives a resource of the group by its name.
func Resource(name string) schema.GroupVersionResource { return GroupVersion().WithResource(name) }

// AddToScheme makes the types known to a scheme. It never fails; the error is what
// callers of such functions expect.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(),
		&AzureIdentity{}, &AzureIdentityList{},
		&AzureIdentityBinding{}, &AzureIdentityBindingList{},
		&AzureAssignedIdentity{}, &AzureAssignedIdentityList{},
		&AzurePodIdentityException{}, &AzurePodIdentityExceptionList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
