// Package rbac decides what a principal may do at a scope, by Azure's own
// rules: built-in and custom role definitions, role assignments, conditions,
// the pure [Policy.Allow], and [Guard.Check], the only door, which decides and
// audits. It also owns how definitions and assignments are stored, with every
// rule that Azure Resource Manager has for them.
//
// It must not know HTTP, wire forms of resources, or any one plane's actions:
// a plane names the action and the scope. What it knows of principals comes
// from the directory's views. DESIGN.md, beside this file, holds the
// invariants.
package rbac
