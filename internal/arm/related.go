package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Lookup reads the resource id, of a type made by Define[P], in r's transaction
// where it has one. A resource that doesn't exist is store.ErrNotFound.
func Lookup[P any](ctx context.Context, r *Request, id azure.ResourceID) (*Resource[P], error) {
	rec, err := load(r.reader(ctx), Key(r.TenantID, id))
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, fmt.Errorf("reading %s: %w", id, store.ErrNotFound)
	}
	return typed[P](rec)
}

// Resources gives the tracked resources below a scope in the order of their
// keys, without their properties, for lists of resources of all types. Whoever
// shows them filters them by what the caller may read.
func (r *Request) Resources(ctx context.Context, scope azure.ResourceID) ([]Envelope, error) {
	var found []Envelope
	prefix := strings.TrimSuffix(Key(r.TenantID, scope), "/") + "/"
	all := func(string) bool { return true }
	err := r.engine.scan(ctx, prefix, "", all, func(batch []*record) (bool, error) {
		for _, rec := range batch {
			typ, ok := r.engine.router.types[azure.Fold(rec.ID.Type())]
			if !ok || !typ.spec.Tracked || azure.EqualFold(typ.spec.Name, resourceGroupType) {
				continue
			}
			env := typ.envelope(rec)
			var err error
			if env.Identity, err = r.engine.showIdentity(ctx, rec); err != nil {
				return false, fmt.Errorf("showing the identity of %s: %w", rec.ID, err)
			}
			found = append(found, env)
		}
		return false, nil
	})
	return found, err
}

// ErrUntagged tells that a scope is no stored resource that has tags.
var ErrUntagged = errors.New("arm: the scope has no tags")

// Tags gives the tags of a resource group or a tracked resource.
func (r *Request) Tags(ctx context.Context, id azure.ResourceID) (map[string]string, error) {
	rec, err := r.tagged(ctx, id)
	if err != nil {
		return nil, err
	}
	return rec.Tags, nil
}

// SetTags replaces the tags of a resource group or a tracked resource in r's
// transaction, under the rules of a PATCH.
func (r *Request) SetTags(ctx context.Context, id azure.ResourceID, tags map[string]string) error {
	rec, err := r.tagged(ctx, id)
	if err != nil {
		return err
	}
	if err := CheckTags(tags); err != nil {
		return err
	}
	if rec.ProvisioningState == Deleting {
		return errDeleting(rec.ID)
	}
	if maps.Equal(rec.Tags, tags) {
		return nil
	}
	rec.Tags = tags
	return store.PutJSON(r.Tx, Key(r.TenantID, rec.ID), rec)
}

// subscriptionTagsKey keeps the tags of a subscription, which the directory
// knows nothing of.
func subscriptionTagsKey(scope azure.ResourceID) string {
	return "subscriptiontags/" + azure.Fold(scope.SubscriptionID())
}

// SubscriptionTags gives the tags of a subscription.
func (r *Request) SubscriptionTags(ctx context.Context, scope azure.ResourceID) (map[string]string, error) {
	entry, err := r.reader(ctx)(subscriptionTagsKey(scope))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var tags map[string]string
	if err := json.Unmarshal(entry.Value, &tags); err != nil {
		return nil, fmt.Errorf("decoding the tags of %s: %w", scope, err)
	}
	return tags, nil
}

// SetSubscriptionTags replaces the tags of a subscription in r's transaction.
func (r *Request) SetSubscriptionTags(scope azure.ResourceID, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	if len(tags) == 0 {
		r.Tx.Delete(subscriptionTagsKey(scope))
		return nil
	}
	return store.PutJSON(r.Tx, subscriptionTagsKey(scope), tags)
}

// CheckTags applies the Resource Manager's limits to the tags of one resource:
// at most 50, names of at most 512 and values of at most 256 characters.
func CheckTags(tags map[string]string) error { return checkTags(tags) }

func (r *Request) tagged(ctx context.Context, id azure.ResourceID) (*record, error) {
	typ, ok := r.engine.router.types[azure.Fold(id.Type())]
	if !ok || typ.stored == nil || !typ.spec.Tracked {
		return nil, ErrUntagged
	}
	rec, err := load(r.reader(ctx), Key(r.TenantID, id))
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, errNotFound(&typ.spec, id)
	}
	return rec, nil
}

// Types gives the table that the engine serves.
func (r *Request) Types() []Type { return r.engine.cfg.Types }

// SupportedLocations gives the regions in which a type may be created.
func (r *Request) SupportedLocations(t Type) []string {
	return slices.Clone(r.engine.locationsOf(&t.spec))
}
