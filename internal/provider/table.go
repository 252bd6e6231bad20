package provider

import (
	"encoding/json"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
)

type rawJSON = json.RawMessage

// Types is the table of all resource types: one line each. Everything that
// Lanyard says of what it serves (/providers, the RBAC actions, the coverage
// page) comes from it.
func Types(cfg Config) []arm.Type {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Locations == nil {
		cfg.Locations = AzureLocations()
	}
	return append(cloudTypes(cfg), []arm.Type{
		metadataEndpoints(cfg),
		tenants(cfg),
		subscriptions(cfg),
		subscriptionAliases(cfg),
		cancelSubscription(cfg),
		enableSubscription(cfg),
		renameSubscription(cfg),
		subscriptionLocations(cfg),
		tenantProviders(cfg),
		subscriptionProviders(cfg),
		resourceGroups(),
		resources(cfg),
		tags(),
		deployments(),
		features(cfg),
		allFeatures(cfg),
		roleDefinitions(cfg),
		roleAssignments(cfg),
		permissions(cfg),
		denyAssignments(cfg),
		checkAccess(cfg),
		userAssignedIdentities(cfg),
		federatedIdentityCredentials(cfg),
		systemAssignedIdentities(),
		associatedResources(cfg),
		virtualMachines.define(),
		virtualMachineScaleSets.define(),
		disks.define(),
		virtualNetworks.define(),
		subnets.define(),
		publicIPAddresses.define(),
		loadBalancers.define(),
		routeTables.define(),
		routes.define(),
		networkSecurityGroups.define(),
		networkInterfaces.define(),
		dnsZones.define(),
		privateDNSZones.define(),
		virtualNetworkLinks.define(),
		workspaces.define(),
		connectedClusters(cfg),
		vaults(cfg),
		vaultAccessPolicies(cfg),
		deletedVaults(cfg),
		deletedVaultList(cfg),
		vaultNameAvailability(cfg),
	}...)
}

// cloudTypes are Lanyard's own: what the operator does with the cloud as a whole.
// Strict mode does not have them, but for the clock, where the cloud was started
// with one.
func cloudTypes(cfg Config) []arm.Type {
	var types []arm.Type
	if cfg.Clock != nil {
		types = append(types, clock(cfg.Clock))
	}
	if cfg.Strict {
		return types
	}
	return append(types,
		cloudTenants(cfg),
		signingKeys(cfg),
		sealingKeys(cfg),
		backups(cfg),
		trustedIssuers(cfg),
	)
}
