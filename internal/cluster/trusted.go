package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// TrustedIssuers lists the issuers whose keys the operator has given, by name.
func (c *Clusters) TrustedIssuers() []TrustedIssuer {
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := make([]TrustedIssuer, 0, len(c.view.trusted))
	for _, t := range c.view.trusted {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b TrustedIssuer) int { return strings.Compare(azure.Fold(a.Name), azure.Fold(b.Name)) })
	return list
}

// TrustedIssuer gives the one of that name, in any case.
func (c *Clusters) TrustedIssuer(name string) (TrustedIssuer, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if t := c.view.trusted[azure.Fold(name)]; t != nil {
		return *t, true
	}
	return TrustedIssuer{}, false
}

// PutTrustedIssuer gives the keys of an issuer to a tenant, in the transaction, or
// replaces them, exactly. An issuer URL is bound at most once, and stays bound to
// its tenant until it is deleted. after records the change; it is for after the
// commit.
func (c *Clusters) PutTrustedIssuer(tx *store.Tx, caller azure.Caller, asked TrustedIssuer) (
	stored TrustedIssuer, created bool, after func(context.Context) error, err error,
) {
	fail := func(err error) (TrustedIssuer, bool, func(context.Context) error, error) {
		return TrustedIssuer{}, false, nil, err
	}
	if err := c.checkForeignIssuer(asked.IssuerURL, "properties.issuerUrl"); err != nil {
		return fail(err)
	}
	usable, unusable, err := readKeys(asked.KeySet)
	if err != nil {
		return fail(err)
	}
	if len(unusable) > 0 {
		return fail(errKeys("The keys '%s' cannot be used: federated credentials take tokens signed with RS256 alone. Leave them out.", strings.Join(unusable, "', '")))
	}
	old, _, err := store.GetJSON[TrustedIssuer](tx, key(trusted, asked.Name))
	created = errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return fail(err)
	}
	now := c.now().UTC()
	if created {
		bound := azure.Errorf(http.StatusConflict, "IssuerAlreadyTrusted",
			"The issuer '%.200s' is bound already, by another name. One issuer has one set of keys: change that one, or delete it first.", asked.IssuerURL)
		if err := tx.Create(trustedURLKey(asked.IssuerURL), []byte(azure.Fold(asked.Name)), bound); err != nil {
			return fail(err)
		}
		old = TrustedIssuer{Name: asked.Name, IssuerURL: asked.IssuerURL, TenantID: azure.Fold(asked.TenantID), Created: now}
	} else if old.IssuerURL != asked.IssuerURL || !azure.EqualFold(old.TenantID, asked.TenantID) {
		return fail(azure.Errorf(http.StatusConflict, "TrustedIssuerImmutable",
			"The trusted issuer '%s' is of the issuer '%.200s' and the tenant '%s', which cannot be changed: delete it, and make another one.",
			old.Name, old.IssuerURL, old.TenantID))
	}
	r := record{Cluster: Cluster{ID: old.Name}, KeySet: old.KeySet}
	change, err := r.replaceKeys(usable, now)
	if err != nil {
		return fail(err)
	}
	old.KeySet, old.Changed = r.KeySet, now
	after = func(ctx context.Context) error { return c.auditTrusted(ctx, caller, old, change) }
	return old, created, after, store.PutJSON(tx, key(trusted, old.Name), old)
}

// DeleteTrustedIssuer ends the trust, in the transaction: tokens by these keys are
// refused from then on. One that does not exist is no error. after is as for
// [Clusters.PutTrustedIssuer].
func (c *Clusters) DeleteTrustedIssuer(tx *store.Tx, caller azure.Caller, name string) (existed bool, after func(context.Context) error, err error) {
	old, _, err := store.GetJSON[TrustedIssuer](tx, key(trusted, name))
	if errors.Is(err, store.ErrNotFound) {
		return false, func(context.Context) error { return nil }, nil
	}
	if err != nil {
		return false, nil, err
	}
	tx.Delete(key(trusted, name))
	tx.Delete(trustedURLKey(old.IssuerURL))
	r := record{KeySet: old.KeySet}
	change, err := r.replaceKeys(nil, c.now())
	return true, func(ctx context.Context) error { return c.auditTrusted(ctx, caller, old, change) }, err
}

// ForgetTenant removes some of the trusted issuers of a tenant that ends, few
// enough for one transaction; more tells that it must be called again.
func (c *Clusters) ForgetTenant(tx *store.Tx, tenantID string) (more bool, err error) {
	const some = 40
	entries, err := tx.List(key(trusted))
	if err != nil {
		return false, err
	}
	removed := 0
	for _, e := range entries {
		var t TrustedIssuer
		if err := json.Unmarshal(e.Value, &t); err != nil || !azure.EqualFold(t.TenantID, tenantID) {
			continue // what cannot be read trusts nobody
		}
		if removed == some {
			return true, nil
		}
		tx.Delete(e.Key)
		tx.Delete(trustedURLKey(t.IssuerURL))
		removed++
	}
	return false, nil
}

func (c *Clusters) auditTrusted(ctx context.Context, caller azure.Caller, t TrustedIssuer, change keyChange) error {
	return c.auditKeys(ctx, audit.Record{
		TenantID: caller.TenantID, ObjectID: caller.ObjectID, AppID: caller.AppID,
		Action: "Lanyard.Directory/trustedIssuers", Scope: "/providers/Lanyard.Directory/trustedIssuers/" + t.Name,
		Detail: map[string]string{"issuer": t.IssuerURL, "tenant": t.TenantID},
	}, change)
}
