package arm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// The types of an identity block, in Azure's spelling.
const (
	IdentityNone           = "None"
	IdentitySystemAssigned = "SystemAssigned"
	IdentityUserAssigned   = "UserAssigned"
	IdentityBoth           = "SystemAssigned, UserAssigned"
)

// Identity is the identity block of a resource, for types that have the member
// "identity" (Spec.Members): which managed identities it may act as. The engine
// reads it from bodies, keeps the principals in step with it, and shows it. A
// Put hook may look at it and change SystemAssigned and UserAssigned, as for a
// default of the type's own; what other hooks change of it is not stored.
type Identity struct {
	// SystemAssigned says that the resource has an identity of its own.
	SystemAssigned bool `json:"systemAssigned,omitempty"`
	// PrincipalID and ClientID are those of the resource's own identity. The
	// engine makes the principal after the Put hook, and deletes it when
	// SystemAssigned ends or the resource does.
	PrincipalID string `json:"principalId,omitempty"`
	ClientID    string `json:"clientId,omitempty"`
	// UserAssigned are the user-assigned identities, in the order of their
	// folded IDs.
	UserAssigned []AttachedIdentity `json:"userAssigned,omitempty"`
}

// AttachedIdentity is a user-assigned identity that a resource may act as.
type AttachedIdentity struct {
	// ID is spelled as the client did that attached the identity.
	ID azure.ResourceID `json:"id"`
	// PrincipalID and ClientID are those of the identity that was attached. They
	// tell it from a later one of the same name, which nobody has attached. Empty
	// in what a hook adds: the engine fills them in.
	PrincipalID string `json:"principalId"`
	ClientID    string `json:"clientId"`
}

// Type gives the block's type; IdentityNone for a resource without a block.
func (i *Identity) Type() string {
	switch {
	case i == nil:
		return IdentityNone
	case i.SystemAssigned && len(i.UserAssigned) > 0:
		return IdentityBoth
	case i.SystemAssigned:
		return IdentitySystemAssigned
	case len(i.UserAssigned) > 0:
		return IdentityUserAssigned
	default:
		return IdentityNone
	}
}

// attached gives the index of an identity among those attached, or -1.
func (i *Identity) attached(id azure.ResourceID) int {
	if i == nil {
		return -1
	}
	return slices.IndexFunc(i.UserAssigned, func(a AttachedIdentity) bool { return a.ID.Equal(id) })
}

// clone copies a block, so that a hook cannot change the stored one.
func (i *Identity) clone() *Identity {
	if i == nil {
		return nil
	}
	c := *i
	c.UserAssigned = slices.Clone(i.UserAssigned)
	return &c
}

func (i *Identity) sort() {
	slices.SortFunc(i.UserAssigned, func(a, b AttachedIdentity) int { return strings.Compare(a.ID.Key(), b.ID.Key()) })
}

// has reports whether the type has a member of the envelope.
func (s *Spec) has(member string) bool { return slices.Contains(s.Members, member) }

// assignAction is the RBAC action that attaching an identity takes on it. An ID
// of a type whose resources cannot be attached is the client's error.
func (w *writing) assignAction(id azure.ResourceID) (string, error) {
	typ, ok := w.engine.router.types[azure.Fold(id.Type())]
	if !ok || typ.stored == nil || typ.stored.principal == nil {
		return "", errIdentity(w.target.id, "The resource '%s' is not a user-assigned identity.", id)
	}
	return typ.spec.action() + "/assign/action", nil
}

// linkedIdentities are the linked scopes of the identities that the body names:
// who attaches one must be allowed to, and so must who names one that is
// attached already.
func (w *writing) linkedIdentities() ([]Linked, error) {
	var linked []Linked
	for _, id := range w.named {
		action, err := w.assignAction(id)
		if err != nil {
			return nil, err
		}
		linked = append(linked, Linked{Action: action, Scope: id})
	}
	return linked, nil
}

