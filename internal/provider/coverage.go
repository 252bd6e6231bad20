package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
)

// Coverage writes the page of what the Resource Manager serves, in Markdown,
// from the table of types: docs/arm.md.
func Coverage(types []arm.Type) string {
	var b strings.Builder
	b.WriteString(`# What the Resource Manager serves

This page is made from the table of types (internal/provider/table.go); a test keeps it current.

Every type accepts any well-formed api-version from the oldest one that it lists on, so that clients of every age
meet the same service; with strictAzure only the listed ones. The RBAC action is what a caller's role must allow
at the address; where there is none a token is enough, or the list shows only what the caller may see.
`)
	sorted := slices.Clone(types)
	slices.SortStableFunc(sorted, func(a, b arm.Type) int { return strings.Compare(a.Spec().Name, b.Spec().Name) })
	namespace := ""
	for _, t := range sorted {
		spec := t.Spec()
		ns, _, _ := strings.Cut(spec.Name, "/")
		if ns != namespace {
			namespace = ns
			fmt.Fprintf(&b, "\n## %s\n", ns)
		}
		fmt.Fprintf(&b, "\n### %s\n\napi-versions: %s\n\n", spec.Name, strings.Join(spec.Versions, ", "))
		b.WriteString("| | address | RBAC action |\n|---|---|---|\n")
		for _, op := range append(t.Operations(), t.Actions()...) {
			action := "none"
			if op.Action != "" {
				action = "`" + op.Action + "`"
			}
			method := op.Method
			if op.LongRunning {
				method += " (long-running)"
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", method, op.Path, action)
		}
	}
	return b.String()
}

// Actions lists the RBAC actions that the types ask for, each once.
func Actions(types []arm.Type) []string {
	var actions []string
	for _, t := range types {
		for _, op := range append(t.Operations(), t.Actions()...) {
			if op.Action != "" {
				actions = append(actions, op.Action)
			}
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}
