package provider

import "github.com/lanyard-id/lanyard/internal/arm"

// Types is the table of all resource types: one line each. Everything that
// Lanyard says of what it serves (/providers, the RBAC actions, the coverage
// page) comes from it.
func Types(cfg Config) []arm.Type {
	types := []arm.Type{}
	return types
}