// resolve reads the identities that a resource is to have. It is done outside of
// the transaction, which could not compare as many keys as a scale set may have
// identities; if one is deleted meanwhile, the resource has a deleted identity,
// as it would if that happened later.
func (w *writing) resolve(ids []azure.ResourceID) error {
	for _, id := range ids {
		rec, err := load(func(key string) (store.Entry, error) { return w.engine.cfg.Store.Get(w.ctx, key) }, Key(w.request.TenantID, id))
		if err != nil {
			return err
		}
		found := AttachedIdentity{ID: id}
		if rec != nil && rec.TenantID == w.request.TenantID {
			typ := w.engine.router.types[azure.Fold(id.Type())]
			if found.PrincipalID, found.ClientID, err = typ.stored.principal(rec); err != nil {
				return err
			}
		}
		w.resolved[id.Key()] = found
	}
	return nil
}

// settleIdentity brings principals and block in step: it pins the identities
// that are newly attached, refuses those that are gone, and makes or deletes the
// resource's own principal.
func (w *writing) settleIdentity(tx *store.Tx, old, rec *record) error {
	var unknown []azure.ResourceID
	if rec.Identity != nil {
		rec.Identity.sort()
		for _, a := range rec.Identity.UserAssigned {
			if _, err := w.assignAction(a.ID); err != nil {
				return err
			}
			if _, ok := w.resolved[a.ID.Key()]; !ok {
				unknown = append(unknown, a.ID)
			}
		}
	}
	if len(unknown) > 0 {
		return &unsettledError{identities: unknown}
	}
	if err := w.pin(rec); err != nil {
		return err
	}
	return w.settlePrincipal(tx, old, rec)
}

// pin gives each attached identity the principal that it now has.
func (w *writing) pin(rec *record) error {
	if rec.Identity == nil {
		return nil
	}
	for i := range rec.Identity.UserAssigned {
		a := &rec.Identity.UserAssigned[i]
		now := w.resolved[a.ID.Key()]
		named := slices.ContainsFunc(w.named, a.ID.Equal)
		switch {
		case now.PrincipalID == "":
			return errIdentity(rec.ID, "Resource '%s' was not found.", a.ID)
		case a.PrincipalID == "" || named:
			a.PrincipalID, a.ClientID = now.PrincipalID, now.ClientID
		case a.PrincipalID != now.PrincipalID:
			return errIdentity(rec.ID, "The identity '%s' was deleted after it was assigned, and another one has its name. Assign that one, or remove it.", a.ID)
		}
	}
	return nil
}

// settlePrincipal makes or deletes the principal of the resource's own identity.
// An identity that is turned off and on again is another one.
func (w *writing) settlePrincipal(tx *store.Tx, old, rec *record) error {
	before := ""
	if old != nil && old.Identity != nil {
		before = old.Identity.PrincipalID
	}
	if rec.Identity == nil || !rec.Identity.SystemAssigned {
		if rec.Identity != nil {
			rec.Identity.PrincipalID, rec.Identity.ClientID = "", ""
		}
		return w.engine.deletePrincipal(tx, rec.TenantID, before)
	}
	if before != "" {
		rec.Identity.PrincipalID, rec.Identity.ClientID = before, old.Identity.ClientID
		return nil
	}
	p, err := w.engine.cfg.Directory.CreateManagedIdentity(tx, rec.TenantID, rec.ID, true)
	if err != nil {
		return fmt.Errorf("making the identity of %s: %w", rec.ID, err)
	}
	rec.Identity.PrincipalID, rec.Identity.ClientID = p.ObjectID, p.AppID
	return nil
}

// deletePrincipal ends a resource's own identity, if it has one; not that of the
// tenant's last administrator.
func (e *Engine) deletePrincipal(tx *store.Tx, tenantID, principalID string) error {
	if principalID == "" {
		return nil
	}
	if err := e.cfg.Guard.KeepAdministrator(tx, tenantID, principalID); err != nil {
		return err
	}
	return e.cfg.Directory.DeletePrincipal(tx, tenantID, principalID)
}

