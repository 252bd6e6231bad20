package arm

import (
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
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
