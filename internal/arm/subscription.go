package arm

import (
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// checkSubscription refuses to write in a subscription that is canceled or
// going away; what is in it may be deleted. The subscription is read in the
// write's own transaction, so that it cannot outlive its subscription.
func (x *exchange) checkSubscription() error {
	id := x.target.id.SubscriptionID()
	if id == "" || x.removes() {
		return nil
	}
	sub, err := x.engine.cfg.Directory.SubscriptionIn(x.request.Tx, id)
	if err != nil || sub.Writable() {
		return err
	}
	return azure.Errorf(http.StatusConflict, "ReadOnlyDisabledSubscription",
		"The subscription '%s' is disabled and therefore marked as read only. You cannot perform any write actions on this subscription until it is re-enabled.", id)
}

// removes reports whether the request only takes away.
func (x *exchange) removes() bool {
	if x.r.Method == http.MethodDelete {
		return true
	}
	v := x.target.typ.virtual
	return v != nil && x.target.action != "" && v.hooks.Actions[x.target.action].Removes
}

// forgetKeys is how many keys one transaction removes of what has ended.
const forgetKeys = 80

// ForgetSubscription removes some of what the engine keeps of a subscription
// that is going away and has no resources any more: its tags and the namespaces
// from which it was unregistered; more tells that there is more.
func ForgetSubscription(tx *store.Tx, subscriptionID string) (more bool, err error) {
	tx.Delete(subscriptionTagsKey(azure.SubscriptionScope(subscriptionID)))
	return forget(tx, registrationKey(subscriptionID, ""))
}

// ForgetTenant removes some of the resources that an ended tenant has outside of
// subscriptions, without their types' hooks; more tells that there are more.
func ForgetTenant(tx *store.Tx, tenantID string) (more bool, err error) {
	return forget(tx, Key(tenantID, azure.Root()))
}

func forget(tx *store.Tx, prefix string) (more bool, err error) {
	keys, more, err := tx.Peek(prefix, forgetKeys)
	for _, key := range keys {
		tx.Delete(key)
	}
	return more, err
}

// SubscriptionKeys gives up to limit of the store's keys of the resources in a
// subscription, its resource groups among them, as they are before tx commits.
func SubscriptionKeys(tx *store.Tx, tenantID, subscriptionID string, limit int) ([]string, error) {
	keys, _, err := tx.Peek(Key(tenantID, azure.SubscriptionScope(subscriptionID))+"/", limit)
	return keys, err
}
