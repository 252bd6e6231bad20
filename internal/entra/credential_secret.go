package entra

import (
	"errors"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// checkSecret proves an application by its secret. A managed identity has none,
// and is told no more than an application with a wrong one.
func (h *Handler) checkSecret(x *exchange, secret string) *azure.Error {
	x.proof.kind = kindSecret
	app := x.client.Application
	if app == nil {
		return errSecret.because(errors.New("a managed identity has no secrets"), x.clientID)
	}
	switch ok, expired := app.CheckSecret(secret, h.now()); {
	case expired:
		return errSecretExpired.new(x.clientID)
	case !ok:
		return errSecret.new(x.clientID)
	}
	x.proof.acr, x.proof.name = token.ACRSecret, h.secretID(app, secret)
	return nil
}

// secretID tells, for the audit record, which of an application's secrets was
// right.
func (h *Handler) secretID(app *directory.Application, secret string) string {
	for _, s := range app.Secrets {
		only := directory.Application{Secrets: []directory.Secret{s}}
		if ok, _ := only.CheckSecret(secret, h.now()); ok {
			return s.KeyID
		}
	}
	return ""
}
