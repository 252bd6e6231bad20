package keyvault

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/store"
)

// listSecrets gives the live secrets, by name, each with the attributes of its
// current version.
func (h *Handler) listSecrets(ctx context.Context, r *request) (result, error) {
	return h.list(ctx, r, livePrefix(r.vault.key()), func(e store.Entry) (bundle, bool, error) {
		var s secret
		if err := decode(e, &s); err != nil {
			return bundle{}, false, err
		}
		return r.item(s.Name, s.Current), true, nil
	})
}

// listDeletedSecrets gives those that can still be recovered.
func (h *Handler) listDeletedSecrets(ctx context.Context, r *request) (result, error) {
	return h.list(ctx, r, deletedPrefix(r.vault.key()), func(e store.Entry) (bundle, bool, error) {
		var s secret
		if err := decode(e, &s); err != nil || s.due(r.now.Unix()) {
			return bundle{}, false, err
		}
		return r.deleted(r.item(s.Name, s.Current), s), true, nil
	})
}

// listVersions gives a secret's versions by their identifiers, which is Azure's
// order. Of a secret that does not exist there are none, which is no error.
func (h *Handler) listVersions(ctx context.Context, r *request) (result, error) {
	s, err := read[secret](ctx, h.snapshot(), r.shelf().live())
	if errors.Is(err, store.ErrNotFound) {
		return result{http.StatusOK, list{Value: []bundle{}}}, nil
	}
	if err != nil {
		return result{}, err
	}
	return h.list(ctx, r, r.shelf().versions(s.Life), func(e store.Entry) (bundle, bool, error) {
		var v version
		if err := decode(e, &v); err != nil {
			return bundle{}, false, err
		}
		return r.show(s.Name, v), true, nil
	})
}

// list fills one page from the keys under prefix. show turns an entry into an
// item, or leaves it out.
func (h *Handler) list(ctx context.Context, r *request, prefix string, show func(store.Entry) (bundle, bool, error)) (result, error) {
	page := list{Value: []bundle{}}
	after := prefix + r.query.after
	for {
		part, err := h.cfg.Store.List(ctx, prefix, store.ListOptions{After: after, Limit: r.query.pageSize - len(page.Value)})
		if err != nil {
			return result{}, err
		}
		for _, e := range part.Entries {
			after = e.Key
			item, ok, err := show(e)
			if err != nil {
				return result{}, err
			}
			if ok {
				page.Value = append(page.Value, item)
			}
		}
		switch {
		case !part.More:
			return result{http.StatusOK, page}, nil
		case len(page.Value) == r.query.pageSize:
			link := r.nextLink(strings.TrimPrefix(after, prefix))
			page.NextLink = &link
			return result{http.StatusOK, page}, nil
		}
	}
}
