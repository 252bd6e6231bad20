package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Envelope is a stored resource as it looks on the wire.
type Envelope struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Location   string            `json:"location,omitempty"`
	Tags       map[string]string `json:"tags,omitzero"`
	Kind       string            `json:"kind,omitempty"`
	ManagedBy  string            `json:"managedBy,omitempty"`
	SKU        json.RawMessage   `json:"sku,omitempty"`
	Identity   json.RawMessage   `json:"identity,omitempty"`
	Plan       json.RawMessage   `json:"plan,omitempty"`
	Zones      json.RawMessage   `json:"zones,omitempty"`
	Properties json.RawMessage   `json:"properties,omitempty"`
	SystemData *SystemData       `json:"systemData,omitempty"`

	// What follows is for those who list resources of all types; a resource's
	// own wire form has it elsewhere.
	ProvisioningState string    `json:"-"`
	CreatedTime       time.Time `json:"-"`
	ChangedTime       time.Time `json:"-"`
}

// envelope makes the wire form without the properties and the identity.
func (t *Type) envelope(rec *record) Envelope {
	env := Envelope{
		ID: rec.ID.String(), Name: rec.ID.Name(), Type: t.spec.Name, Location: rec.Location, Tags: rec.Tags,
		Kind: rec.Kind, ManagedBy: rec.ManagedBy, SKU: rec.SKU, Plan: rec.Plan, Zones: rec.Zones,
		ProvisioningState: rec.ProvisioningState, CreatedTime: rec.SystemData.CreatedAt, ChangedTime: rec.SystemData.LastModifiedAt,
	}
	if azure.EqualFold(t.spec.Name, resourceGroupType) {
		env.Type = "Microsoft.Resources/resourceGroups"
	}
	if t.spec.SystemData {
		env.SystemData = &rec.SystemData
	}
	return env
}

// present makes a resource's whole wire form.
func (e *Engine) present(ctx context.Context, t *Type, rec *record) (json.RawMessage, error) {
	env := t.envelope(rec)
	shown, err := t.properties(ctx, rec)
	if err != nil {
		return nil, err
	}
	if env.Properties, err = e.showInline(ctx, t, rec, shown); err != nil {
		return nil, err
	}
	if env.Identity, err = e.showIdentity(ctx, rec); err != nil {
		return nil, fmt.Errorf("showing the identity of %s: %w", rec.ID, err)
	}
	if t.spec.ProvisioningState {
		env.Properties = insertMember(env.Properties, "provisioningState", rec.ProvisioningState)
	}
	text, err := json.Marshal(env)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", rec.ID, err)
	}
	if t.spec.ETag != "" && rec.Revision != 0 {
		text = insertMember(text, t.spec.ETag, rec.ETag())
	}
	return text, nil
}

// properties encodes what the type shows of its properties.
func (t *Type) properties(ctx context.Context, rec *record) (json.RawMessage, error) {
	shown, err := t.stored.show(ctx, rec)
	if err != nil {
		return nil, fmt.Errorf("showing %s: %w", rec.ID, err)
	}
	text, plain := shown.(rawJSON) // as they are stored
	if !plain {
		if text, err = json.Marshal(shown); err != nil {
			return nil, fmt.Errorf("encoding the properties of %s: %w", rec.ID, err)
		}
	}
	if len(text) == 0 || text[0] != '{' {
		return nil, fmt.Errorf("the properties of %s are not an object", rec.ID)
	}
	return text, nil
}

// insertMember puts a string member at the front of an object's text.
func insertMember(object json.RawMessage, name, value string) json.RawMessage {
	quoted, _ := json.Marshal(value) // a string always encodes
	return insertRaw(object, name, quoted)
}

// insertRaw puts a member at the front of an object's text.
func insertRaw(object json.RawMessage, name string, value json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{%q:%s`, name, value)
	if len(object) > 2 {
		b.WriteByte(',')
		b.Write(object[1:])
	} else {
		b.WriteByte('}')
	}
	return b.Bytes()
}
