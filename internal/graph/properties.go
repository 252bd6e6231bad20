package graph

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// A property is one that clients keep with an object and nothing here acts upon.
// Terraform and people set them and expect to find them again.
type property struct {
	name string
	form form
	// initial is the JSON that is shown until a client sets another; where it is
	// an object, those are the members that there are, and a write may name some
	// of them.
	initial string
	// values are the only ones possible, if not nil.
	values []string
}

// form is the type of a property.
type form string

const (
	formText    form = "Edm.String"
	formBool    form = "Edm.Boolean"
	formList    form = "Collection"
	formComplex form = "Complex"
)

// schema is what one kind of object keeps.
type schema struct {
	resource   string
	properties []property
	// fixed are shown always and cannot be set.
	fixed map[string]string // JSON
}

// show puts the kept properties, with the others' initial values, into e.
func (s schema) show(e entity, kept map[string]json.RawMessage) {
	for name, value := range s.fixed {
		e[name] = json.RawMessage(value)
	}
	for _, p := range s.properties {
		e[p.name] = json.RawMessage(p.initial)
		if value, ok := kept[p.name]; ok {
			e[p.name] = value
		}
	}
}

// find gives the property of that name, whose case does not count.
func (s schema) find(name string) (property, bool) {
	i := slices.IndexFunc(s.properties, func(p property) bool { return azure.EqualFold(p.name, name) })
	if i < 0 {
		return property{}, false
	}
	return s.properties[i], true
}

// merge gives the properties that are kept after a write of body: a complex
// property's members that it does not name stay as they are. What the caller
// reads itself must not be in body any more; anything else is an error.
func (s schema) merge(kept, body map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	merged := maps.Clone(kept)
	if merged == nil {
		merged = map[string]json.RawMessage{}
	}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		if strings.Contains(name, "@") && !strings.HasSuffix(name, ".bind") {
			continue // an annotation, such as tags@odata.type
		}
		p, ok := s.find(name)
		if !ok {
			return nil, badRequest("Invalid property '%s'.", name)
		}
		value, err := p.merge(s.resource, merged[p.name], body[name])
		if err != nil {
			return nil, err
		}
		if string(value) == p.initial {
			delete(merged, p.name)
			continue
		}
		merged[p.name] = value
	}
	if len(merged) == 0 {
		return nil, nil
	}
	return merged, nil
}

// merge gives the property's value after a write.
func (p property) merge(resource string, kept, value json.RawMessage) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return nil, malformedBody("The value of the property '" + p.name + "' is not valid JSON.")
	}
	value = b.Bytes()
	if string(value) == "null" {
		if p.form == formText || p.form == formBool || p.initial == "null" {
			return value, nil
		}
		return json.RawMessage(p.initial), nil
	}
	wrong := invalidValue(p.name, resource, "It is not of the type "+string(p.form)+".")
	switch p.form {
	case formText:
		var s string
		if json.Unmarshal(value, &s) != nil {
			return nil, wrong
		}
		if p.values != nil && !slices.Contains(p.values, s) {
			return nil, invalidValue(p.name, resource, "It is one of "+strings.Join(p.values, ", ")+".")
		}
	case formBool:
		var v bool
		if json.Unmarshal(value, &v) != nil {
			return nil, wrong
		}
	case formList:
		var v []json.RawMessage
		if json.Unmarshal(value, &v) != nil {
			return nil, wrong
		}
	case formComplex:
		if value[0] != '{' {
			return nil, wrong
		}
		if kept == nil {
			kept = json.RawMessage(p.initial)
		}
		return mergeObject(p.name, kept, value)
	}
	return value, nil
}

// mergeObject writes the members of value over those of kept. Where kept is null
// every member is taken; else it must have each already.
func mergeObject(path string, kept, value json.RawMessage) (json.RawMessage, error) {
	var old, members map[string]json.RawMessage
	if json.Unmarshal(kept, &old) != nil || json.Unmarshal(value, &members) != nil {
		return nil, malformedBody("The value of the property '" + path + "' is not valid JSON.")
	}
	if old == nil {
		return value, nil
	}
	for name, member := range members {
		if strings.Contains(name, "@") {
			continue
		}
		before, ok := old[name]
		if !ok {
			return nil, badRequest("Invalid property '%s/%s'.", path, name)
		}
		switch {
		case len(before) > 0 && before[0] == '{' && len(member) > 0 && member[0] == '{':
			merged, err := mergeObject(path+"/"+name, before, member)
			if err != nil {
				return nil, err
			}
			old[name] = merged
		case len(before) > 0 && before[0] == '[' && string(member) == "null":
			old[name] = json.RawMessage("[]")
		default:
			old[name] = member
		}
	}
	return json.Marshal(old)
}

// keptText gives a kept property that is text, or nil.
func keptText(kept map[string]json.RawMessage, name string) any {
	var s *string
	if json.Unmarshal(kept[name], &s) != nil || s == nil {
		return nil
	}
	return *s
}
