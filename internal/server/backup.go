package server

import (
	"strconv"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The notes of a backup: what the cloud is called that it is of. A restored one
// is to have the same names, which issuers and vault URIs carry.
const (
	noteDomain       = "domain"
	notePort         = "port"
	noteTenant       = "tenantId"
	noteSubscription = "subscriptionId"
	noteVersion      = "version"
)

func backupNotes(cloud azure.Cloud, record bootstrapRecord, version string) map[string]string {
	return map[string]string{
		noteDomain: cloud.Domain, notePort: strconv.Itoa(cloud.Port), noteTenant: record.TenantID,
		noteSubscription: record.SubscriptionID, noteVersion: version,
	}
}
