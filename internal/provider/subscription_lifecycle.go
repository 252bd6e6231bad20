package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// deletedState is Azure's state of a subscription whose deletion has begun.
const deletedState = "Deleted"

// subscriptionOperation makes one of the POSTs that change a subscription. They
// all answer with its ID.
func subscriptionOperation(cfg Config, name string, change func(ctx context.Context, tx *store.Tx, r *arm.Request, body json.RawMessage) error) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Microsoft.Subscription/" + name, Versions: subscriptionVersions, In: arm.AtSubscription,
	}, arm.VirtualHooks{
		Post: func(ctx context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			id := r.ID.SubscriptionID()
			_, err := cfg.Store.Update(ctx, func(tx *store.Tx) error {
				sub, err := cfg.Directory.SubscriptionIn(tx, id)
				if err != nil {
					return err
				}
				if sub.State == deletedState {
					return azure.Errorf(http.StatusConflict, "SubscriptionBeingDeleted",
						"The subscription '%s' is being deleted and cannot perform this operation.", id)
				}
				return change(ctx, tx, r, body)
			})
			if err != nil {
				return 0, nil, err
			}
			return http.StatusOK, map[string]string{"subscriptionId": id}, nil
		},
	})
}

// cancelSubscription disables a subscription: what is in it can be read and
// deleted, and nothing be written. With resources in it, it takes
// IgnoreResourceCheck, and the state is Warned, as on Azure.
func cancelSubscription(cfg Config) arm.Type {
	return subscriptionOperation(cfg, "cancel", func(ctx context.Context, tx *store.Tx, r *arm.Request, _ json.RawMessage) error {
		found, err := r.Resources(ctx, r.ID)
		if err != nil {
			return err
		}
		state := directory.Disabled
		if len(found) > 0 {
			if ignore, err := strconv.ParseBool(r.Query.Get("IgnoreResourceCheck")); err != nil || !ignore {
				return azure.Errorf(http.StatusBadRequest, "ResourcesExistingOnSubscription",
					"There are existing resources associated with subscription. Delete them before cancelling the subscription")
			}
			state = directory.Warned
		}
		return cfg.Directory.SetSubscriptionState(tx, r.ID.SubscriptionID(), state)
	})
}

// enableSubscription undoes cancelSubscription.
func enableSubscription(cfg Config) arm.Type {
	return subscriptionOperation(cfg, "enable", func(_ context.Context, tx *store.Tx, r *arm.Request, _ json.RawMessage) error {
		return cfg.Directory.SetSubscriptionState(tx, r.ID.SubscriptionID(), directory.Enabled)
	})
}

// renameSubscription gives a subscription another display name.
func renameSubscription(cfg Config) arm.Type {
	return subscriptionOperation(cfg, "rename", func(_ context.Context, tx *store.Tx, r *arm.Request, body json.RawMessage) error {
		var asked struct {
			SubscriptionName string `json:"subscriptionName"`
		}
		if len(body) > 0 {
			if err := json.Unmarshal(body, &asked); err != nil {
				return arm.InvalidContent(body, err)
			}
		}
		return cfg.Directory.RenameSubscription(tx, r.ID.SubscriptionID(), asked.SubscriptionName)
	})
}
