package rbac

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Azure's limits on custom roles.
const (
	maxRoleName         = 512 // characters
	maxAssignableScopes = 2000
)

// normalizeDefinition checks what can be checked of a custom role by itself,
// and gives its ID the canonical form and its lists a value.
func normalizeDefinition(d RoleDefinition) (RoleDefinition, error) {
	id, ok := parseGUID(d.ID)
	if !ok || len(d.ID) != len(id) { // the ID is part of a path: it has one form
		return d, azure.Errorf(http.StatusBadRequest, "InvalidRoleDefinitionId",
			"The role definition ID '%s' is not valid. The role definition ID must be a GUID.", d.ID)
	}
	d.ID = id
	if !d.Custom {
		return d, azure.Errorf(http.StatusBadRequest, "InvalidRoleDefinitionType",
			"The role definition type is not valid. It must be 'CustomRole'.")
	}
	if r, ok := builtInRole(id); ok {
		return d, azure.Errorf(http.StatusConflict, "RoleDefinitionExists",
			"A role definition with the ID '%s' already exists: it is the built-in role '%s'.", id, r.def.RoleName)
	}
	if strings.TrimSpace(d.RoleName) == "" {
		return d, azure.Errorf(http.StatusBadRequest, "RoleDefinitionNameNullOrEmpty",
			"The role definition name can't be null or empty.")
	}
	if utf8.RuneCountInString(d.RoleName) > maxRoleName {
		return d, azure.Errorf(http.StatusBadRequest, "InvalidRoleDefinitionName",
			"The role definition name is longer than %d characters.", maxRoleName)
	}
	if len(d.Description) > maxDescription {
		return d, azure.Errorf(http.StatusBadRequest, "InvalidRoleDefinitionDescription",
			"The description of the role definition is longer than %d bytes.", maxDescription)
	}
	var err error
	if d.AssignableScopes, err = checkAssignableScopes(d.AssignableScopes); err != nil {
		return d, err
	}
	d.Permissions, err = checkPermissions(d.Permissions)
	return d, err
}

// checkAssignableScopes gives the scopes without repetitions.
func checkAssignableScopes(scopes []string) ([]string, error) {
	if len(scopes) == 0 {
		return nil, azure.Errorf(http.StatusBadRequest, "MissingAssignableScopes",
			"The role definition must have at least one assignable scope.")
	}
	if len(scopes) > maxAssignableScopes {
		return nil, errScopes("it has %d, and at most %d are possible", len(scopes), maxAssignableScopes)
	}
	var kept, keys []string
	groups := 0
	for i, text := range scopes {
		id, err := azure.ParseResourceID(text)
		if err != nil {
			return nil, errScope(i, text, err)
		}
		switch {
		case id.IsRoot():
			return nil, errScopes("the root scope '/' is for built-in roles only")
		case strings.Contains(text, "*"):
			return nil, errScopes("'%s' has a wildcard", text)
		case isManagementGroup(id):
			groups++
		case id.SubscriptionID() == "":
			return nil, errScope(i, text, nil)
		}
		if slices.Contains(keys, id.Key()) {
			if isManagementGroup(id) {
				groups--
			}
			continue
		}
		kept, keys = append(kept, id.String()), append(keys, id.Key())
	}
	if groups > 1 {
		return nil, errScopes("only one management group is possible")
	}
	return kept, nil
}

func errScopes(format string, args ...any) error {
	return azure.Errorf(http.StatusBadRequest, "InvalidAssignableScopes",
		"The assignable scopes of the role definition are not valid: %s.", fmt.Sprintf(format, args...))
}

func errScope(i int, text string, cause error) error {
	err := azure.Errorf(http.StatusBadRequest, "LinkedInvalidPropertyId",
		"Property id '%s' at path 'properties.assignableScopes[%d]' is invalid. Expect fully qualified resource Id that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'.",
		text, i)
	err.Err = cause
	return err
}

// checkPermissions gives the permissions with every list present, as Azure
// shows them. Azure also refuses actions that none of its providers has; there
// is no list of them here, so that only the form is checked.
func checkPermissions(permissions []Permission) ([]Permission, error) {
	checked := make([]Permission, len(permissions))
	for i, p := range permissions {
		for _, l := range []struct {
			actions *[]string
			code    string
		}{
			{&p.Actions, "InvalidActionOrNotAction"},
			{&p.NotActions, "InvalidActionOrNotAction"},
			{&p.DataActions, "InvalidDataActionOrNotDataAction"},
			{&p.NotDataActions, "InvalidDataActionOrNotDataAction"},
		} {
			if *l.actions == nil {
				*l.actions = []string{}
			}
			for _, action := range *l.actions {
				if !validAction(strings.TrimSpace(action)) {
					return nil, azure.Errorf(http.StatusBadRequest, l.code,
						"'%s' does not match any of the actions supported by the providers.", action)
				}
			}
		}
		version := p.ConditionVersion
		switch {
		case p.Condition == "":
			p.ConditionVersion = ""
		case version == "":
			p.ConditionVersion = "2.0"
		}
		if err := checkCondition(p.Condition, p.ConditionVersion); err != nil {
			return nil, errCondition("role definition", err)
		}
		checked[i] = p
	}
	return checked, nil
}
