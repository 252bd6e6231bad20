package rbac

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// builtInDigest is the SHA-256 of the list of built-in roles that NOTICE names.
const builtInDigest = "8e53ec5ef02dc4d93cbac78e94ebe612eb8be03acf531fc8c2359fc760d2affc"

func TestBuiltInsAreTheList(t *testing.T) {
	sum := sha256.Sum256([]byte(builtInData))
	if got := hex.EncodeToString(sum[:]); got != builtInDigest {
		t.Errorf("the digest of builtin_roles.json is %s, want %s", got, builtInDigest)
	}
	var want []RoleDefinition // decoded as one document, not line by line
	if err := json.Unmarshal([]byte(builtInData), &want); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].AssignableScopes = []string{"/"}
	}
	slices.SortFunc(want, func(a, b RoleDefinition) int {
		return strings.Compare(strings.ToLower(a.RoleName), strings.ToLower(b.RoleName))
	})
	got := BuiltIns()
	if len(got) != 928 {
		t.Errorf("there are %d built-in roles, want 928", len(got))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("built-in roles differ from the list (-list +roles):\n%s", diff)
	}
}

func TestBuiltInsAreUnique(t *testing.T) {
	ids, names := map[string]string{}, map[string]string{}
	for _, r := range BuiltIns() {
		id, ok := parseGUID(r.ID)
		if !ok || id != r.ID {
			t.Errorf("%s: %q is not a canonical GUID", r.RoleName, r.ID)
		}
		if other, ok := ids[r.ID]; ok {
			t.Errorf("%s and %s have the ID %s", other, r.RoleName, r.ID)
		}
		name := azure.Fold(r.RoleName)
		if other, ok := names[name]; ok {
			t.Errorf("%s and %s have the name %s", other, r.ID, r.RoleName)
		}
		ids[r.ID], names[name] = r.RoleName, r.ID
		if r.Custom || r.TenantID != "" {
			t.Errorf("%s is not marked as built-in: %+v", r.RoleName, r)
		}
	}
}

// TestBuiltInsCompile decodes what a process decodes only when it needs it:
// every pattern must be one that a custom role could have, every condition must
// be readable.
func TestBuiltInsCompile(t *testing.T) {
	conditions := 0
	for _, def := range BuiltIns() {
		r, ok := builtInRole(def.ID)
		if !ok {
			t.Fatalf("%s is not found by its ID", def.RoleName)
		}
		for i, p := range r.permissions {
			if def.Permissions[i].Condition == "" {
				continue
			}
			conditions++
			if p.conditionErr != nil {
				t.Errorf("%s: the condition can't be read: %v\n%s", def.RoleName, p.conditionErr, def.Permissions[i].Condition)
			}
		}
		for _, p := range def.Permissions {
			for _, pattern := range slices.Concat(p.Actions, p.NotActions, p.DataActions, p.NotDataActions) {
				if !validAction(strings.TrimSpace(pattern)) {
					t.Errorf("%s: %q is not a valid action", def.RoleName, pattern)
				}
			}
		}
	}
	if conditions != 31 {
		t.Errorf("%d permissions have conditions, want 31", conditions)
	}
}

func TestWellKnownRoles(t *testing.T) {
	for id, name := range map[string]string{
		azure.RoleOwner:                   "Owner",
		azure.RoleContributor:             "Contributor",
		azure.RoleReader:                  "Reader",
		azure.RoleUserAccessAdministrator: "User Access Administrator",
		azure.RoleManagedIdentityOperator: "Managed Identity Operator",
		azure.RoleKeyVaultSecretsUser:     "Key Vault Secrets User",
		azure.RoleKeyVaultSecretsOfficer:  "Key Vault Secrets Officer",
		azure.RoleKeyVaultAdministrator:   "Key Vault Administrator",
		azure.RoleKeyVaultReader:          "Key Vault Reader",
	} {
		r, ok := BuiltIn(strings.ToUpper(id))
		if !ok || r.RoleName != name {
			t.Errorf("BuiltIn(%s) = %q, %v; want %q", id, r.RoleName, ok, name)
		}
		if r, ok := BuiltIn(compact(id)); !ok || r.ID != id {
			t.Errorf("BuiltIn without dashes gives %q, %v", r.ID, ok)
		}
	}
	for _, id := range []string{"", "Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb636", "{8e3af657-a8ff-443c-a75c-2fe8c4bcb635}"} {
		if r, ok := BuiltIn(id); ok {
			t.Errorf("BuiltIn(%q) = %s", id, r.RoleName)
		}
	}
}
