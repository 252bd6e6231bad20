package provider

import (
	"context"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// subscriptionsVersions are the api-versions of subscriptions and tenants.
var subscriptionsVersions = []string{
	"2022-12-01", "2022-09-01", "2022-01-01", "2021-10-01", "2021-01-01", "2020-01-01", "2019-11-01", "2019-10-01",
	"2019-06-01", "2019-05-01", "2018-11-01", "2018-06-01", "2018-02-01", "2018-01-01", "2016-06-01", "2016-02-01",
	"2015-11-01", "2015-01-01",
}

// subscriptions are made by way of their aliases. A caller sees a subscription
// who has a role at, above or below it.
func subscriptions(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:        "Microsoft.Resources/subscriptions",
		Versions:    subscriptionsVersions,
		Core:        true,
		Collections: []string{"/subscriptions"},
		Items:       []string{"/subscriptions/{subscriptionId}"},
	}, subscriptionDelete(cfg, arm.VirtualHooks{
		NoCheck: map[string]bool{"read": true},
		List: func(ctx context.Context, r *arm.Request) ([]any, error) {
			items := []any{}
			for _, sub := range cfg.Directory.Subscriptions(r.TenantID) {
				if !cfg.Guard.Reaches(r.Caller, azure.SubscriptionScope(sub.ID)) {
					continue
				}
				item, err := showSubscription(ctx, r, sub)
				if err != nil {
					return nil, err
				}
				items = append(items, item)
			}
			return items, nil
		},
		ListExtra: func(_ context.Context, _ *arm.Request, items []any) (map[string]any, error) {
			return map[string]any{"count": map[string]any{"type": "Total", "value": len(items)}}, nil
		},
		Get: func(ctx context.Context, r *arm.Request) (any, error) {
			if !cfg.Guard.Reaches(r.Caller, r.ID) {
				if err := r.Authorize(ctx, "Microsoft.Resources/subscriptions/read", r.ID); err != nil {
					return nil, err
				}
			}
			sub, ok := cfg.Directory.Subscription(r.ID.SubscriptionID())
			if !ok {
				return nil, errSubscriptionNotFound(r.ID.SubscriptionID())
			}
			return showSubscription(ctx, r, sub)
		},
	}))
}

type subscription struct {
	ID                   string             `json:"id"`
	AuthorizationSource  string             `json:"authorizationSource"`
	ManagedByTenants     []string           `json:"managedByTenants"`
	SubscriptionID       string             `json:"subscriptionId"`
	TenantID             string             `json:"tenantId"`
	DisplayName          string             `json:"displayName"`
	State                string             `json:"state"`
	SubscriptionPolicies subscriptionPolicy `json:"subscriptionPolicies"`
	Tags                 map[string]string  `json:"tags,omitempty"`
}

// subscriptionPolicy is what Azure says of billing. Lanyard has none; these are
// the values of a subscription without limits.
type subscriptionPolicy struct {
	LocationPlacementID string `json:"locationPlacementId"`
	QuotaID             string `json:"quotaId"`
	SpendingLimit       string `json:"spendingLimit"`
}

func showSubscription(ctx context.Context, r *arm.Request, sub directory.Subscription) (any, error) {
	scope := azure.SubscriptionScope(sub.ID)
	tags, err := r.SubscriptionTags(ctx, scope)
	if err != nil {
		return nil, err
	}
	return subscription{
		ID: scope.String(), AuthorizationSource: "RoleBased", ManagedByTenants: []string{},
		SubscriptionID: sub.ID, TenantID: sub.TenantID, DisplayName: sub.DisplayName, State: sub.State,
		SubscriptionPolicies: subscriptionPolicy{
			LocationPlacementID: "Public_2014-09-01", QuotaID: "PayAsYouGo_2014-09-01", SpendingLimit: "Off",
		},
		Tags: tags,
	}, nil
}

func errSubscriptionNotFound(id string) error {
	return azure.Errorf(404, "SubscriptionNotFound", "The subscription '%s' could not be found.", id)
}

// tenants lists the tenants in which the caller is a principal. A principal
// lives in one tenant.
func tenants(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name:        "Microsoft.Resources/tenants",
		Versions:    subscriptionsVersions,
		Core:        true,
		Collections: []string{"/tenants"},
	}, arm.VirtualHooks{
		NoCheck: map[string]bool{"read": true},
		List: func(_ context.Context, r *arm.Request) ([]any, error) {
			t, ok := cfg.Directory.Tenant(r.TenantID)
			if !ok {
				return []any{}, nil
			}
			return []any{map[string]any{
				"id": "/tenants/" + t.ID, "tenantId": t.ID, "countryCode": t.CountryCode, "displayName": t.DisplayName,
				"domains": t.Domains, "defaultDomain": t.DefaultDomain, "tenantCategory": "Home", "tenantType": "AAD",
			}}, nil
		},
	})
}
