package provider

// The api-versions in this file are those that Azure publishes for each type.

var virtualMachineVersions = []string{
	"2026-04-01", "2026-03-01", "2025-11-01", "2025-04-01", "2024-11-01", "2024-07-01", "2024-03-01", "2023-09-01",
	"2023-07-01", "2023-03-01", "2022-11-01", "2022-08-01", "2022-03-01", "2021-11-01", "2021-07-01", "2021-04-01",
	"2021-03-01", "2020-12-01", "2020-06-01", "2019-12-01", "2019-07-01", "2019-03-01", "2018-10-01", "2018-06-01",
	"2018-04-01", "2017-12-01", "2017-03-30", "2016-04-30-preview", "2016-03-30", "2015-06-15",
}

var diskVersions = []string{
	"2025-01-02", "2024-03-02", "2023-10-02", "2023-04-02", "2023-01-02", "2022-07-02", "2022-03-02", "2021-12-01",
	"2021-08-01", "2021-04-01", "2020-12-01", "2020-09-30", "2020-06-30", "2020-05-01", "2019-11-01", "2019-07-01",
	"2019-03-01", "2018-09-30", "2018-06-01", "2018-04-01", "2017-03-30", "2016-04-30-preview",
}

var networkVersions = []string{
	"2025-05-01", "2025-03-01", "2025-01-01", "2024-10-01", "2024-07-01", "2024-05-01", "2024-03-01", "2024-01-01",
	"2023-11-01", "2023-09-01", "2023-06-01", "2023-05-01", "2023-04-01", "2023-02-01", "2022-11-01", "2022-09-01",
	"2022-07-01", "2022-05-01", "2022-01-01", "2021-08-01", "2021-05-01", "2021-03-01", "2021-02-01", "2020-11-01",
	"2020-08-01", "2020-07-01", "2020-06-01", "2020-05-01", "2020-04-01", "2020-03-01", "2019-12-01", "2019-11-01",
	"2019-09-01", "2019-08-01", "2019-07-01", "2019-06-01", "2019-04-01", "2019-02-01", "2018-12-01", "2018-11-01",
	"2018-10-01", "2018-08-01", "2018-07-01", "2018-06-01", "2018-04-01", "2018-02-01", "2018-01-01", "2017-11-01",
	"2017-10-01", "2017-09-01", "2017-08-01", "2017-06-01", "2017-03-30", "2017-03-01", "2016-12-01", "2016-09-01",
	"2016-06-01", "2016-03-30", "2015-06-15", "2015-05-01-preview",
}

var dnsVersions = []string{
	"2023-07-01-preview", "2018-05-01", "2018-03-01-preview", "2017-10-01", "2017-09-01", "2016-04-01", "2015-05-04-preview",
}

var privateDNSVersions = []string{"2024-06-01", "2020-06-01", "2020-01-01", "2018-09-01"}

var workspaceVersions = []string{
	"2026-03-01", "2025-07-01", "2025-02-01", "2023-09-01", "2022-10-01", "2021-12-01-preview", "2021-06-01",
	"2020-10-01", "2020-08-01", "2020-03-01-preview", "2015-11-01-preview",
}

// The types that are kept as scopes.
var (
	virtualMachines = scopeOnly{
		name: "Microsoft.Compute/virtualMachines", versions: virtualMachineVersions,
		members: []string{"identity", "plan", "zones"}, etag: true, guids: []string{"vmId"},
	}
	virtualMachineScaleSets = scopeOnly{
		name: "Microsoft.Compute/virtualMachineScaleSets", versions: virtualMachineVersions,
		members: []string{"identity", "plan", "sku", "zones"}, etag: true, guids: []string{"uniqueId"},
	}
	disks = scopeOnly{
		name: "Microsoft.Compute/disks", versions: diskVersions,
		members: []string{"sku", "zones"}, guids: []string{"uniqueId"},
		created: 200, // the SDK knows 200 and 202 only
	}
	virtualNetworks = scopeOnly{
		name: "Microsoft.Network/virtualNetworks", versions: networkVersions, etag: true, guids: []string{"resourceGuid"},
		inline: map[string]string{"subnets": "Microsoft.Network/virtualNetworks/subnets"},
	}
	subnets = scopeOnly{
		name: "Microsoft.Network/virtualNetworks/subnets", versions: networkVersions, untracked: true, etag: true,
	}
	publicIPAddresses = scopeOnly{
		name: "Microsoft.Network/publicIPAddresses", versions: networkVersions,
		members: []string{"sku", "zones"}, etag: true, guids: []string{"resourceGuid"},
	}
	loadBalancers = scopeOnly{
		name: "Microsoft.Network/loadBalancers", versions: networkVersions,
		members: []string{"sku"}, etag: true, guids: []string{"resourceGuid"},
	}
	routeTables = scopeOnly{
		name: "Microsoft.Network/routeTables", versions: networkVersions, etag: true, guids: []string{"resourceGuid"},
		inline: map[string]string{"routes": "Microsoft.Network/routeTables/routes"},
	}
	routes = scopeOnly{
		name: "Microsoft.Network/routeTables/routes", versions: networkVersions, untracked: true, etag: true,
	}
	networkSecurityGroups = scopeOnly{
		name: "Microsoft.Network/networkSecurityGroups", versions: networkVersions, etag: true, guids: []string{"resourceGuid"},
	}
	networkInterfaces = scopeOnly{
		name: "Microsoft.Network/networkInterfaces", versions: networkVersions, etag: true, guids: []string{"resourceGuid"},
	}
	dnsZones = scopeOnly{
		name: "Microsoft.Network/dnsZones", versions: dnsVersions, global: true, etag: true, stateless: true,
	}
	privateDNSZones = scopeOnly{
		name: "Microsoft.Network/privateDnsZones", versions: privateDNSVersions, global: true, etag: true,
	}
	virtualNetworkLinks = scopeOnly{
		name: "Microsoft.Network/privateDnsZones/virtualNetworkLinks", versions: privateDNSVersions, global: true, etag: true,
	}
	workspaces = scopeOnly{
		name: "Microsoft.OperationalInsights/workspaces", versions: workspaceVersions,
		members: []string{"identity"}, etag: true, guids: []string{"customerId"},
	}
)
