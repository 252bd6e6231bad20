package entra

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

func (h *Handler) tokenV1(w http.ResponseWriter, r *http.Request, tenant string) {
	h.serveToken(w, r, &exchange{protocol: v1, tenantName: tenant})
}

func (h *Handler) tokenV2(w http.ResponseWriter, r *http.Request, tenant string) {
	h.serveToken(w, r, &exchange{protocol: v2, tenantName: tenant})
}

func (h *Handler) tokenADFS(w http.ResponseWriter, r *http.Request, tenant string) {
	h.serveToken(w, r, &exchange{protocol: adfsProtocol, tenantName: tenant})
}

// serveToken answers a token request: it runs the pipeline, has the outcome
// recorded, and only then writes it.
func (h *Handler) serveToken(w http.ResponseWriter, r *http.Request, x *exchange) {
	started := time.Now()
	x.host = r.Host
	noStore(w)
	e := h.step(r.Context(), "parse", func(ctx context.Context) (e *azure.Error) {
		r, e = h.parse(ctx, w, r, x)
		return e
	})
	if e == nil {
		e = h.issue(r.Context(), x)
	}
	rec := h.record(x, e)
	h.describe(r.Context(), rec)
	unrecorded := h.step(r.Context(), "audit", func(ctx context.Context) *azure.Error {
		if err := h.audit.Write(ctx, rec); err != nil {
			return errUnavailable.because(err)
		}
		return nil
	})
	if unrecorded != nil {
		// Nothing is told that is not on record: neither a token nor whether a
		// credential was right.
		e = unrecorded
	}
	number := 0
	if e != nil {
		number = e.Numbers[0]
		h.writeError(w, r, e)
	} else {
		h.writeToken(w, r, x)
	}
	h.metrics.observe(x, number, time.Since(started))
}

// step runs a step of the pipeline, which is a span where the request is traced.
func (h *Handler) step(ctx context.Context, name string, do func(ctx context.Context) *azure.Error) *azure.Error {
	ctx, span := h.tracer.Start(ctx, name)
	defer span.End()
	e := do(ctx)
	if e != nil && span.Recording() {
		span.Fail("AADSTS" + strconv.Itoa(e.Numbers[0]))
	}
	return e
}

// describe tells the request's span what the audit log is told: neither holds a
// secret, an assertion or a token.
func (h *Handler) describe(ctx context.Context, rec audit.Record) {
	span := h.tracer.Current(ctx)
	if !span.Recording() {
		return
	}
	span.Set("lanyard.result", rec.Result)
	span.Set("lanyard.tenant_id", rec.TenantID)
	span.Set("lanyard.app_id", rec.AppID)
	span.Set("lanyard.object_id", rec.ObjectID)
	for name, value := range rec.Detail {
		span.Set("lanyard.token."+name, value)
	}
}

// parse reads all of the request that does not depend on the grant: the tenant,
// the form, and which grant it is. It returns the request with the correlation
// identifier of the body in its context, where the header brought none.
func (h *Handler) parse(ctx context.Context, w http.ResponseWriter, r *http.Request, x *exchange) (*http.Request, *azure.Error) {
	if err := h.fresh(); err != nil {
		return r, errUnavailable.because(err)
	}
	e := h.step(ctx, "tenant", func(context.Context) (e *azure.Error) {
		if x.protocol == adfsProtocol {
			x.tenant, e = h.adfsTenant()
		} else {
			x.tenant, e = h.tenant(x.tenantName)
		}
		return e
	})
	if e != nil {
		return r, e
	}
	if x.form, e = h.readForm(w, r); e != nil {
		return r, e
	}
	r = h.correlate(w, r, x.form["client-request-id"])
	name, e := x.form.require("grant_type")
	if e != nil {
		return r, e
	}
	var ok bool
	if x.grant, ok = h.grants[name]; !ok {
		return r, errGrantType.new(name)
	}
	if x.basic, ok = readBasic(r); !ok {
		return r, h.withHint(errMalformed.new(), "The credentials of the Authorization header are not form-encoded.")
	}
	x.capabilities, e = parseClaims(x.form["claims"])
	return r, e
}

