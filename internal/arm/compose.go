package arm

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// compose makes the new record from the body, over nothing or over the old one.
func (w *writing) compose(old *record) (*record, error) {
	spec := &w.target.typ.spec
	fresh := &record{ID: w.canonicalID(old), TenantID: w.request.TenantID, ProvisioningState: Succeeded, SystemData: w.systemData(old)}
	c := w.content
	if err := w.keepMembers(); err != nil {
		return nil, err
	}
	identity, err := w.composeIdentity(old)
	if err != nil {
		return nil, err
	}
	if w.patch {
		shown, err := w.target.typ.properties(w.ctx, old)
		if err != nil {
			return nil, err
		}
		kept := *fresh
		*fresh = *old
		fresh.ID, fresh.ProvisioningState, fresh.SystemData = old.ID, kept.ProvisioningState, kept.SystemData
		if fresh.Properties, err = mergePatch(shown, c.Properties); err != nil {
			return nil, invalidContent(w.body, "properties", err)
		}
		if fresh.SKU, err = mergeMember(old.SKU, c.SKU); err != nil {
			return nil, invalidContent(w.body, "sku", err)
		}
	} else {
		fresh.Properties, fresh.SKU = c.Properties, c.SKU
	}
	fresh.Identity = identity
	if c.Plan != nil || !w.patch {
		fresh.Plan = c.Plan
	}
	if c.Zones != nil || !w.patch {
		fresh.Zones = c.Zones
	}
	setString(&fresh.Kind, c.Kind, w.patch)
	setString(&fresh.ManagedBy, c.ManagedBy, w.patch)
	if spec.Tracked {
		if c.Tags != nil {
			fresh.Tags = c.tags()
		}
		if err := w.place(fresh, old); err != nil {
			return nil, err
		}
	}
	return fresh, w.checkState(old)
}

// keepMembers drops the members of the envelope that the type doesn't have.
func (w *writing) keepMembers() error {
	c, has := w.content, w.target.typ.spec.has
	if c.Identity != nil && !has("identity") {
		var identity struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(c.Identity, &identity); err != nil {
			return invalidContent(w.body, "identity", err)
		}
		if identity.Type != "" && !azure.EqualFold(identity.Type, "None") {
			return errIdentity(w.target.id, "The resource type '%s' does not support managed identities.", w.target.typ.spec.Name)
		}
		c.Identity = nil
	}
	for member, drop := range map[string]func(){
		"kind": func() { c.Kind = nil }, "managedBy": func() { c.ManagedBy = nil }, "plan": func() { c.Plan = nil },
		"sku": func() { c.SKU = nil }, "zones": func() { c.Zones = nil },
	} {
		if !has(member) {
			drop()
		}
	}
	return nil
}

// mergeMember patches a member of the envelope that is an object.
func mergeMember(old, patch json.RawMessage) (json.RawMessage, error) {
	if patch == nil {
		return old, nil
	}
	return mergePatch(old, patch)
}

func setString(to, from *string, patch bool) {
	switch {
	case from != nil:
		*to = *from
	case !patch:
		*to = ""
	}
}

// canonicalID spells the ID as Azure does: keywords and types as the table, the
// resource group and parent as they are stored, the resource's own name as the
// client did last.
func (w *writing) canonicalID(old *record) azure.ResourceID {
	t := w.target
	if w.patch {
		return old.ID
	}
	if w.isGroup() {
		return t.id
	}
	name := t.typ.spec.Name
	short := name[strings.LastIndexByte(name, '/')+1:]
	if parent := w.request.parent; parent != nil {
		return parent.ID.Child(short, t.name)
	}
	if w.group != nil && t.id.Parent().Equal(w.group.ID) {
		return w.group.ID.Resource(t.id.Namespace(), short, t.name)
	}
	return t.id
}

// place applies the rules for locations: required, known, immutable. In a PATCH
// the location is ignored, as on Azure.
func (w *writing) place(fresh, old *record) error {
	spec, c := &w.target.typ.spec, w.content
	if w.patch {
		return nil
	}
	if c.Location == nil || strings.TrimSpace(*c.Location) == "" {
		return azure.Errorf(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	}
	location := azure.NormalizeLocation(strings.TrimSpace(*c.Location))
	group := w.isGroup()
	if old != nil && old.Location != location {
		if group {
			return azure.Errorf(http.StatusConflict, "InvalidResourceGroupLocation",
				"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", location, old.Location)
		}
		return azure.Errorf(http.StatusConflict, "InvalidResourceLocation",
			"The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.",
			old.ID.Name(), old.Location, old.ID.ResourceGroup(), location)
	}
	if known := w.engine.locationsOf(spec); !slices.Contains(known, location) {
		if group {
			return azure.Errorf(http.StatusBadRequest, "LocationNotAvailableForResourceGroup",
				"The provided location '%s' is not available for resource group. List of available regions is '%s'.", *c.Location, strings.Join(known, ","))
		}
		return azure.Errorf(http.StatusBadRequest, "LocationNotAvailableForResourceType",
			"The provided location '%s' is not available for resource type '%s'. List of available regions for the resource type is '%s'.",
			*c.Location, spec.Name, strings.Join(known, ","))
	}
	fresh.Location = location
	return nil
}

// checkState refuses a provisioningState in a PUT that isn't the server's own.
func (w *writing) checkState(old *record) error {
	if !w.target.typ.spec.ProvisioningState || w.content.Properties == nil {
		return nil
	}
	var p struct{ ProvisioningState *string }
	if err := json.Unmarshal(w.content.Properties, &p); err != nil {
		return invalidContent(w.body, "properties", err)
	}
	state := Succeeded
	if old != nil {
		state = old.ProvisioningState
	}
	if p.ProvisioningState == nil || azure.EqualFold(*p.ProvisioningState, state) {
		return nil
	}
	err := azure.Errorf(http.StatusBadRequest, "InvalidRequestContent",
		"The request content was invalid: the provisioningState '%s' in it is read-only and does not match the resource's, which is '%s'.",
		*p.ProvisioningState, state)
	err.Target = "properties.provisioningState"
	return err
}

// systemData notes who writes.
func (x *exchange) systemData(old *record) SystemData {
	c := x.request.Caller
	kind := "Application"
	switch {
	case c.Type == azure.User:
		kind = "User"
	case c.IdentityResourceID != "":
		kind = "ManagedIdentity"
	}
	data := SystemData{CreatedBy: c.DisplayName(), CreatedByType: kind, CreatedAt: x.now}
	if old != nil {
		data = old.SystemData
	}
	data.LastModifiedBy, data.LastModifiedByType, data.LastModifiedAt = c.DisplayName(), kind, x.now
	return data
}
