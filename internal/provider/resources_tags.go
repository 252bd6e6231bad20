package provider

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// tags are the tags of a subscription, a resource group or a resource as a
// resource of their own, "default": who may write them need not be able to
// write the resource.
func tags() arm.Type {
	return arm.Virtual(arm.Spec{
		Name:     "Microsoft.Resources/tags",
		Versions: resourcesVersions[:len(resourcesVersions)-18],
		Core:     true,
		In:       arm.AtAnyScope,
	}, arm.VirtualHooks{
		Get: func(ctx context.Context, r *arm.Request) (any, error) {
			current, err := readTags(ctx, r)
			if err != nil {
				return nil, err
			}
			return showTags(r, current), nil
		},
		Put: func(ctx context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return changeTags(ctx, r, body, "replace")
		},
		Patch: func(ctx context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return changeTags(ctx, r, body, "")
		},
		Delete: func(ctx context.Context, r *arm.Request) (int, any, error) {
			if _, err := readTags(ctx, r); err != nil {
				return 0, nil, err
			}
			return http.StatusOK, nil, writeTags(ctx, r, nil)
		},
	})
}

func showTags(r *arm.Request, current map[string]string) any {
	if current == nil {
		current = map[string]string{}
	}
	return map[string]any{
		"id": r.ID.String(), "name": "default", "type": "Microsoft.Resources/tags",
		"properties": map[string]any{"tags": current},
	}
}

// readTags reads the tags of the scope that r.ID hangs off.
func readTags(ctx context.Context, r *arm.Request) (map[string]string, error) {
	if !azure.EqualFold(r.Name, "default") {
		return nil, azure.Errorf(http.StatusNotFound, "ResourceNotFound", "The tags resource '%s' was not found: its only name is 'default'.", r.Name)
	}
	scope := r.ID.Scope()
	if isSubscription(scope) {
		return r.SubscriptionTags(ctx, scope)
	}
	current, err := r.Tags(ctx, scope)
	if errors.Is(err, arm.ErrUntagged) {
		return nil, azure.Errorf(http.StatusBadRequest, "TagsNotSupported",
			"The resource type '%s' does not support tags.", scope.Type())
	}
	return current, err
}

func isSubscription(scope azure.ResourceID) bool {
	return scope.SubscriptionID() != "" && scope.Equal(azure.SubscriptionScope(scope.SubscriptionID()))
}

func writeTags(ctx context.Context, r *arm.Request, tags map[string]string) error {
	if scope := r.ID.Scope(); !isSubscription(scope) {
		return r.SetTags(ctx, scope, tags)
	}
	return r.SetSubscriptionTags(r.ID.Scope(), tags)
}

// tagsBody is the body of a PUT, or of a PATCH with its operation.
type tagsBody struct {
	Operation  string
	Properties *struct{ Tags map[string]string }
}

func changeTags(ctx context.Context, r *arm.Request, body json.RawMessage, operation string) (int, any, error) {
	var b tagsBody
	if err := json.Unmarshal(body, &b); err != nil {
		return 0, nil, arm.InvalidContent(body, err)
	}
	if b.Properties == nil || b.Properties.Tags == nil {
		return 0, nil, azure.Errorf(http.StatusBadRequest, "InvalidRequestContent",
			"The request content was invalid: 'properties.tags' is required.")
	}
	if operation == "" {
		operation = azure.Fold(b.Operation)
	}
	current, err := readTags(ctx, r)
	if err != nil {
		return 0, nil, err
	}
	changed := maps.Clone(current)
	if changed == nil {
		changed = map[string]string{}
	}
	switch operation {
	case "merge":
		for name, value := range b.Properties.Tags {
			changed[spelled(changed, name)] = value
		}
	case "replace":
		changed = b.Properties.Tags
	case "delete":
		for name, value := range b.Properties.Tags {
			if name = spelled(changed, name); value == "" || changed[name] == value {
				delete(changed, name)
			}
		}
	default:
		return 0, nil, azure.Errorf(http.StatusBadRequest, "InvalidTagsPatchOperation",
			"The operation '%s' is not valid. It must be one of 'Merge', 'Replace' and 'Delete'.", strings.TrimSpace(b.Operation))
	}
	if err := writeTags(ctx, r, changed); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, showTags(r, changed), nil
}

// spelled gives the spelling under which the tags have a name, whose case does
// not count.
func spelled(tags map[string]string, name string) string {
	for known := range tags {
		if azure.EqualFold(known, name) {
			return known
		}
	}
	return name
}
