package provider

// The geography groups of Azure's regions.
const (
	us           = "US"
	europe       = "Europe"
	asiaPacific  = "Asia Pacific"
	canada       = "Canada"
	southAmerica = "South America"
	africa       = "Africa"
	middleEast   = "Middle East"
	mexico       = "Mexico"
)

// AzureLocations gives the regions of Azure's public cloud that anyone may use.
// Names, display names, geographies and pairs are those that Azure's list of
// locations gives. The slice is the caller's own.
func AzureLocations() []Location {
	return []Location{
		{Name: "eastus", DisplayName: "East US", Geography: us, PhysicalLocation: "Virginia", PairedRegion: "westus"},
		{Name: "eastus2", DisplayName: "East US 2", Geography: us, PhysicalLocation: "Virginia", PairedRegion: "centralus"},
		{Name: "southcentralus", DisplayName: "South Central US", Geography: us, PhysicalLocation: "Texas", PairedRegion: "northcentralus"},
		{Name: "westus2", DisplayName: "West US 2", Geography: us, PhysicalLocation: "Washington", PairedRegion: "westcentralus"},
		{Name: "westus3", DisplayName: "West US 3", Geography: us, PhysicalLocation: "Phoenix", PairedRegion: "eastus"},
		{Name: "australiaeast", DisplayName: "Australia East", Geography: asiaPacific, PhysicalLocation: "New South Wales", PairedRegion: "australiasoutheast"},
		{Name: "southeastasia", DisplayName: "Southeast Asia", Geography: asiaPacific, PhysicalLocation: "Singapore", PairedRegion: "eastasia"},
		{Name: "northeurope", DisplayName: "North Europe", Geography: europe, PhysicalLocation: "Ireland", PairedRegion: "westeurope"},
		{Name: "swedencentral", DisplayName: "Sweden Central", Geography: europe, PhysicalLocation: "Gävle", PairedRegion: "swedensouth"},
		{Name: "uksouth", DisplayName: "UK South", Geography: europe, PhysicalLocation: "London", PairedRegion: "ukwest"},
		{Name: "westeurope", DisplayName: "West Europe", Geography: europe, PhysicalLocation: "Netherlands", PairedRegion: "northeurope"},
		{Name: "centralus", DisplayName: "Central US", Geography: us, PhysicalLocation: "Iowa", PairedRegion: "eastus2"},
		{Name: "southafricanorth", DisplayName: "South Africa North", Geography: africa, PhysicalLocation: "Johannesburg", PairedRegion: "southafricawest"},
		{Name: "centralindia", DisplayName: "Central India", Geography: asiaPacific, PhysicalLocation: "Pune", PairedRegion: "southindia"},
		{Name: "eastasia", DisplayName: "East Asia", Geography: asiaPacific, PhysicalLocation: "Hong Kong", PairedRegion: "southeastasia"},
		{Name: "indonesiacentral", DisplayName: "Indonesia Central", Geography: asiaPacific, PhysicalLocation: "Jakarta"},
		{Name: "japaneast", DisplayName: "Japan East", Geography: asiaPacific, PhysicalLocation: "Tokyo, Saitama", PairedRegion: "japanwest"},
		{Name: "japanwest", DisplayName: "Japan West", Geography: asiaPacific, PhysicalLocation: "Osaka", PairedRegion: "japaneast"},
		{Name: "koreacentral", DisplayName: "Korea Central", Geography: asiaPacific, PhysicalLocation: "Seoul", PairedRegion: "koreasouth"},
		{Name: "malaysiawest", DisplayName: "Malaysia West", Geography: asiaPacific, PhysicalLocation: "Kuala Lumpur"},
		{Name: "newzealandnorth", DisplayName: "New Zealand North", Geography: asiaPacific, PhysicalLocation: "Auckland"},
		{Name: "canadacentral", DisplayName: "Canada Central", Geography: canada, PhysicalLocation: "Toronto", PairedRegion: "canadaeast"},
		{Name: "austriaeast", DisplayName: "Austria East", Geography: europe, PhysicalLocation: "Vienna"},
		{Name: "francecentral", DisplayName: "France Central", Geography: europe, PhysicalLocation: "Paris", PairedRegion: "francesouth"},
		{Name: "germanywestcentral", DisplayName: "Germany West Central", Geography: europe, PhysicalLocation: "Frankfurt", PairedRegion: "germanynorth"},
		{Name: "italynorth", DisplayName: "Italy North", Geography: europe, PhysicalLocation: "Milan"},
		{Name: "norwayeast", DisplayName: "Norway East", Geography: europe, PhysicalLocation: "Norway", PairedRegion: "norwaywest"},
		{Name: "polandcentral", DisplayName: "Poland Central", Geography: europe, PhysicalLocation: "Warsaw"},
		{Name: "spaincentral", DisplayName: "Spain Central", Geography: europe, PhysicalLocation: "Madrid"},
		{Name: "switzerlandnorth", DisplayName: "Switzerland North", Geography: europe, PhysicalLocation: "Zurich", PairedRegion: "switzerlandwest"},
		{Name: "mexicocentral", DisplayName: "Mexico Central", Geography: mexico, PhysicalLocation: "Querétaro State"},
		{Name: "uaenorth", DisplayName: "UAE North", Geography: middleEast, PhysicalLocation: "Dubai", PairedRegion: "uaecentral"},
		{Name: "brazilsouth", DisplayName: "Brazil South", Geography: southAmerica, PhysicalLocation: "Sao Paulo State", PairedRegion: "southcentralus"},
		{Name: "chilecentral", DisplayName: "Chile Central", Geography: southAmerica, PhysicalLocation: "Santiago"},
		{Name: "israelcentral", DisplayName: "Israel Central", Geography: middleEast, PhysicalLocation: "Israel"},
		{Name: "qatarcentral", DisplayName: "Qatar Central", Geography: middleEast, PhysicalLocation: "Doha"},
		{Name: "northcentralus", DisplayName: "North Central US", Geography: us, PhysicalLocation: "Illinois", PairedRegion: "southcentralus"},
		{Name: "westus", DisplayName: "West US", Geography: us, PhysicalLocation: "California", PairedRegion: "eastus"},
		{Name: "jioindiawest", DisplayName: "Jio India West", Geography: asiaPacific, PhysicalLocation: "Jamnagar", PairedRegion: "jioindiacentral"},
		{Name: "westcentralus", DisplayName: "West Central US", Geography: us, PhysicalLocation: "Wyoming", PairedRegion: "westus2"},
		{Name: "southafricawest", DisplayName: "South Africa West", Geography: africa, PhysicalLocation: "Cape Town", PairedRegion: "southafricanorth"},
		{Name: "australiacentral", DisplayName: "Australia Central", Geography: asiaPacific, PhysicalLocation: "Canberra", PairedRegion: "australiacentral2"},
		{Name: "australiacentral2", DisplayName: "Australia Central 2", Geography: asiaPacific, PhysicalLocation: "Canberra", PairedRegion: "australiacentral"},
		{Name: "australiasoutheast", DisplayName: "Australia Southeast", Geography: asiaPacific, PhysicalLocation: "Victoria", PairedRegion: "australiaeast"},
		{Name: "jioindiacentral", DisplayName: "Jio India Central", Geography: asiaPacific, PhysicalLocation: "Nagpur", PairedRegion: "jioindiawest"},
		{Name: "koreasouth", DisplayName: "Korea South", Geography: asiaPacific, PhysicalLocation: "Busan", PairedRegion: "koreacentral"},
		{Name: "southindia", DisplayName: "South India", Geography: asiaPacific, PhysicalLocation: "Chennai", PairedRegion: "centralindia"},
		{Name: "westindia", DisplayName: "West India", Geography: asiaPacific, PhysicalLocation: "Mumbai", PairedRegion: "southindia"},
		{Name: "canadaeast", DisplayName: "Canada East", Geography: canada, PhysicalLocation: "Quebec", PairedRegion: "canadacentral"},
		{Name: "francesouth", DisplayName: "France South", Geography: europe, PhysicalLocation: "Marseille", PairedRegion: "francecentral"},
		{Name: "germanynorth", DisplayName: "Germany North", Geography: europe, PhysicalLocation: "Berlin", PairedRegion: "germanywestcentral"},
		{Name: "norwaywest", DisplayName: "Norway West", Geography: europe, PhysicalLocation: "Norway", PairedRegion: "norwayeast"},
		{Name: "swedensouth", DisplayName: "Sweden South", Geography: europe, PhysicalLocation: "Malmö", PairedRegion: "swedencentral"},
		{Name: "switzerlandwest", DisplayName: "Switzerland West", Geography: europe, PhysicalLocation: "Geneva", PairedRegion: "switzerlandnorth"},
		{Name: "ukwest", DisplayName: "UK West", Geography: europe, PhysicalLocation: "Cardiff", PairedRegion: "uksouth"},
		{Name: "uaecentral", DisplayName: "UAE Central", Geography: middleEast, PhysicalLocation: "Abu Dhabi", PairedRegion: "uaenorth"},
		{Name: "brazilsoutheast", DisplayName: "Brazil Southeast", Geography: southAmerica, PhysicalLocation: "Rio", PairedRegion: "brazilsouth"},
		{Name: "global", DisplayName: "Global", Logical: true},
	}
}

// LocationNames gives the canonical names of the regions in which resources may
// be created.
func LocationNames(locations []Location) []string {
	var names []string
	for _, l := range locations {
		if !l.Logical {
			names = append(names, l.Name)
		}
	}
	return names
}
