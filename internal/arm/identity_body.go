package arm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// identityBody is an identity block as clients write it. Read-only members that
// they echo (principalId, tenantId, clientId) are left alone.
type identityBody struct {
	Type         *string                    `json:"type"`
	UserAssigned map[string]json.RawMessage `json:"userAssignedIdentities"`
}

// identityChange is what an identity block says of one user-assigned identity.
type identityChange struct {
	id     azure.ResourceID
	remove bool
}

// composeIdentity makes the block that the body asks for, and notes which
// identities it names. A PUT replaces the whole set; a PATCH merges: {} adds an
// identity, null removes it, and the type must fit what comes of that. Without a
// block in the body all stays as it is.
func (w *writing) composeIdentity(old *record) (*Identity, error) {
	var before *Identity
	if old != nil {
		before = old.Identity
	}
	w.named = nil
	raw := w.content.Identity
	if raw == nil {
		return before.clone(), nil
	}
	var body identityBody
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, invalidContent(w.body, "identity", err)
	}
	kind := before.Type()
	switch {
	case body.Type != nil:
		kind = *body.Type
	case !w.patch:
		return nil, w.invalidIdentity("identity", "Required property 'type' not found in JSON")
	}
	system, user, ok := parseIdentityType(kind)
	if !ok {
		return nil, w.invalidIdentity("identity.type", fmt.Sprintf(
			"Error converting value \"%s\": the type of an identity is '%s', '%s', '%s' or '%s'",
			kind, IdentityNone, IdentitySystemAssigned, IdentityUserAssigned, IdentityBoth))
	}
	changes, err := w.identityChanges(body.UserAssigned)
	if err != nil {
		return nil, err
	}
	next := &Identity{SystemAssigned: system}
	if user && w.patch {
		next.UserAssigned = before.clone().list()
	}
	for _, c := range changes {
		if !c.remove && !user {
			return nil, errIdentity(w.target.id,
				"The request format was unexpected, a non-UserAssigned identity type should not contain: userAssignedIdentities")
		}
		next.change(before, c)
		if !c.remove {
			w.named = append(w.named, c.id)
		}
	}
	if user && len(next.UserAssigned) == 0 {
		return nil, azure.Errorf(http.StatusBadRequest, "MissingIdentityIds",
			"The identity ids must not be null or empty for 'UserAssigned' identity type.")
	}
	next.sort()
	return next, nil
}

// list gives the attached identities; none of no block.
func (i *Identity) list() []AttachedIdentity {
	if i == nil {
		return nil
	}
	return i.UserAssigned
}

// change adds or removes an identity. One that is attached already keeps its
// principal; its spelling is the old one in a PATCH, the new one in a PUT, which
// starts with none.
func (i *Identity) change(before *Identity, c identityChange) {
	at := i.attached(c.id)
	switch {
	case c.remove && at >= 0:
		i.UserAssigned = slices.Delete(i.UserAssigned, at, at+1)
	case !c.remove && at < 0:
		a := AttachedIdentity{ID: c.id}
		if was := before.attached(c.id); was >= 0 {
			a.PrincipalID, a.ClientID = before.UserAssigned[was].PrincipalID, before.UserAssigned[was].ClientID
		}
		i.UserAssigned = append(i.UserAssigned, a)
	}
}

// identityChanges reads the map of user-assigned identities, in the order of the
// folded IDs. The same identity in two spellings is one, unless one of them adds
// and the other removes it.
func (w *writing) identityChanges(entries map[string]json.RawMessage) ([]identityChange, error) {
	changes := map[string]identityChange{}
	for _, text := range slices.Sorted(maps.Keys(entries)) {
		const path = "identity.userAssignedIdentities"
		id, err := azure.ParseResourceID(text)
		if err != nil || id.IsRoot() {
			return nil, azure.Errorf(http.StatusBadRequest, "LinkedInvalidPropertyId",
				"Property id '%s' at path '%s' is invalid. Expect fully qualified resource Id that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'.",
				text, path)
		}
		c := identityChange{id: id, remove: isNull(entries[text])}
		switch {
		case c.remove && !w.patch:
			return nil, w.invalidIdentity(path+"['"+text+"']", "A PUT names the identities that the resource is to have, each with an object; null removes one in a PATCH")
		case !c.remove && !bytes.HasPrefix(bytes.TrimSpace(entries[text]), []byte("{")):
			return nil, w.invalidIdentity(path+"['"+text+"']", "A JSON object is expected")
		}
		if twin, twice := changes[id.Key()]; twice {
			if twin.remove != c.remove {
				return nil, w.invalidIdentity(path, fmt.Sprintf("'%s' and '%s' name the same identity, once to add and once to remove it", twin.id, c.id))
			}
			continue
		}
		changes[id.Key()] = c
	}
	ordered := make([]identityChange, 0, len(changes))
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		ordered = append(ordered, changes[key])
	}
	return ordered, nil
}

func (w *writing) invalidIdentity(path, detail string) error {
	return invalidContent(w.body, path, errors.New(detail))
}

// parseIdentityType reads a block's type: its two words in any case and order,
// with or without spaces.
func parseIdentityType(text string) (system, user, ok bool) {
	folded := azure.Fold(strings.Join(strings.Fields(text), ""))
	if folded == "none" {
		return false, false, true
	}
	for word := range strings.SplitSeq(folded, ",") {
		switch {
		case word == "systemassigned" && !system:
			system = true
		case word == "userassigned" && !user:
			user = true
		default:
			return false, false, false
		}
	}
	return system, user, true
}
