package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// bootstrapKey holds the [bootstrapRecord]. Its presence means that the first
// start is over.
const bootstrapKey = "server/bootstrap"

// bootstrapRecord names what the first start made. There is no secret in it.
type bootstrapRecord struct {
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	AppID          string `json:"appId"`
	ObjectID       string `json:"objectId"`
	// Domain and Port are the names that issuers and vault URIs began with.
	Domain  string    `json:"domain"`
	Port    int       `json:"port"`
	Created time.Time `json:"created"`
}

// bootstrapper makes what a new cloud needs before anyone can ask it for
// anything: a tenant, a subscription, and a principal that may do the rest.
//
// That principal is an ordinary one: a service principal with a random secret
// and an Owner assignment at the tenant's root. No plane knows it. Its secret is
// hashed in the directory like any other; the text goes to the environment file
// of the replica that made it, and nowhere else.
type bootstrapper struct {
	store *store.Store
	dir   *directory.Directory
	guard *rbac.Guard
	cloud azure.Cloud
	cfg   Config
	log   *slog.Logger
}

// run makes all of it in one transaction, unless it is there, and gives what
// the environment file says of it.
func (b *bootstrapper) run(ctx context.Context) (bootstrapRecord, Bootstrap, error) {
	var record bootstrapRecord
	var secret string
	_, err := b.store.Update(ctx, func(tx *store.Tx) error {
		var err error
		secret = ""
		record, _, err = store.GetJSON[bootstrapRecord](tx, bootstrapKey)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		record, secret, err = b.create(tx)
		if err != nil {
			return err
		}
		return store.CreateJSON(tx, bootstrapKey, record, nil)
	})
	if err != nil {
		return record, Bootstrap{}, fmt.Errorf("making the first tenant: %w", err)
	}
	boot := Bootstrap{ClientID: record.AppID, ClientSecret: secret, ObjectID: record.ObjectID}
	if secret != "" {
		b.log.Info("the first tenant, subscription and operator were made", "tenantId", record.TenantID,
			"subscriptionId", record.SubscriptionID, "clientId", record.AppID)
		return record, boot, nil
	}
	if record.Domain != b.cloud.Domain || record.Port != b.cloud.Port {
		b.log.Warn("the cloud has other names than on its first start: issuers and vault URIs of before are no longer its own",
			"was", fmt.Sprintf("%s:%d", record.Domain, record.Port), "is", fmt.Sprintf("%s:%d", b.cloud.Domain, b.cloud.Port))
	}
	boot.ClientSecret, err = b.secret(ctx, record)
	return record, boot, err
}

// create writes the first tenant and everything in it.
func (b *bootstrapper) create(tx *store.Tx) (record bootstrapRecord, secret string, err error) {
	record = bootstrapRecord{
		TenantID: orNewGUID(b.cfg.Bootstrap.TenantID), SubscriptionID: orNewGUID(b.cfg.Bootstrap.SubscriptionID),
		Domain: b.cloud.Domain, Port: b.cloud.Port, Created: b.cfg.Now().UTC(),
	}
	tenant := directory.Tenant{ID: record.TenantID, DisplayName: "Lanyard", DefaultDomain: b.cloud.Domain}
	if err := b.dir.CreateTenant(tx, tenant); err != nil {
		return record, "", err
	}
	subscription := directory.Subscription{ID: record.SubscriptionID, TenantID: record.TenantID, DisplayName: "Lanyard"}
	if err := b.dir.CreateSubscription(tx, subscription); err != nil {
		return record, "", err
	}
	app, principal, err := b.dir.CreateApplication(tx, record.TenantID, "Lanyard bootstrap")
	if err != nil {
		return record, "", err
	}
	record.AppID, record.ObjectID = app.AppID, principal.ObjectID
	if _, secret, err = b.dir.AddSecret(tx, record.TenantID, app.AppID, secretName, time.Time{}); err != nil {
		return record, "", err
	}
	_, _, err = b.guard.PutAssignment(tx, rbac.Assignment{
		Name: uuid.NewString(), TenantID: record.TenantID, Scope: azure.Root(),
		RoleDefinitionID: azure.RoleOwner,
		PrincipalID:      principal.ObjectID, PrincipalType: azure.ServicePrincipal,
		Description: "Made by Lanyard's first start, so that there is someone to make everything else.",
	})
	return record, secret, err
}

// secretName is the display name of the secrets that are made here.
const secretName = "environment file"

func orNewGUID(id string) string {
	if id == "" {
		return uuid.NewString()
	}
	return azure.Fold(id)
}

// secret gives the text of the bootstrap application's secret on a later start:
// that of the environment file, if it is still valid; otherwise a new one where
// this process is the only one, or the configuration asks for it. It gives ""
// where another replica has the secret.
func (b *bootstrapper) secret(ctx context.Context, record bootstrapRecord) (string, error) {
	client, ok := b.dir.Client(record.TenantID, record.AppID)
	if !ok || client.Application == nil {
		b.log.Warn("the bootstrap application was deleted: the environment file has no secret", "clientId", record.AppID)
		return "", nil
	}
	if !b.cfg.Bootstrap.RenewSecret {
		for former := range formerEnvironments(b.cfg) {
			if valid, _ := client.Application.CheckSecret(former.Bootstrap.ClientSecret, b.cfg.Now()); valid {
				return former.Bootstrap.ClientSecret, nil
			}
		}
		if len(b.cfg.Store.Endpoints) > 0 {
			b.log.Warn("the environment file has no valid secret of the bootstrap application: "+
				"take that of the replica that made it, or set bootstrap.renewSecret for one start", "envFile", b.cfg.EnvFile)
			return "", nil
		}
	}
	var text string
	_, err := b.store.Update(ctx, func(tx *store.Tx) error {
		for _, s := range client.Application.Secrets {
			if s.DisplayName != secretName {
				continue // an operator's own
			}
			if err := b.dir.RemoveSecret(tx, record.TenantID, record.AppID, s.KeyID); err != nil {
				return err
			}
		}
		var err error
		_, text, err = b.dir.AddSecret(tx, record.TenantID, record.AppID, secretName, time.Time{})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("renewing the bootstrap secret: %w", err)
	}
	b.log.Warn("the bootstrap application has a new secret, and its former ones are over: the environment file held none that was valid",
		"envFile", b.cfg.EnvFile)
	return text, nil
}
