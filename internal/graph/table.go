package graph

import "slices"

// routes lists every request that the plane serves. The first whose pattern and
// method fit is taken: fixed segments stand above identifiers.
func routes() []route {
	return slices.Concat(
		applicationRoutes(),
		federatedCredentialRoutes(),
		servicePrincipalRoutes(),
		userRoutes(),
		groupRoutes(),
		ownerRoutes(),
		membershipRoutes(),
		directoryObjectRoutes(),
		organizationRoutes(),
	)
}
