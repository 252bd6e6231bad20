package arm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The provisioning states that the engine gives by itself. A type's own steps
// may set others ("Upgrading").
const (
	Succeeded = "Succeeded"
	Failed    = "Failed"
	Canceled  = "Canceled"
	Creating  = "Creating"
	Updating  = "Updating"
	Deleting  = "Deleting"
)

// SystemData is ARM's systemData: who made and last changed a resource.
type SystemData struct {
	CreatedBy          string    `json:"createdBy"`
	CreatedByType      string    `json:"createdByType"` // "User", "Application" or "ManagedIdentity"
	CreatedAt          time.Time `json:"createdAt"`
	LastModifiedBy     string    `json:"lastModifiedBy"`
	LastModifiedByType string    `json:"lastModifiedByType"`
	LastModifiedAt     time.Time `json:"lastModifiedAt"`
}

// Resource is a stored resource with properties P. Its JSON is the stored form;
// the wire form is made from it by the engine.
type Resource[P any] struct {
	// ID is in canonical spelling, except for names: those are as they were
	// last written by a client.
	ID       azure.ResourceID  `json:"id"`
	TenantID string            `json:"tenantId"`
	Location string            `json:"location,omitempty"` // canonical: "westeurope"
	Tags     map[string]string `json:"tags,omitzero"`
	Kind     string            `json:"kind,omitempty"`
	// ManagedBy is the ID of the resource that manages this one.
	ManagedBy string `json:"managedBy,omitempty"`
	// SKU, Plan and Zones are kept as the client wrote them; a type with rules
	// for them has its Put hook apply them.
	SKU   json.RawMessage `json:"sku,omitempty"`
	Plan  json.RawMessage `json:"plan,omitempty"`
	Zones json.RawMessage `json:"zones,omitempty"`
	// Identity is the identity block; nil where the resource never had one.
	Identity *Identity `json:"identity,omitempty"`
	// Properties are the type's own, in stored form.
	Properties P          `json:"properties"`
	SystemData SystemData `json:"systemData"`
	// ProvisioningState is Succeeded, Failed, or that of a running operation.
	ProvisioningState string `json:"provisioningState,omitempty"`
	// Operation is the ID of the running operation, empty when there is none.
	Operation string `json:"operation,omitempty"`
	// Revision is the store's revision of the last change, from which the
	// entity tag is made. Zero in a resource that isn't committed yet.
	Revision int64 `json:"-"`
}

// record is a stored resource of whatever type.
type record = Resource[rawJSON]

// rawJSON are properties of whatever type.
type rawJSON = json.RawMessage

// ETag gives the entity tag of a committed resource, with its quotes.
func (r *Resource[P]) ETag() string { return `"` + strconv.FormatInt(r.Revision, 16) + `"` }

// Key gives the store's key of a resource that [Define]'s types store: "arm"
// and [azure.ResourceID.Key], such as "arm/subscriptions/{s}/resourcegroups/rg";
// IDs outside of a subscription are kept by tenant.
func Key(tenantID string, id azure.ResourceID) string {
	if id.SubscriptionID() == "" {
		return "arm/tenants/" + azure.Fold(tenantID) + id.Key()
	}
	return "arm" + id.Key()
}

// Decode reads the stored form of a resource, as a view over [Key]s finds it.
func Decode[P any](value []byte, revision int64) (*Resource[P], error) {
	var res Resource[P]
	if err := json.Unmarshal(value, &res); err != nil {
		return nil, fmt.Errorf("decoding a stored resource: %w", err)
	}
	res.Revision = revision
	return &res, nil
}

// typed gives the record's properties their type.
func typed[P any](rec *record) (*Resource[P], error) {
	if rec == nil {
		return nil, nil
	}
	res := Resource[P]{
		ID: rec.ID, TenantID: rec.TenantID, Location: rec.Location, Tags: rec.Tags, Kind: rec.Kind,
		ManagedBy: rec.ManagedBy, SKU: rec.SKU, Identity: rec.Identity.clone(), Plan: rec.Plan, Zones: rec.Zones,
		SystemData: rec.SystemData, ProvisioningState: rec.ProvisioningState, Operation: rec.Operation,
		Revision: rec.Revision,
	}
	if len(rec.Properties) > 0 {
		if err := json.Unmarshal(rec.Properties, &res.Properties); err != nil {
			return nil, fmt.Errorf("decoding the stored properties of %s: %w", rec.ID, err)
		}
	}
	return &res, nil
}

// untyped takes what a hook may have changed back into the record. The identity
// is a Put hook's to change; see Define.
func untyped[P any](res *Resource[P], rec *record) error {
	props, err := json.Marshal(res.Properties)
	if err != nil {
		return fmt.Errorf("encoding the properties of %s: %w", rec.ID, err)
	}
	if string(props) == "null" {
		props = json.RawMessage("{}")
	}
	rec.Location, rec.Tags, rec.Kind, rec.ManagedBy = res.Location, res.Tags, res.Kind, res.ManagedBy
	rec.SKU, rec.Plan, rec.Zones = res.SKU, res.Plan, res.Zones
	rec.Properties, rec.ProvisioningState = props, res.ProvisioningState
	return nil
}
