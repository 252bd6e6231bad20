package provider

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/rbac"
)

// TestCoverage keeps docs/arm.md current; -update rewrites it.
func TestCoverage(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "arm.md")
	got := Coverage(Types(Config{}))
	if cloudtest.Updating() {
		cloudtest.Must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		cloudtest.Must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	cloudtest.Must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/arm.md is not current, run the test with -update (-want +got):\n%s", diff)
	}
}

// inNoRole are actions that Azure has, and names in no built-in role.
var inNoRole = []string{
	"Microsoft.Features/providers/features/unregister/action",
	"Microsoft.ManagedIdentity/identities/read",
	"Microsoft.ManagedIdentity/userAssignedIdentities/listAssociatedResources/action",
	"Microsoft.Subscription/aliases/delete",
	"Microsoft.Subscription/aliases/read",
	"Microsoft.Subscription/aliases/write",
	"Microsoft.Subscription/cancel/action", // but as what a Contributor may not
	"Microsoft.Subscription/enable/action",
	"Microsoft.Subscription/rename/action",
}

// Each action is one that Azure's roles know, by more than "*": one that is
// misspelt would be nobody's but the owner's.
func TestActionsAreAzures(t *testing.T) {
	var patterns []string
	for _, role := range rbac.BuiltIns() {
		for _, p := range role.Permissions {
			patterns = append(patterns, p.Actions...)
		}
	}
	for _, action := range Actions(Types(Config{})) {
		if strings.HasPrefix(action, "{name}/") {
			continue // of the namespace in the path
		}
		if slices.Contains(inNoRole, action) {
			continue
		}
		known := func(pattern string) bool {
			return pattern != "*" && pattern != "*/read" && pattern != "*/action" && rbac.Match(pattern, action)
		}
		if !slices.ContainsFunc(patterns, known) {
			t.Errorf("no built-in role names %s", action)
		}
	}
}

// The table is one that the engine takes, and each type says where it lies.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, typ := range Types(Config{}) {
		spec := typ.Spec()
		if seen[spec.Name] {
			t.Errorf("%s is listed twice", spec.Name)
		}
		seen[spec.Name] = true
		if spec.In == 0 && len(spec.Collections)+len(spec.Items) == 0 {
			t.Errorf("%s lies nowhere", spec.Name)
		}
		if len(typ.Operations()) == 0 {
			t.Errorf("%s can do nothing", spec.Name)
		}
		for i := 1; i < len(spec.Versions); i++ {
			if spec.Versions[i][:10] > spec.Versions[i-1][:10] {
				t.Errorf("%s lists %s after %s; the newest is first", spec.Name, spec.Versions[i], spec.Versions[i-1])
			}
		}
		if spec.Tracked && spec.In&(arm.AtResourceGroup|arm.AtSubscription) == 0 {
			t.Errorf("%s is tracked, but in no subscription", spec.Name)
		}
	}
}

func TestLocations(t *testing.T) {
	names := map[string]Location{}
	for _, l := range AzureLocations() {
		if _, twice := names[l.Name]; twice {
			t.Errorf("%s is listed twice", l.Name)
		}
		names[l.Name] = l
		if got := strings.ToLower(strings.ReplaceAll(l.DisplayName, " ", "")); got != l.Name {
			t.Errorf("%s is displayed as %q", l.Name, l.DisplayName)
		}
		if !l.Logical && (l.Geography == "" || l.PhysicalLocation == "") {
			t.Errorf("%s lies nowhere", l.Name)
		}
	}
	for _, l := range names {
		if l.PairedRegion != "" && names[l.PairedRegion].Name == "" {
			t.Errorf("%s is paired with %s, which isn't listed", l.Name, l.PairedRegion)
		}
	}
}
