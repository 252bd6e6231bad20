package arm

import (
	"context"
	"errors"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// A subscription is registered for every namespace that is served until it is
// unregistered: Azure's default is the opposite for most, but the clients that
// care would then spend their first minute on registering.

// The registration states of a namespace in a subscription.
const (
	Registered   = "Registered"
	Unregistered = "Unregistered"
)

func registrationKey(subscriptionID, namespace string) string {
	return "registrations/" + azure.Fold(subscriptionID) + "/" + azure.Fold(namespace)
}

// Registration tells whether the subscription of r.ID is registered for a
// namespace.
func (r *Request) Registration(ctx context.Context, namespace string) (string, error) {
	_, err := r.reader(ctx)(registrationKey(r.ID.SubscriptionID(), namespace))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Registered, nil
	case err != nil:
		return "", err
	}
	return Unregistered, nil
}

// Register registers the subscription of r.ID for a namespace, in r's
// transaction.
func (r *Request) Register(namespace string) {
	r.Tx.Delete(registrationKey(r.ID.SubscriptionID(), namespace))
}

// Unregister is the opposite of [Request.Register].
func (r *Request) Unregister(namespace string) {
	r.Tx.Put(registrationKey(r.ID.SubscriptionID(), namespace), []byte(Unregistered))
}

// checkRegistration refuses to write resources of a namespace for which the
// subscription isn't registered.
func (x *exchange) checkRegistration() error {
	spec := &x.target.typ.spec
	if spec.Core || x.target.id.SubscriptionID() == "" {
		return nil
	}
	state, err := x.request.Registration(x.ctx, x.target.id.Namespace())
	if err != nil || state == Registered {
		return err
	}
	return azure.Errorf(http.StatusConflict, "MissingSubscriptionRegistration",
		"The subscription is not registered to use namespace '%s'. See https://aka.ms/rps-not-found for how to register subscriptions.",
		x.target.id.Namespace())
}
