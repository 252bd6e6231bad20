package arm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// orderly refuses to delete a thing before its parts.
func orderly(before func() error) func(*Spec, *Hooks[thing]) {
	return func(_ *Spec, h *Hooks[thing]) {
		kept := h.Delete
		h.Delete = func(ctx context.Context, r *Request, old *Resource[thing]) error {
			parts, err := r.Tx.List(Key(tenantID, old.ID) + "/parts/")
			if err != nil {
				return err
			}
			if len(parts) > 0 {
				return fmt.Errorf("%s still has %d parts", old.ID, len(parts))
			}
			if before != nil {
				if err := before(); err != nil {
					return err
				}
			}
			return kept(ctx, r, old)
		}
	}
}

// fill makes a group with things and parts.
func (w *world) fill(group string, things, parts int) {
	w.TB.Helper()
	w.group(group)
	var all []string
	for i := range things {
		all = append(all, fmt.Sprintf("t%03d", i))
	}
	w.seed(group, all...)
	for _, name := range all {
		var below []string
		for i := range parts {
			below = append(below, fmt.Sprintf("%s/parts/p%03d", name, i))
		}
		w.seed(group, below...)
	}
}

// left counts the keys below a prefix.
func (w *world) left(prefix string) int {
	w.TB.Helper()
	return len(w.Entries(prefix))
}

func (w *world) wantGone(group string, deleted int) {
	w.TB.Helper()
	id := mustID(w.TB, groupPath(group))
	if n := w.left(Key(tenantID, id) + "/"); n != 0 {
		w.TB.Errorf("%d resources of the group are left", n)
	}
	w.want(http.StatusNotFound, http.MethodGet, groupPath(group)+version, "")
	if n := w.left("deleted" + "/" + id.Key() + "/"); n != deleted {
		w.TB.Errorf("%d resources were deleted by their hooks, want %d", n, deleted)
	}
}

func TestGroupCascade(t *testing.T) {
	w := newWorld(t, thingType(orderly(nil)), partType())
	w.fill("rg", 30, 3)
	w.fill("rg1", 1, 1)
	const guest = "33333333-3333-3333-3333-333333333336"
	for _, scope := range []string{groupPath("rg"), thingPath("rg", "t001"), thingPath("rg", "gone-long-ago"), thingPath("rg1", "t000")} {
		w.Assign(guest, azure.RoleReader, mustID(t, scope))
	}
	location := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	if got := w.poll(location); got.Status != http.StatusOK {
		t.Fatalf("the end is %d %s", got.Status, got.Body)
	}
	w.wantGone("rg", 120)
	assignments, err := w.Guard.ListAssignments(t.Context(), tenantID)
	cloudtest.Must(t, err)
	var left []string
	for _, a := range assignments {
		if a.PrincipalID == guest {
			left = append(left, a.Scope.String())
		}
	}
	if len(left) != 1 || left[0] != thingPath("rg1", "t000") {
		t.Errorf("the guest's roles are at %v", left)
	}
	if n := w.left(Key(tenantID, mustID(t, groupPath("rg1"))) + "/"); n != 2 {
		t.Errorf("the neighbour has %d resources, want 2", n)
	}
}

// While a group is being deleted nothing can be written into it.
func TestDeletingGroupRefusesWrites(t *testing.T) {
	gate := newGate()
	defer gate.open()
	w := newWorld(t, thingType(orderly(func() error { gate.wait(); return nil })), partType())
	w.fill("rg", 1, 0)
	location := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	for _, tt := range []struct{ method, url string }{
		{http.MethodPut, groupPath("rg")}, {http.MethodPatch, groupPath("rg")},
		{http.MethodPut, thingPath("rg", "new")}, {http.MethodPut, thingPath("rg", "t000")}, {http.MethodPatch, thingPath("rg", "t000")},
		{http.MethodDelete, thingPath("rg", "t000")}, {http.MethodPut, thingPath("rg", "t000") + "/parts/x"}, {http.MethodPost, thingPath("rg", "t000") + "/grow"},
	} {
		got := w.owner(tt.method, tt.url+version, small)
		if got.Status != http.StatusConflict || got.ErrorCode() != "ResourceGroupBeingDeleted" {
			t.Errorf("%s %s: %d %s", tt.method, tt.url, got.Status, got.Body)
		}
	}
	if got := w.want(http.StatusOK, http.MethodGet, groupPath("rg")+version, ""); got.property("provisioningState") != Deleting {
		t.Errorf("the group is %s", got.Body)
	}
	again := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	if again != location {
		t.Errorf("the second deletion is another one: %s", again)
	}
	gate.open()
	w.poll(location)
	w.wantGone("rg", 1)
	w.group("rg") // and then there can be a new one
}

