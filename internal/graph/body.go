package graph

import (
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// body is a request's document. What an operation reads it takes out, so that
// what nobody took is an error.
type body map[string]json.RawMessage

// take removes a member, whose name's case does not count. A null is there.
func (b body) take(name string) (json.RawMessage, bool) {
	for have, value := range b {
		if azure.EqualFold(have, name) {
			delete(b, have)
			return value, true
		}
	}
	return nil, false
}

// has reports whether there is a member of that name.
func (b body) has(name string) bool {
	for have := range b {
		if azure.EqualFold(have, name) {
			return true
		}
	}
	return false
}

// takeInto takes a member into v. It reports whether it was there and not null.
func (b body) takeInto(resource, name string, v any) (bool, error) {
	value, ok := b.take(name)
	if !ok || string(value) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(value, v); err != nil {
		return false, invalidValue(name, resource, "It has the wrong type.")
	}
	return true, nil
}

// takeName takes a text that must not be null where it is given.
func (b body) takeName(resource, name string, v *string) (bool, error) {
	value, ok := b.take(name)
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(value, v); err != nil || string(value) == "null" {
		return false, invalidValue(name, resource, "It must be text.")
	}
	return true, nil
}

// takeReadOnly takes the members that a client cannot set. One that says what
// is so already does no harm: clients send back what they have read.
func (b body) takeReadOnly(current entity, names ...string) error {
	for _, name := range names {
		value, ok := b.take(name)
		if !ok || current == nil && string(value) == "null" {
			continue
		}
		if current == nil || !sameJSON(value, current[name]) {
			return badRequest("Property '%s' is read-only and cannot be set.", name)
		}
	}
	return nil
}

func sameJSON(value json.RawMessage, current any) bool {
	shown, err := json.Marshal(current)
	if err != nil {
		return false
	}
	var a, b any
	return json.Unmarshal(value, &a) == nil && json.Unmarshal(shown, &b) == nil && reflect.DeepEqual(a, b)
}

// takeReferences takes a member such as owners@odata.bind: the addresses of
// directory objects.
func (b body) takeReferences(resource, name string) ([]string, error) {
	var addresses []string
	if _, err := b.takeInto(resource, name, &addresses); err != nil {
		return nil, err
	}
	ids := make([]string, len(addresses))
	for i, address := range addresses {
		id, err := parseReference(address)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

// parseReference gives the object ID that an address ends with, such as
// "https://graph.microsoft.com/v1.0/directoryObjects/{id}". Only the ID counts,
// and it is looked up in the caller's tenant: clients write the host and the
// collection in several ways.
func parseReference(address string) (string, error) {
	invalid := badRequest("Invalid object reference '%s': it is the address of a directory object.", address)
	u, err := url.Parse(address)
	if err != nil {
		return "", invalid
	}
	_, _, path, err := parsePath(u.EscapedPath())
	if err != nil || len(path) != 2 || path[0].key != nil {
		return "", invalid
	}
	switch azure.Fold(path[0].text) {
	case "directoryobjects", "users", "serviceprincipals", "groups":
	default:
		return "", invalid
	}
	id := path[1].String()
	if !azure.IsGUID(id) {
		return "", invalid
	}
	return azure.Fold(id), nil
}

// period is a credential's life as clients write it. A time that is not given
// is zero.
type period struct {
	Start time.Time `json:"startDateTime"`
	End   time.Time `json:"endDateTime"`
}

// readReference reads the body of a $ref request: {"@odata.id": address}.
func readReference(r *request) (string, error) {
	b, err := readBody(r, false)
	if err != nil {
		return "", err
	}
	var address string
	if err := json.Unmarshal(b["@odata.id"], &address); err != nil || strings.TrimSpace(address) == "" {
		return "", malformedBody("The request body must have the member '@odata.id' with the address of a directory object.")
	}
	return parseReference(address)
}
