package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// featuresVersions are the api-versions of Microsoft.Features.
var featuresVersions = []string{"2021-07-01", "2015-12-01"}

// features are preview features by provider. Lanyard has no list of them: any
// name can be registered, and what was registered is listed. Nothing in it
// waits for one.
func features(cfg Config) arm.Type {
	const collection = "/subscriptions/{subscriptionId}/providers/Microsoft.Features/providers/{namespace}/features"
	return arm.Virtual(arm.Spec{
		Name:        "Microsoft.Features/providers/features",
		Versions:    featuresVersions,
		Core:        true,
		Collections: []string{collection},
		Items:       []string{collection + "/{name}"},
	}, arm.VirtualHooks{
		List: func(ctx context.Context, r *arm.Request) ([]any, error) {
			return listFeatures(ctx, cfg, r, featurePrefix(r)+azure.Fold(r.Params["namespace"])+"/")
		},
		Get: func(ctx context.Context, r *arm.Request) (any, error) {
			entry, err := cfg.Store.Get(ctx, featureKey(r))
			if errors.Is(err, store.ErrNotFound) {
				return showFeature(r.ID, feature{r.Params["namespace"], r.Name, "NotRegistered"}), nil
			}
			if err != nil {
				return nil, err
			}
			return decodeFeature(r.ID, entry)
		},
		Actions: map[string]arm.VirtualAction{
			"register":   {Writes: true, Run: setFeature("Registered")},
			"unregister": {Writes: true, Run: setFeature("Unregistered")},
		},
	})
}

// allFeatures lists the features of all providers.
func allFeatures(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.Features/features", Versions: featuresVersions, Core: true, In: arm.AtSubscription,
	}, arm.VirtualHooks{
		List: func(ctx context.Context, r *arm.Request) ([]any, error) {
			return listFeatures(ctx, cfg, r, featurePrefix(r))
		},
	})
}

// feature is a feature as it is stored.
type feature struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State     string `json:"state"`
}

func featurePrefix(r *arm.Request) string {
	return "features/" + azure.Fold(r.ID.SubscriptionID()) + "/"
}

func featureKey(r *arm.Request) string {
	return featurePrefix(r) + azure.Fold(r.Params["namespace"]) + "/" + azure.Fold(r.Name)
}

func showFeature(scope azure.ResourceID, f feature) map[string]any {
	return map[string]any{
		"id":         scope.String() + "/providers/Microsoft.Features/providers/" + f.Namespace + "/features/" + f.Name,
		"name":       f.Namespace + "/" + f.Name,
		"type":       "Microsoft.Features/providers/features",
		"properties": map[string]string{"state": f.State},
	}
}

func decodeFeature(scope azure.ResourceID, entry store.Entry) (any, error) {
	var f feature
	if err := json.Unmarshal(entry.Value, &f); err != nil {
		return nil, err
	}
	return showFeature(scope, f), nil
}

func listFeatures(ctx context.Context, cfg Config, r *arm.Request, prefix string) ([]any, error) {
	page, err := cfg.Store.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return nil, err
	}
	items := []any{}
	for _, entry := range page.Entries {
		item, err := decodeFeature(r.ID, entry)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func setFeature(state string) func(context.Context, *arm.Request, rawJSON) (int, any, error) {
	return func(_ context.Context, r *arm.Request, _ rawJSON) (int, any, error) {
		f := feature{r.Params["namespace"], r.Name, state}
		if strings.ContainsAny(f.Namespace+f.Name, `<>%&:\?/`) || len(f.Namespace) > 128 || len(f.Name) > 256 {
			return 0, nil, azure.Errorf(http.StatusBadRequest, "InvalidFeatureName", "The feature name '%s' is not valid.", f.Name)
		}
		return http.StatusOK, showFeature(r.ID, f), store.PutJSON(r.Tx, featureKey(r), f)
	}
}