// Writers that race with the deletion leave nothing behind.
func TestWritesRaceWithCascade(t *testing.T) {
	w := newWorld(t, thingType(), partType())
	w.fill("rg", 5, 0)
	var wg sync.WaitGroup
	started := make(chan struct{})
	var once sync.Once
	for n := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				got := w.owner(http.MethodPut, thingPath("rg", fmt.Sprintf("w%d-%d", n, i))+version, small)
				once.Do(func() { close(started) })
				if got.Status != http.StatusCreated {
					if got.ErrorCode() != "ResourceGroupBeingDeleted" && got.ErrorCode() != "ResourceGroupNotFound" {
						t.Errorf("a writer got %d %s", got.Status, got.Body)
					}
					return
				}
			}
		})
	}
	<-started
	location := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	wg.Wait()
	w.poll(location)
	if n := w.left(Key(tenantID, mustID(t, groupPath("rg")))); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// The cascade goes on after a crash in its middle, and deletes each resource.
func TestCascadeResumesAfterCrash(t *testing.T) {
	var deleted atomic.Int32
	var dead atomic.Bool
	w := newWorld(t, thingType(orderly(func() error {
		if dead.Load() {
			return errors.New("the power is gone")
		}
		if deleted.Add(1) == 60 {
			dead.Store(true)
			return errors.New("the power is gone")
		}
		return nil
	})), partType())
	w.fill("rg", 150, 1)
	location := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	w.Eventually("the crash", dead.Load)
	w.restart(func() { dead.Store(false) })
	if left := w.left(Key(tenantID, mustID(t, groupPath("rg"))) + "/"); left == 0 || left == 300 {
		t.Errorf("%d resources were left by the crash, want some", left)
	}
	w.poll(location)
	w.wantGone("rg", 300)
}

// A resource with more below it than a transaction holds is deleted within the
// request all the same.
func TestDeleteOfManyChildren(t *testing.T) {
	w := newWorld(t, thingType(orderly(nil)), partType())
	w.fill("rg", 1, 150)
	w.want(http.StatusOK, http.MethodDelete, thingPath("rg", "t000")+version, "")
	if n := w.left(Key(tenantID, mustID(t, thingPath("rg", "t000")))); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	w.want(http.StatusNoContent, http.MethodDelete, thingPath("rg", "t000")+version, "")
}

// Role assignments go with their resource, or a new one of the same name would
// be open to whom the old one was.
func TestRolesGoWithTheResource(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	w.seed("rg", "one", "two")
	const guest = "33333333-3333-3333-3333-333333333337"
	w.Assign(guest, azure.RoleContributor, mustID(t, thingPath("rg", "one")))
	w.Assign(guest, azure.RoleReader, mustID(t, thingPath("rg", "two")))
	for i := range 45 {
		w.Assign(fmt.Sprintf("33333333-3333-3333-4444-%012d", i), azure.RoleReader, mustID(t, thingPath("rg", "one")))
	}
	if got := w.do(guest, http.MethodGet, thingPath("rg", "one")+version, ""); got.Status != http.StatusOK {
		t.Fatalf("the guest got %d", got.Status)
	}
	w.want(http.StatusOK, http.MethodDelete, thingPath("rg", "one")+version, "")
	w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "one")+version, small)
	if got := w.do(guest, http.MethodGet, thingPath("rg", "one")+version, ""); got.Status != http.StatusForbidden {
		t.Errorf("the old role opens the new resource: %d", got.Status)
	}
	if got := w.do(guest, http.MethodGet, thingPath("rg", "two")+version, ""); got.Status != http.StatusOK {
		t.Errorf("the neighbour's role has gone: %d", got.Status)
	}
}

// A resource that can't be deleted ends the cascade with its reason.
func TestCascadeFails(t *testing.T) {
	var stubborn atomic.Bool
	stubborn.Store(true)
	w := newWorld(t, thingType(orderly(func() error {
		if stubborn.Load() {
			return azure.Errorf(http.StatusConflict, "Stubborn", "The thing stays.")
		}
		return nil
	})), partType())
	w.fill("rg", 2, 1)
	location := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location")
	if got := w.poll(location); got.Status != http.StatusConflict || got.ErrorCode() != "Stubborn" {
		t.Errorf("the end is %d %s", got.Status, got.Body)
	}
	if got := w.want(http.StatusOK, http.MethodGet, groupPath("rg")+version, ""); got.property("provisioningState") != Failed {
		t.Errorf("the group is %s", got.Body)
	}
	stubborn.Store(false)
	w.poll(w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "").Header.Get("Location"))
	w.wantGone("rg", 4)
}
