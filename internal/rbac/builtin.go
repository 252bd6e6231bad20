package rbac

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// builtInData is Microsoft's built-in role definitions as of 2026-08-22:
// identifiers, names and permissions, one role a line. NOTICE names its origin.
//
//go:embed builtin_roles.json
var builtInData string

// builtIn is one line of the data, decoded when the role is first used: a
// process uses few of the 928, and decoding them all takes longer than the
// rest of the start.
type builtIn struct {
	name string
	role func() *role
}

// builtInIndex finds a role's line by ID and by name.
type builtInIndex struct {
	byID   map[string]*builtIn
	byName map[string]*builtIn // folded
	sorted []*builtIn          // by name, without regard to case
}

// builtIns reads the index: of every line, only the ID and the name, which come
// first. The data is part of the program and a test decodes all of it, so that
// a fault in it is a programming error.
var builtIns = sync.OnceValue(func() *builtInIndex {
	ix := &builtInIndex{byID: map[string]*builtIn{}, byName: map[string]*builtIn{}}
	for line := range strings.Lines(builtInData) {
		line = strings.TrimRight(line, ",\r\n")
		rest, ok := strings.CutPrefix(line, `{"id":"`)
		if !ok {
			continue // the brackets around the list
		}
		id, rest, ok := strings.Cut(rest, `","roleName":"`)
		if !ok {
			panic("rbac: built-in role without a name: " + line)
		}
		name, _, ok := strings.Cut(rest, `","permissions":`)
		if !ok {
			panic("rbac: built-in role without permissions: " + line)
		}
		b := &builtIn{name: name, role: sync.OnceValue(func() *role { return decodeBuiltIn(line) })}
		ix.byID[id] = b
		ix.byName[azure.Fold(name)] = b
		ix.sorted = append(ix.sorted, b)
	}
	slices.SortFunc(ix.sorted, func(a, b *builtIn) int {
		return strings.Compare(azure.Fold(a.name), azure.Fold(b.name))
	})
	return ix
})

func decodeBuiltIn(line string) *role {
	var def RoleDefinition
	if err := json.Unmarshal([]byte(line), &def); err != nil {
		panic(fmt.Sprintf("rbac: built-in role %s: %v", line, err))
	}
	def.AssignableScopes = []string{"/"}
	return compileRole(&def)
}

// builtInRole gives a compiled built-in role by its canonical GUID.
func builtInRole(id string) (*role, bool) {
	b, ok := builtIns().byID[id]
	if !ok {
		return nil, false
	}
	return b.role(), true
}

// BuiltIn gives a built-in role by GUID, in any case, with dashes or without.
func BuiltIn(id string) (RoleDefinition, bool) {
	canonical, ok := parseGUID(id)
	if !ok {
		return RoleDefinition{}, false
	}
	r, ok := builtInRole(canonical)
	if !ok {
		return RoleDefinition{}, false
	}
	return *r.def, true
}

// BuiltIns gives all built-in roles, sorted by name.
func BuiltIns() []RoleDefinition {
	ix := builtIns()
	defs := make([]RoleDefinition, 0, len(ix.sorted))
	for _, b := range ix.sorted {
		defs = append(defs, *b.role().def)
	}
	return defs
}