// shownIdentity is a block on the wire.
type shownIdentity struct {
	PrincipalID  string                   `json:"principalId,omitempty"`
	TenantID     string                   `json:"tenantId,omitempty"`
	Type         string                   `json:"type"`
	UserAssigned map[string]shownAttached `json:"userAssignedIdentities,omitempty"`
}

type shownAttached struct {
	PrincipalID string `json:"principalId,omitempty"`
	ClientID    string `json:"clientId,omitempty"`
}

// showIdentity encodes a resource's block; nil where it has none. An identity
// that was deleted stays listed, without its principal.
func (e *Engine) showIdentity(ctx context.Context, rec *record) (json.RawMessage, error) {
	block := rec.Identity
	if block == nil {
		return nil, nil
	}
	shown := shownIdentity{Type: block.Type()}
	if block.SystemAssigned {
		shown.PrincipalID, shown.TenantID = block.PrincipalID, rec.TenantID
	}
	if len(block.UserAssigned) > 0 {
		// What was there when the resource was last written, the directory's view
		// must show too.
		if err := e.cfg.Store.Wait(ctx, rec.Revision); err != nil {
			return nil, err
		}
		shown.UserAssigned = map[string]shownAttached{}
		for _, a := range block.UserAssigned {
			var s shownAttached
			if p, ok := e.cfg.Directory.Principal(rec.TenantID, a.PrincipalID); ok {
				s = shownAttached{PrincipalID: p.ObjectID, ClientID: p.AppID}
			}
			shown.UserAssigned[a.ID.String()] = s
		}
	}
	return json.Marshal(shown)
}

// IdentityOf reads a resource of any stored type, for its identity block, in r's
// transaction where it has one. The envelope is without identity, and has the ID
// alone where the scope is no stored resource, and so has no identity. A resource
// that doesn't exist is a 404.
func (r *Request) IdentityOf(ctx context.Context, id azure.ResourceID) (Envelope, *Identity, error) {
	typ, ok := r.engine.router.types[azure.Fold(id.Type())]
	if !ok || typ.stored == nil {
		return Envelope{ID: id.String()}, nil, nil
	}
	rec, err := load(r.reader(ctx), Key(r.TenantID, id))
	if err != nil {
		return Envelope{}, nil, err
	}
	if rec == nil {
		return Envelope{}, nil, errNotFound(&typ.spec, id)
	}
	return typ.envelope(rec), rec.Identity.clone(), nil
}

// Attached lists the resources of the request's tenant, in the given
// subscriptions, that have the user-assigned identity with the given principal,
// in the order of their keys and without properties and identity. Whoever shows
// them filters them by what the caller may read.
func (r *Request) Attached(ctx context.Context, principalID string, subscriptions []string) ([]Envelope, error) {
	var found []Envelope
	all := func(string) bool { return true }
	for _, sub := range subscriptions {
		prefix := Key(r.TenantID, azure.SubscriptionScope(sub)) + "/"
		err := r.engine.scan(ctx, prefix, "", all, func(batch []*record) (bool, error) {
			for _, rec := range batch {
				typ, ok := r.engine.router.types[azure.Fold(rec.ID.Type())]
				has := func(a AttachedIdentity) bool { return a.PrincipalID == principalID }
				if ok && rec.Identity != nil && slices.ContainsFunc(rec.Identity.UserAssigned, has) {
					found = append(found, typ.envelope(rec))
				}
			}
			return false, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// errIdentity is FailedIdentityOperation in Azure's form, in which the answer of
// the identity service is quoted. aad-pod-identity's controller finds the IDs in
// it, drops them and tries again.
func errIdentity(resource azure.ResourceID, format string, args ...any) error {
	answer, err := json.Marshal(map[string]any{"error": map[string]string{"code": "BadRequest", "message": fmt.Sprintf(format, args...)}})
	if err != nil {
		return fmt.Errorf("encoding an error: %w", err)
	}
	return azure.Errorf(http.StatusBadRequest, "FailedIdentityOperation",
		"Identity operation for resource '%s' failed with error 'Failed to perform resource identity operation. Status: 'BadRequest'. Response: '%s'.'.",
		resource, answer)
}
