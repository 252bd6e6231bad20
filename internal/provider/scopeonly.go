package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// scopeOnly declares a resource type that Lanyard keeps and does nothing with:
// it is there to be a scope of roles, to have identities, and to be named by
// other resources. Its properties are any JSON object, which comes back as it
// was written but for the secrets in it (see writeOnly) and what the service
// says itself. It is done as soon as it is answered.
type scopeOnly struct {
	name     string
	versions []string
	// untracked types have neither location nor tags: parts of another resource.
	untracked bool
	// global types have no region: their location is "global".
	global bool
	// members are as in arm.Spec.
	members []string
	// etag says that the type has an entity tag, and conditional requests.
	etag bool
	// stateless types show no provisioningState.
	stateless bool
	// guids are the properties in which the service puts a GUID that the resource
	// keeps for its life.
	guids []string
	// created and inline are as in arm.Spec.
	created int
	inline  map[string]string
}

// define makes the type.
func (d scopeOnly) define() arm.Type {
	spec := arm.Spec{
		Name: d.name, Versions: d.versions, In: arm.AtResourceGroup, Tracked: !d.untracked, Members: d.members,
		ProvisioningState: !d.stateless, Created: d.created, Inline: d.inline,
	}
	if d.etag {
		spec.ETag = "etag"
	}
	if d.global {
		spec.Locations = []string{"global"}
	}
	return arm.Define(spec, arm.Hooks[rawJSON]{
		Put: func(_ context.Context, p *arm.Put[rawJSON]) error { return d.put(p) },
	})
}

// put takes out of the properties what is never shown, and puts in what the
// service says.
func (d scopeOnly) put(p *arm.Put[rawJSON]) error {
	props, err := decodeProperties(p.New.Properties)
	if err != nil {
		return err
	}
	var old map[string]any
	if p.Old != nil {
		if old, err = decodeProperties(p.Old.Properties); err != nil {
			return err
		}
	}
	dropWriteOnly(props)
	dropMember(props, "provisioningState") // the engine's
	for _, name := range d.guids {
		dropMember(props, name)
		if id, ok := old[name]; ok {
			props[name] = id
		} else {
			props[name] = uuid.NewString()
		}
	}
	if p.New.Properties, err = json.Marshal(props); err != nil {
		return fmt.Errorf("encoding the properties of %s: %w", p.ID, err)
	}
	return nil
}

// decodeProperties decodes an object whose numbers stay as they are written. The
// engine has checked that it is one.
func decodeProperties(text rawJSON) (map[string]any, error) {
	props := map[string]any{}
	if len(text) == 0 {
		return props, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&props); err != nil {
		return nil, fmt.Errorf("decoding properties: %w", err)
	}
	return props, nil
}

// writeOnly are the members, at any depth and in any case, that Azure takes and
// never gives back, since they are secret or may hold secrets: of a machine's
// osProfile, its cloud-init text, and of its extensions. They are not stored
// either. For unattended set-up see [dropWriteOnly].
var writeOnly = []string{"adminPassword", "customData", "userData", "protectedSettings"}

// dropWriteOnly removes what is write-only, and the content of unattended set-up
// (additionalUnattendContent), which holds the passwords of automatic logons.
func dropWriteOnly(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			dropWriteOnly(item)
		}
	case map[string]any:
		for name, member := range v {
			if slices.ContainsFunc(writeOnly, func(secret string) bool { return azure.EqualFold(secret, name) }) {
				delete(v, name)
				continue
			}
			if items, ok := member.([]any); ok && azure.EqualFold(name, "additionalUnattendContent") {
				for _, item := range items {
					dropMember(item, "content")
				}
			}
			dropWriteOnly(member)
		}
	}
}

// dropMember removes a member of an object, whatever its case.
func dropMember(object any, name string) {
	members, ok := object.(map[string]any)
	if !ok {
		return
	}
	for member := range members {
		if azure.EqualFold(member, name) {
			delete(members, member)
		}
	}
}
