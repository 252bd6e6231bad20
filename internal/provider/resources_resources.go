package provider

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// resources is the list of resources of all types, in a subscription or a
// resource group. A caller sees those of which they may read the type.
func resources(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:     "Microsoft.Resources/resources",
		Versions: resourcesVersions,
		Core:     true,
		Collections: []string{
			"/subscriptions/{subscriptionId}/resources",
			"/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/resources",
		},
		Action: "Microsoft.Resources/subscriptions/resources",
	}, arm.VirtualHooks{
		Filters: true,
		Action: func(r *arm.Request, _ string) string {
			if r.ID.ResourceGroup() != "" {
				return "Microsoft.Resources/subscriptions/resourceGroups/resources/read"
			}
			return ""
		},
		List: func(ctx context.Context, r *arm.Request) ([]any, error) { return listResources(ctx, cfg, r) },
	})
}

// listedResource is a resource as the list shows it: without properties.
type listedResource struct {
	arm.Envelope
	Provisioning string     `json:"provisioningState,omitempty"`
	Created      *time.Time `json:"createdTime,omitempty"`
	Changed      *time.Time `json:"changedTime,omitempty"`
}

func listResources(ctx context.Context, cfg Config, r *arm.Request) ([]any, error) {
	matches := func(arm.Envelope) bool { return true }
	if text := r.Query.Get("$filter"); text != "" {
		var err error
		if matches, err = parseResourceFilter(text, resourceFields); err != nil {
			return nil, err
		}
	}
	expand := map[string]bool{}
	for part := range strings.SplitSeq(r.Query.Get("$expand"), ",") {
		expand[azure.Fold(strings.TrimSpace(part))] = true
	}
	all, err := r.Resources(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	visible, err := readable(ctx, cfg, r.Caller, all)
	if err != nil {
		return nil, err
	}
	items := []any{}
	for _, env := range visible {
		if !matches(env) {
			continue
		}
		item := listedResource{Envelope: env}
		item.SystemData = nil
		if expand["provisioningstate"] {
			item.Provisioning = env.ProvisioningState
		}
		if expand["createdtime"] {
			item.Created = &env.CreatedTime
		}
		if expand["changedtime"] {
			item.Changed = &env.ChangedTime
		}
		items = append(items, item)
	}
	return items, nil
}

// readable keeps the resources that the caller may read. Each type has an
// action of its own, so the guard is asked once a type.
func readable(ctx context.Context, cfg Config, caller azure.Caller, all []arm.Envelope) ([]arm.Envelope, error) {
	byType := map[string][]azure.ResourceID{}
	ids := make([]azure.ResourceID, len(all))
	for i, env := range all {
		id, err := azure.ParseResourceID(env.ID)
		if err != nil {
			return nil, err
		}
		ids[i] = id
		byType[env.Type] = append(byType[env.Type], id)
	}
	allowed := map[string]bool{}
	for typ, scopes := range byType {
		decisions, err := cfg.Guard.Filter(ctx, caller, typ+"/read", scopes)
		if err != nil {
			return nil, errNoDecision(err)
		}
		for i, ok := range decisions {
			allowed[scopes[i].Key()] = ok
		}
	}
	var kept []arm.Envelope
	for i, env := range all {
		if allowed[ids[i].Key()] {
			kept = append(kept, env)
		}
	}
	return kept, nil
}

// errNoDecision is the answer where the guard can't decide.
func errNoDecision(cause error) error {
	err := azure.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable",
		"The service cannot decide requests at the moment. Please try again.")
	err.Err = cause
	return err
}
