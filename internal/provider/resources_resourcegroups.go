package provider

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// resourcesVersions are the api-versions of the Resource Manager's own types.
var resourcesVersions = []string{
	"2025-04-01", "2025-03-01", "2024-11-01", "2024-07-01", "2024-03-01", "2023-07-01", "2022-09-01", "2021-04-01",
	"2021-01-01", "2020-10-01", "2020-08-01", "2020-06-01", "2019-10-01", "2019-08-01", "2019-07-01", "2019-05-10",
	"2019-05-01", "2019-03-01", "2018-11-01", "2018-09-01", "2018-08-01", "2018-07-01", "2018-05-01", "2018-02-01",
	"2018-01-01", "2017-08-01", "2017-06-01", "2017-05-10", "2017-05-01", "2017-03-01", "2016-09-01", "2016-07-01",
	"2016-06-01", "2016-02-01", "2015-11-01", "2015-01-01",
}

// groupName is the rule for names of resource groups, but for the length.
var groupName = regexp.MustCompile(`^[\p{L}\p{Nd}_().-]+$`)

// resourceGroups are Microsoft.Resources/subscriptions/resourceGroups. Deleting
// one is long-running: the engine removes what is in it, children before their
// parents, each with its role assignments.
func resourceGroups() arm.Type {
	return arm.Define(arm.Spec{
		Name:              "Microsoft.Resources/subscriptions/resourceGroups",
		Versions:          resourcesVersions,
		In:                arm.AtSubscription,
		Tracked:           true,
		Members:           []string{"managedBy"},
		Core:              true,
		ProvisioningState: true,
		CheckName:         checkGroupName,
	}, arm.Hooks[struct{}]{
		Put:    putGroup,
		Filter: func(text string) (func(arm.Envelope) bool, error) { return parseResourceFilter(text, groupFields) },
		AsyncDelete: func(context.Context, *arm.Step, *arm.Resource[struct{}]) (bool, error) {
			return true, nil // all that there is to do is the engine's
		},
	})
}

func checkGroupName(name string) error {
	switch {
	case len([]rune(name)) > 90:
		return azure.Errorf(http.StatusBadRequest, "InvalidResourceGroup",
			"The provided resource group name '%s' has these invalid characters: ''. The name has more than 90 characters.", name)
	case !groupName.MatchString(name):
		invalid := strings.Map(func(r rune) rune {
			if groupName.MatchString(string(r)) {
				return -1
			}
			return r
		}, name)
		return azure.Errorf(http.StatusBadRequest, "InvalidResourceGroup",
			"The provided resource group name '%s' has these invalid characters: '%s'. The name can only be a letter, digit, '-', '.', '(', ')' or '_'.",
			name, invalid)
	case strings.HasSuffix(name, "."):
		return azure.Errorf(http.StatusBadRequest, "InvalidResourceGroup",
			"The provided resource group name '%s' is invalid. The name cannot end with '.'.", name)
	}
	return nil
}

// putGroup keeps managedBy: who manages a group is said when it is created.
func putGroup(_ context.Context, p *arm.Put[struct{}]) error {
	if p.Old == nil {
		return nil
	}
	if p.New.ManagedBy != "" && !azure.EqualFold(p.New.ManagedBy, p.Old.ManagedBy) {
		return azure.Errorf(http.StatusBadRequest, "ResourceGroupManagedByMismatch",
			"The managedBy of the resource group '%s' is '%s' and cannot be changed to '%s'.", p.New.ID.Name(), p.Old.ManagedBy, p.New.ManagedBy)
	}
	p.New.ManagedBy = p.Old.ManagedBy
	return nil
}
