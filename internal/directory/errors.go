package directory

import (
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The errors of directory objects, in the words of Microsoft Graph, whose
// clients tell them apart by code.

func errNotFound(id string) *azure.Error {
	return azure.Errorf(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

func errTaken(property string) *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "Request_MultipleObjectsWithSameKeyValue",
		"Another object with the same value for property %s already exists.", property)
}

func errBadRequest(format string, args ...any) *azure.Error {
	return azure.Errorf(http.StatusBadRequest, "Request_BadRequest", format, args...)
}

func errInvalid(property, resource, why string) *azure.Error {
	return errBadRequest("Invalid value specified for property '%s' of resource '%s'. %s", property, resource, why)
}

func errTenantNotFound(tenantID string) *azure.Error {
	return azure.Errorf(http.StatusNotFound, "TenantNotFound", "The tenant '%s' could not be found.", tenantID)
}
