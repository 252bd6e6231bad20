package keyvault

import (
	"context"
	"errors"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// getSecret answers with a value: of the version named, or of the current one.
// A disabled version is refused. One that has expired or is not valid yet is
// not: for secrets Azure treats both times as information for the client.
func (h *Handler) getSecret(ctx context.Context, r *request) (result, error) {
	at := h.snapshot()
	s, err := find(ctx, at, r)
	if err != nil {
		return result{}, err
	}
	v, err := findVersion(ctx, at, r, s)
	if err != nil {
		return result{}, err
	}
	if !v.Enabled {
		return result{}, forbidden("SecretDisabled", "Operation get is not allowed on a disabled secret.")
	}
	value, err := h.value(ctx, at, r.shelf().values(s.Life)+v.ID)
	if err != nil {
		return result{}, err
	}
	b := r.show(s.Name, v)
	b.Value = &value
	return result{http.StatusOK, b}, nil
}

// findVersion gives the version that the request names, without a read where
// that is the current one.
func findVersion(ctx context.Context, at *snapshot, r *request, s secret) (version, error) {
	if r.target.version == "" || r.target.version == s.Current.ID {
		return s.Current, nil
	}
	v, err := read[version](ctx, at, r.shelf().versions(s.Life)+r.target.version)
	if errors.Is(err, store.ErrNotFound) {
		return version{}, secretNotFound(r.target.name + "/" + r.target.version)
	}
	return v, err
}

// setSecret adds a version, and makes the secret where there is none. Record,
// attributes and value are written in one transaction.
func (h *Handler) setSecret(ctx context.Context, r *request) (result, error) {
	var body secretBody
	if err := readJSON(r.http, maxSecretBody, &body); err != nil {
		return result{}, err
	}
	if body.Value == nil {
		return result{}, badParameter("The property \"value\" is required.")
	}
	if err := body.check(); err != nil {
		return result{}, err
	}
	now, at := r.now.Unix(), r.shelf()
	v := version{ID: newID(), Enabled: true, Created: now, Updated: now}
	body.apply(&v)

	var s secret
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = h.secretToSet(tx, r); err != nil {
			return err
		}
		s.Current = v
		if err := store.PutJSON(tx, at.live(), s); err != nil {
			return err
		}
		if err := store.PutJSON(tx, at.versions(s.Life)+v.ID, v); err != nil {
			return err
		}
		return tx.PutSealed(at.values(s.Life)+v.ID, []byte(*body.Value))
	})
	if err != nil {
		return result{}, err
	}
	b := r.show(s.Name, v)
	b.Value = body.Value
	return result{http.StatusOK, b}, nil
}

// secretToSet gives the record to which a version is added: the live one, or a
// new one if the name is free. A deleted secret keeps its name until its time is
// over; one that is over by now is put aside here, and swept later.
func (h *Handler) secretToSet(tx *store.Tx, r *request) (secret, error) {
	at := r.shelf()
	s, _, err := store.GetJSON[secret](tx, at.live())
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return s, err
	}
	switch old, _, err := store.GetJSON[secret](tx, at.deleted()); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return secret{}, err
	case !old.due(r.now.Unix()):
		return secret{}, recoverable(old.Name)
	default:
		tx.Delete(at.deleted())
	}
	return secret{Name: r.target.name, Life: newID()}, nil
}

// updateSecret changes the attributes of a version, never its value.
func (h *Handler) updateSecret(ctx context.Context, r *request) (result, error) {
	var body secretBody
	if err := readJSON(r.http, maxSecretBody, &body); err != nil {
		return result{}, err
	}
	if err := body.check(); err != nil {
		return result{}, err
	}
	at := r.shelf()
	var s secret
	var v version
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = findIn(tx, r); err != nil {
			return err
		}
		id := r.target.version
		if id == "" {
			id = s.Current.ID
		}
		key := at.versions(s.Life) + id
		v, _, err = store.GetJSON[version](tx, key)
		if errors.Is(err, store.ErrNotFound) {
			return secretNotFound(r.target.name + "/" + id)
		}
		if err != nil {
			return err
		}
		body.apply(&v)
		v.Updated = r.now.Unix()
		if s.Current.ID == id {
			s.Current = v
			if err := store.PutJSON(tx, at.live(), s); err != nil {
				return err
			}
		}
		return store.PutJSON(tx, key, v)
	})
	if err != nil {
		return result{}, err
	}
	return result{http.StatusOK, r.show(s.Name, v)}, nil
}

// getContacts answers what a client that manages certificates asks of a vault
// that has none of them: there are no contacts.
func (h *Handler) getContacts(context.Context, *request) (result, error) {
	return result{}, azure.Errorf(http.StatusNotFound, "ContactsNotFound", "Contacts not found")
}
