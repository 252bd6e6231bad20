package provider

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// deployments refuses templates by name, so that a client learns at once what
// it can't do here, rather than that a type is unknown.
func deployments() arm.Type {
	refuse := func() error {
		return azure.Errorf(http.StatusNotImplemented, "NotSupported",
			"Template deployments (Microsoft.Resources/deployments) are not supported. Create the resources one by one, with an SDK, the Azure CLI or Terraform.")
	}
	action := arm.VirtualAction{Run: func(context.Context, *arm.Request, json.RawMessage) (int, any, error) { return 0, nil, refuse() }}
	write := func(context.Context, *arm.Request, json.RawMessage) (int, any, error) { return 0, nil, refuse() }
	return arm.Virtual(arm.Spec{
		Name:     "Microsoft.Resources/deployments",
		Versions: resourcesVersions,
		Core:     true,
		In:       arm.AtTenant | arm.AtSubscription | arm.AtResourceGroup,
	}, arm.VirtualHooks{
		Get:     func(context.Context, *arm.Request) (any, error) { return nil, refuse() },
		List:    func(context.Context, *arm.Request) ([]any, error) { return nil, refuse() },
		Put:     write,
		Delete:  func(context.Context, *arm.Request) (int, any, error) { return 0, nil, refuse() },
		Actions: map[string]arm.VirtualAction{"validate": action, "whatIf": action, "cancel": action, "exportTemplate": action},
	})
}
