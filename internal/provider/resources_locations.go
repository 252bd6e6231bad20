package provider

import (
	"context"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// subscriptionLocations lists the regions that a subscription may use: all that
// the cloud has.
func subscriptionLocations(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:        "Microsoft.Resources/subscriptions/locations",
		Versions:    subscriptionsVersions,
		Core:        true,
		Collections: []string{"/subscriptions/{subscriptionId}/locations"},
	}, arm.VirtualHooks{
		List: func(_ context.Context, r *arm.Request) ([]any, error) {
			items := []any{}
			for _, l := range cfg.Locations {
				items = append(items, showLocation(r.ID, l))
			}
			return items, nil
		},
	})
}

type pairedRegion struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

type locationMetadata struct {
	RegionType       string         `json:"regionType"`
	RegionCategory   string         `json:"regionCategory"`
	GeographyGroup   string         `json:"geographyGroup,omitempty"`
	PhysicalLocation string         `json:"physicalLocation,omitempty"`
	PairedRegion     []pairedRegion `json:"pairedRegion,omitempty"`
}

type location struct {
	ID                  string           `json:"id"`
	Name                string           `json:"name"`
	Type                string           `json:"type"`
	DisplayName         string           `json:"displayName"`
	RegionalDisplayName string           `json:"regionalDisplayName"`
	Metadata            locationMetadata `json:"metadata"`
}

func showLocation(scope azure.ResourceID, l Location) location {
	id := scope.String() + "/locations/"
	out := location{
		ID: id + l.Name, Name: l.Name, Type: "Region", DisplayName: l.DisplayName, RegionalDisplayName: l.DisplayName,
		Metadata: locationMetadata{
			RegionType: "Physical", RegionCategory: "Other", GeographyGroup: l.Geography, PhysicalLocation: l.PhysicalLocation,
		},
	}
	switch {
	case l.Logical:
		out.Metadata.RegionType = "Logical"
	case l.PairedRegion != "":
		out.Metadata.RegionCategory = "Recommended"
	}
	if l.Geography != "" && !l.Logical {
		out.RegionalDisplayName = "(" + l.Geography + ") " + l.DisplayName
	}
	if l.PairedRegion != "" {
		out.Metadata.PairedRegion = []pairedRegion{{l.PairedRegion, id + l.PairedRegion}}
	}
	return out
}
