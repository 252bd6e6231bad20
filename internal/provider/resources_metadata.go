package provider

import (
	"context"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// metadataEndpoints is the discovery document of the cloud's endpoints, from
// which clients configure themselves before they have a token. Four forms of it
// are in use, by api-version.
func metadataEndpoints(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:      "Microsoft.Resources/metadata",
		Versions:  []string{"2022-09-01", "2020-09-01", "2020-06-01", "2019-05-01", "2018-05-01", "2018-01-01", "2015-11-01", "2015-01-01"},
		Core:      true,
		Items:     []string{"/metadata/endpoints"},
		Anonymous: true,
	}, arm.VirtualHooks{
		Get: func(_ context.Context, r *arm.Request) (any, error) {
			switch version := r.APIVersion[:len("2006-01-02")]; {
			case version >= "2022-09-01":
				return cloudMetadata(cfg.Cloud, r.BaseURL), nil
			case version >= "2019-05-01":
				return []any{cloudMetadata(cfg.Cloud, r.BaseURL)}, nil
			case version >= "2018-01-01":
				return metadataRegions(cfg, r.BaseURL), nil
			default:
				return metadata2015(cfg.Cloud), nil
			}
		},
	})
}

// audiences are those of tokens for the Resource Manager; clients ask for the
// first.
func audiences(cloud azure.Cloud) []string {
	var all []string
	for _, uri := range cloud.Service(azure.ServiceResourceManager).URIs {
		all = append(all, uri+"/")
	}
	return all
}

// metadata2015 is what az cloud register reads. Its login endpoint ends in
// /adfs, for which az's library does not ask Microsoft whether the host is one
// of theirs.
func metadata2015(cloud azure.Cloud) any {
	return map[string]any{
		"galleryEndpoint": underDomain(cloud, "gallery") + "/",
		"graphEndpoint":   cloud.Graph() + "/",
		"portalEndpoint":  cloud.Portal() + "/",
		"graphAudience":   cloud.Graph() + "/",
		"authentication": map[string]any{
			"loginEndpoint": cloud.ActiveDirectory() + "/adfs",
			"audiences":     audiences(cloud),
		},
	}
}

// metadataRegions is what azurerm validates locations with.
func metadataRegions(cfg Config, baseURL string) any {
	return map[string]any{"cloudEndpoint": map[string]any{"public": map[string]any{
		"endpoint":  strings.TrimPrefix(baseURL, "https://"),
		"locations": LocationNames(cfg.Locations),
	}}}
}

// underDomain gives the address of a service under the cloud's domain, whether
// it is served or not: a client must not take a service of this cloud's tokens
// for one of Azure's.
func underDomain(cloud azure.Cloud, name string) string {
	return "https://" + name + strings.TrimPrefix(cloud.VaultSuffix(), "vault")
}

func cloudMetadata(cloud azure.Cloud, baseURL string) any {
	suffix := func(name string) string { return strings.TrimPrefix(underDomain(cloud, name), "https://") }
	resource := func(service string) string { return cloud.Service(service).URIs[0] }
	return map[string]any{
		"name":   "Lanyard",
		"portal": cloud.Portal(),
		"authentication": map[string]any{
			"loginEndpoint":    cloud.ActiveDirectory(),
			"audiences":        audiences(cloud),
			"tenant":           "common",
			"identityProvider": "AAD",
		},
		"resourceManager":          baseURL + "/",
		"microsoftGraphResourceId": cloud.Graph() + "/",
		"graph":                    cloud.Graph() + "/",
		"graphAudience":            cloud.Graph() + "/",
		"suffixes": map[string]any{
			"keyVaultDns":                         cloud.VaultSuffix(),
			"acrLoginServer":                      cloud.RegistrySuffix(),
			"storage":                             strings.TrimPrefix(cloud.BlobSuffix(), "blob."),
			"mhsmDns":                             suffix("managedhsm"),
			"sqlServerHostname":                   suffix("database"),
			"mysqlServerEndpoint":                 suffix("mysql.database"),
			"postgresqlServerEndpoint":            suffix("postgres.database"),
			"mariadbServerEndpoint":               suffix("mariadb.database"),
			"azureDataLakeStoreFileSystem":        suffix("azuredatalakestore"),
			"azureDataLakeAnalyticsCatalogAndJob": suffix("azuredatalakeanalytics"),
			"azureFrontDoorEndpointSuffix":        suffix("azurefd"),
			"storageSyncEndpointSuffix":           suffix("afs"),
			"synapseAnalytics":                    suffix("dev.azuresynapse"),
			"attestationEndpoint":                 suffix("attest"),
		},
		"gallery":                               underDomain(cloud, "gallery") + "/",
		"media":                                 underDomain(cloud, "rest.media"),
		"batch":                                 underDomain(cloud, "batch") + "/",
		"activeDirectoryDataLake":               underDomain(cloud, "datalake") + "/",
		"sqlManagement":                         underDomain(cloud, "management") + "/",
		"vmImageAliasDoc":                       underDomain(cloud, "management") + "/",
		"ossrDbmsResourceId":                    resource(azure.ServicePostgreSQL),
		"appInsightsResourceId":                 underDomain(cloud, "api.applicationinsights"),
		"appInsightsTelemetryChannelResourceId": underDomain(cloud, "dc.applicationinsights") + "/v2/track",
		"attestationResourceId":                 underDomain(cloud, "attest"),
		"synapseAnalyticsResourceId":            underDomain(cloud, "dev.azuresynapse"),
		"logAnalyticsResourceId":                underDomain(cloud, "api.loganalytics"),
	}
}