// issue runs the grant and mints the token it allows.
func (h *Handler) issue(ctx context.Context, x *exchange) *azure.Error {
	e := h.step(ctx, "grant", func(ctx context.Context) *azure.Error {
		h.tracer.Current(ctx).Set("lanyard.grant", x.grant.name)
		return x.grant.run(h, ctx, x)
	})
	if e != nil {
		return e
	}
	e = h.step(ctx, "resource", func(context.Context) *azure.Error {
		appID, version, ok := h.directory.Resource(x.tenant.ID, x.audience)
		if !ok {
			return errResource.new(x.audience, displayName(x.tenant))
		}
		x.claims = h.claims(x, appID, version)
		return nil
	})
	if e != nil {
		return e
	}
	return h.step(ctx, "mint", func(context.Context) *azure.Error {
		raw, err := h.keys.Mint(x.claims)
		switch {
		case errors.Is(err, store.ErrStale):
			return errUnavailable.because(err)
		case err != nil:
			return errInternal.because(err)
		}
		x.raw = raw
		return nil
	})
}

// claims are what the token says. The resource decides on the version,
// whichever endpoint was used: version 1 names the audience as the client
// spelled it, version 2 by its application ID.
func (h *Handler) claims(x *exchange, resourceAppID string, version int) token.Claims {
	now := h.now()
	begins := now.Add(-backdate).Unix()
	c := token.Claims{
		Audience:  x.audience,
		Issuer:    h.cloud.IssuerV1(x.tenant.ID),
		IssuedAt:  begins,
		NotBefore: begins,
		Expiry:    now.Unix() + x.lifetime.seconds,
		Version:   token.Version1,
		TenantID:  x.tenant.ID,
		ObjectID:  x.subject.ObjectID,
		Subject:   x.subject.ObjectID,
		AppID:     x.client.Principal.AppID,
		AppIDACR:  x.proof.acr,
		IDType:    token.IDTypeApp,
		TokenID:   token.NewTokenID(),
	}
	if version == 2 {
		c.Version, c.Audience, c.Issuer = token.Version2, resourceAppID, h.cloud.IssuerV2(x.tenant.ID)
	}
	if x.subject.ServicePrincipalType == directory.ManagedIdentityPrincipal {
		c.IdentityResourceID = identityResourceID(x.subject.ResourceID)
		c.Groups = h.groups(x.tenant.ID, x.subject.ObjectID)
	}
	if h.services[resourceAppID] {
		c.Capabilities = x.capabilities
	}
	return c
}

// identityResourceID gives a managed identity's resource ID as tokens spell it
// (xms_mirid): with "resourcegroups" in lower case, and the rest as it is.
func identityResourceID(id string) string {
	const segment = "/resourcegroups/"
	for i := range len(id) - len(segment) + 1 {
		if azure.EqualFold(id[i:i+len(segment)], segment) {
			return id[:i] + segment + id[i+len(segment):]
		}
	}
	return id
}

// record is the audit record of a token request.
func (h *Handler) record(x *exchange, e *azure.Error) audit.Record {
	rec := audit.Record{
		Kind:     "token",
		Result:   "issued",
		TenantID: x.tenant.ID,
		AppID:    x.clientID,
		ObjectID: x.client.Principal.ObjectID,
	}
	if folded := azure.Fold(x.tenantName); rec.TenantID == "" && (azure.IsGUID(folded) || isDomain(folded)) {
		x.note("tenant", folded)
	}
	x.note("endpoint", x.protocol.String())
	if x.grant != nil {
		x.note("grant", x.grant.name)
	}
	x.note("credentialKind", x.proof.kind)
	x.note("credential", x.proof.name)
	if strings.Contains(x.audience, ":") || azure.IsGUID(azure.Fold(x.audience)) { // else it may be a secret
		x.note("audience", x.audience)
	}
	if e == nil {
		rec.ObjectID = x.claims.ObjectID
		x.note("tokenId", x.claims.TokenID)
		x.note("expires", time.Unix(x.claims.Expiry, 0).UTC().Format(time.RFC3339))
	} else {
		rec.Result = "refused"
		if e.Status >= http.StatusInternalServerError {
			rec.Result = "error"
		}
		rec.Reason = e.Err.Error()
	}
	rec.Detail = x.notes
	return rec
}
