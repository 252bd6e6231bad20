package directory

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// The states of a subscription, in Azure's words. In all but Enabled nothing is
// written below it; what is there can be read and deleted.
const (
	// Enabled is the state of a subscription in use.
	Enabled = "Enabled"
	// Disabled is that of a canceled subscription.
	Disabled = "Disabled"
	// Warned is that of one which was canceled while resources were in it.
	Warned = "Warned"
)

// Writable reports whether anything may be written below the subscription.
func (s Subscription) Writable() bool { return s.State == Enabled }

const maxSubscriptionName = 64 // characters, as in Azure's portal

// CheckSubscriptionName applies Azure's rule for the display names that clients
// give: 1 to 64 characters, none of "<>;|".
func CheckSubscriptionName(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > maxSubscriptionName || strings.ContainsAny(name, "<>;|") || strings.TrimSpace(name) != name {
		return azure.Errorf(http.StatusBadRequest, "InvalidSubscriptionName",
			"The subscription name '%s' is not valid: a name has 1 to 64 characters, none of '<,>,;,|', and does not begin or end with a blank.", name)
	}
	return nil
}

// SubscriptionIn reads a subscription in a transaction; 404 SubscriptionNotFound
// if there is none.
func (d *Directory) SubscriptionIn(tx *store.Tx, id string) (Subscription, error) {
	s, _, err := store.GetJSON[Subscription](tx, key(subscriptions, id))
	if errors.Is(err, store.ErrNotFound) {
		return s, azure.Errorf(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", id)
	}
	return s, err
}

// RenameSubscription gives a subscription another display name.
func (d *Directory) RenameSubscription(tx *store.Tx, id, displayName string) error {
	if err := CheckSubscriptionName(displayName); err != nil {
		return err
	}
	s, err := d.SubscriptionIn(tx, id)
	if err != nil {
		return err
	}
	s.DisplayName = displayName
	return store.PutJSON(tx, key(subscriptions, s.ID), s)
}

// SetSubscriptionState gives a subscription one of the states above.
func (d *Directory) SetSubscriptionState(tx *store.Tx, id, state string) error {
	s, err := d.SubscriptionIn(tx, id)
	if err != nil {
		return err
	}
	s.State = state
	return store.PutJSON(tx, key(subscriptions, s.ID), s)
}

// DeleteSubscription removes the record of a subscription. That nothing is left
// in it is the caller's to see. One that does not exist is no error, so that an
// interrupted deletion can be repeated.
func (d *Directory) DeleteSubscription(tx *store.Tx, id string) { tx.Delete(key(subscriptions, id)) }
