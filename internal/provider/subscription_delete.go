package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// Azure deletes a canceled subscription by itself after ninety days, or from
// its portal. Here DELETE does it, at once, outside of strict mode.

// acceptSubscriptionDelete checks that a subscription is canceled and empty, and
// marks it, so that nothing brings it back.
func acceptSubscriptionDelete(cfg Config, r *arm.Request) error {
	id := r.ID.SubscriptionID()
	sub, err := cfg.Directory.SubscriptionIn(r.Tx, id)
	if err != nil {
		return err
	}
	switch {
	case sub.State == deletedState:
		return azure.Errorf(http.StatusConflict, "SubscriptionBeingDeleted", "The subscription '%s' is being deleted already.", id)
	case sub.Writable():
		return azure.Errorf(http.StatusConflict, "SubscriptionNotDisabled",
			"The subscription '%s' is in use. Cancel it first (POST .../providers/Microsoft.Subscription/cancel), which can be undone; then delete it.", id)
	}
	const named = 3
	left, err := arm.SubscriptionKeys(r.Tx, r.TenantID, id, named+1)
	if err != nil {
		return err
	}
	vaults, _, err := r.Tx.Peek(deletedVaultKey(id, ""), named+1)
	if err != nil {
		return err
	}
	var what []string
	for _, key := range left {
		what = append(what, strings.TrimPrefix(key, arm.Key(r.TenantID, r.ID)+"/"))
	}
	for _, key := range vaults {
		what = append(what, "deleted vault "+strings.TrimPrefix(key, deletedVaultKey(id, ""))+", which must be purged")
	}
	if len(what) > 0 {
		return azure.Errorf(http.StatusConflict, "SubscriptionNotEmpty",
			"The subscription '%s' cannot be deleted: there is more in it than its role assignments. Delete first: %s.",
			id, strings.Join(what[:min(named, len(what))], "; "))
	}
	return cfg.Directory.SetSubscriptionState(r.Tx, id, deletedState)
}

// deleteSubscriptionStep removes some of what belongs to the subscription
// itself, and at last its record.
func deleteSubscriptionStep(cfg Config, step *arm.Step) (done bool, err error) {
	id := step.ID.SubscriptionID()
	return inStages(step,
		func() (bool, error) { return cfg.Guard.DeleteBelow(step.Tx, step.TenantID, step.ID, 0) },
		func() (bool, error) { return arm.ForgetSubscription(step.Tx, id) },
		func() (bool, error) { return forgetFeatures(step.Tx, id) },
		func() (bool, error) { return forgetAliases(step.Tx, step.TenantID, id) },
		func() (bool, error) { cfg.Directory.DeleteSubscription(step.Tx, id); return false, nil },
	)
}

// inStages runs one stage of an operation in each step, so that each has a
// transaction's room for itself; a stage that has more to do is run again. The
// step's note is the stage's number.
func inStages(step *arm.Step, stages ...func() (more bool, err error)) (done bool, err error) {
	n := 0
	if step.Data != nil {
		if err := json.Unmarshal(step.Data, &n); err != nil {
			return false, fmt.Errorf("reading how far the operation on %s has come: %w", step.ID, err)
		}
	}
	more, err := stages[n]()
	if err != nil {
		return false, err
	}
	if !more {
		n++
	}
	step.Data = json.RawMessage(strconv.Itoa(n))
	return n == len(stages), nil
}

// forgetFeatures removes the preview features of a subscription.
func forgetFeatures(tx *store.Tx, subscriptionID string) (more bool, err error) {
	const some = 40
	keys, more, err := tx.Peek("features/"+azure.Fold(subscriptionID)+"/", some)
	for _, key := range keys {
		tx.Delete(key)
	}
	return more, err
}

// forgetAliases removes the aliases of a subscription.
func forgetAliases(tx *store.Tx, tenantID, subscriptionID string) (more bool, err error) {
	entries, err := tx.List(arm.Key(tenantID, azure.Root()) + "providers/microsoft.subscription/aliases/")
	if err != nil {
		return false, err
	}
	const some = 16
	n := 0
	for _, e := range entries {
		res, err := arm.Decode[aliasProperties](e.Value, e.Revision)
		if err != nil {
			return false, err
		}
		if !azure.EqualFold(res.Properties.SubscriptionID, subscriptionID) {
			continue
		}
		if n++; n > some {
			return true, nil
		}
		tx.Delete(e.Key)
	}
	return false, nil
}

// subscriptionDelete adds the deletion to the hooks of subscriptions.
func subscriptionDelete(cfg Config, hooks arm.VirtualHooks) arm.VirtualHooks {
	if cfg.Strict {
		return hooks
	}
	hooks.Delete = func(_ context.Context, r *arm.Request) (int, any, error) {
		return http.StatusAccepted, json.RawMessage(nil), acceptSubscriptionDelete(cfg, r)
	}
	hooks.AsyncDelete = func(_ context.Context, step *arm.Step) (bool, error) { return deleteSubscriptionStep(cfg, step) }
	// Who may cancel may delete what is canceled: a Contributor may not.
	hooks.Action = func(_ *arm.Request, operation string) string {
		if operation == "delete" {
			return "Microsoft.Subscription/cancel/action"
		}
		return ""
	}
	return hooks
}
