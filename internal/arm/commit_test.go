package arm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// What a hook leaves for after the commit happens once for each request that
// succeeds, however often its transaction ran, and not for one that fails.
func TestAfterCommit(t *testing.T) {
	var w *world
	var runs int
	var after []string
	var failing error
	note := func(r *Request, what string) {
		runs++
		if runs == 1 { // a change between reading and commit, so that it runs again
			_, err := w.Store.Update(context.Background(), func(tx *store.Tx) error { tx.Put("contended", []byte(what)); return nil })
			cloudtest.Must(t, err)
		}
		_, _ = r.Tx.Get("contended")
		r.Tx.Put("touched", []byte(what))
		r.AfterCommit(func(context.Context) error {
			after = append(after, what)
			return failing
		})
	}
	w = newWorld(t, thingType(func(_ *Spec, h *Hooks[thing]) {
		put := h.Put
		h.Put = func(ctx context.Context, p *Put[thing]) error {
			note(p.Request, "put")
			return put(ctx, p)
		}
		h.Actions = []Action[thing]{{Name: "paint", Writes: true, Run: func(_ context.Context, r *Request, _ *Resource[thing], _ json.RawMessage) (int, any, error) {
			_, _ = r.Tx.Get("contended")
			note(r, "paint")
			return http.StatusOK, nil, nil
		}}}
	}))
	w.group("rg")
	url := thingPath("rg", "one")
	w.want(http.StatusCreated, http.MethodPut, url+version, `{"location":"westeurope"}`)
	if want := []string{"put"}; !slices.Equal(after, want) {
		t.Errorf("after %d runs: %v, want %v", runs, after, want)
	}
	runs, after = 0, nil
	w.want(http.StatusOK, http.MethodPost, url+"/paint"+version, "")
	if want := []string{"paint"}; runs < 2 || !slices.Equal(after, want) {
		t.Errorf("after %d runs: %v, want %v", runs, after, want)
	}
	after = nil
	w.want(http.StatusBadRequest, http.MethodPut, url+version, `{"location":"westeurope","properties":{"color":"invisible"}}`)
	if len(after) != 0 {
		t.Errorf("after a refusal: %v", after)
	}
	failing = errors.New("the disk is full")
	w.want(http.StatusInternalServerError, http.MethodPost, url+"/paint"+version, "")
}

// An action that is a part of writing takes the right to write, and not the
// right to act.
func TestActionAsWrite(t *testing.T) {
	w := newWorld(t, thingType(func(_ *Spec, h *Hooks[thing]) {
		h.Actions = []Action[thing]{{Name: "paint", As: "write", Writes: true, Run: func(context.Context, *Request, *Resource[thing], json.RawMessage) (int, any, error) {
			return http.StatusOK, nil, nil
		}}}
	}))
	w.group("rg")
	url := thingPath("rg", "one")
	w.want(http.StatusCreated, http.MethodPut, url+version, `{"location":"westeurope"}`)
	role := func(name, action string) string {
		principal := uuid.NewString()
		var def rbac.RoleDefinition
		w.Update(func(tx *store.Tx) (err error) {
			def, _, err = w.Guard.PutDefinition(tx, rbac.RoleDefinition{
				ID: uuid.NewString(), TenantID: tenantID, RoleName: name, Custom: true,
				AssignableScopes: []string{azure.SubscriptionScope(subID).String()},
				Permissions:      []rbac.Permission{{Actions: []string{action}}},
			})
			return err
		})
		w.Assign(principal, def.ID, azure.SubscriptionScope(subID))
		return principal
	}
	if a := w.do(role("Painter", "Test.Things/things/paint/action"), http.MethodPost, url+"/paint"+version, ""); a.Status != http.StatusForbidden {
		t.Errorf("who may act: %d %s", a.Status, a.Body)
	}
	if a := w.do(role("Writer", "Test.Things/things/write"), http.MethodPost, url+"/paint"+version, ""); a.Status != http.StatusOK {
		t.Errorf("who may write: %d %s", a.Status, a.Body)
	}
	for _, typ := range w.engine.cfg.Types {
		if typ.spec.Name == "Test.Things/things" {
			if got := typ.Actions()[0].Action; got != "Test.Things/things/write" {
				t.Errorf("the catalog lists %q", got)
			}
		}
	}
}
