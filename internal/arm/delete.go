package arm

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// removeBudget is how many resources one transaction may remove at first. It is
// halved where that is too large for a transaction.
const removeBudget = 16

// assignmentBudget is how many role assignments one transaction may remove with
// a resource.
const assignmentBudget = 20

// errManySteps tells that a deletion doesn't fit in one transaction.
var errManySteps = errors.New("the deletion takes more than one transaction")

// storedDelete serves DELETE. A type with AsyncDelete answers at once with an
// operation. Another's deletion is one transaction, or, where the resource has
// too much below it, an operation which this request sees to its end.
func (x *exchange) storedDelete() error {
	if x.target.typ.stored.asyncDelete != nil {
		return x.startDelete(true)
	}
	existed := false
	_, err := x.engine.cfg.Store.Update(x.ctx, func(tx *store.Tx) error {
		rec, err := x.deletable(tx)
		existed = rec != nil
		if err != nil || rec == nil {
			return err
		}
		r := x.request
		r.Tx = tx
		defer func() { r.Tx = nil }()
		c := &cascade{engine: x.engine, tx: tx, request: *r, budget: removeBudget}
		done, err := c.removeTree(x.ctx, rec)
		if err == nil && !done {
			return errManySteps
		}
		return err
	})
	if errors.Is(err, errManySteps) || errors.Is(err, store.ErrTooLarge) {
		return x.startDelete(false)
	}
	if err != nil {
		return err
	}
	return x.answerDeleted(existed)
}

func (x *exchange) answerDeleted(existed bool) error {
	if existed {
		return x.answer(http.StatusOK, nil)
	}
	return x.answer(http.StatusNoContent, nil)
}

// deletable reads the resource to be deleted; nil when there is none.
func (x *exchange) deletable(tx *store.Tx) (*record, error) {
	r := x.request
	r.Tx = tx
	defer func() { r.Tx = nil }()
	if err := x.checkScope(true); err != nil {
		return nil, err
	}
	rec, err := load(tx.Get, x.key())
	if err != nil {
		return nil, err
	}
	if rec == nil {
		if x.isGroup() {
			return nil, errNotFound(&x.target.typ.spec, x.target.id)
		}
		return nil, nil
	}
	if err := x.precondition(rec); err != nil {
		return nil, err
	}
	return rec, x.touchParent(tx)
}

// startDelete marks the resource as being deleted and persists the operation
// that does it. One that is already running is answered again, not begun twice.
func (x *exchange) startDelete(answerNow bool) error {
	var op *operation
	existed := false
	_, err := x.engine.cfg.Store.Update(x.ctx, func(tx *store.Tx) error {
		rec, err := x.deletable(tx)
		existed = rec != nil
		if err != nil || rec == nil {
			return err
		}
		if rec.ProvisioningState == Deleting {
			if op, err = loadOperation(tx.Get, rec.Operation); err != nil || op != nil && !op.ended() {
				return err
			}
		}
		if rec.Operation != "" {
			if err := abandon(tx, rec.Operation, x.now); err != nil {
				return err
			}
		}
		rec.ProvisioningState = Deleting
		if op, err = x.begin(tx, opDelete, rec); err != nil {
			return err
		}
		return store.PutJSON(tx, x.key(), rec)
	})
	switch {
	case err != nil:
		return err
	case !existed:
		return x.answerDeleted(false)
	case answerNow:
		x.operationHeaders(op, !x.isGroup(), x.request.APIVersion)
		return x.answer(http.StatusAccepted, nil)
	}
	if err := x.engine.finish(x.ctx, op.ID); err != nil {
		return err
	}
	return x.answerDeleted(true)
}

// cascade removes resources in one transaction.
type cascade struct {
	engine *Engine
	tx     *store.Tx
	// request is what Delete hooks get, but for the ID.
	request Request
	budget  int
	// step runs a resource's AsyncDelete; nil in a request's own transaction.
	step func(ctx context.Context, typ *Type, rec *record) (done bool, err error)
}

// removeTree removes what is below a resource, then its role assignments and
// itself: children before their parents, within the budget. done is false when
// there is more to do in another transaction.
func (c *cascade) removeTree(ctx context.Context, rec *record) (done bool, err error) {
	if done, err := c.removeBelow(ctx, rec); !done || err != nil {
		return false, err
	}
	return c.remove(ctx, rec)
}

// removeBelow removes all resources below one.
func (c *cascade) removeBelow(ctx context.Context, rec *record) (done bool, err error) {
	entries, err := c.tx.List(Key(rec.TenantID, rec.ID) + "/")
	if err != nil {
		return false, err
	}
	// In descending order children come before their parents, whose keys are
	// prefixes of theirs.
	for _, entry := range slices.Backward(entries) {
		below, err := Decode[rawJSON](entry.Value, entry.Revision)
		if err != nil {
			return false, err
		}
		if c.budget <= 0 {
			return false, nil
		}
		if done, err := c.remove(ctx, below); !done || err != nil {
			return false, err
		}
	}
	return true, nil
}

// removeSome removes some of many resources, in whatever order their keys come,
// each with what is below it.
func (c *cascade) removeSome(ctx context.Context, keys []string) error {
	for _, key := range keys {
		rec, err := load(c.tx.Get, key)
		if err != nil {
			return err
		}
		if rec == nil {
			continue
		}
		if done, err := c.removeTree(ctx, rec); !done || err != nil {
			return err
		}
	}
	return nil
}

// remove removes one resource that has nothing below it.
func (c *cascade) remove(ctx context.Context, rec *record) (done bool, err error) {
	if c.budget <= 0 {
		return false, nil
	}
	c.budget--
	typ, ok := c.engine.router.types[azure.Fold(rec.ID.Type())]
	if ok && typ.stored != nil && typ.stored.asyncDelete != nil {
		if c.step == nil {
			return false, nil
		}
		if done, err := c.step(ctx, typ, rec); !done || err != nil {
			return false, err
		}
	}
	more, err := c.engine.cfg.Guard.DeleteBelow(c.tx, rec.TenantID, rec.ID, assignmentBudget)
	if err != nil {
		return false, err
	}
	if more {
		c.budget = 0
		return false, nil
	}
	if ok && typ.stored != nil {
		r := c.request
		r.ID, r.Name, r.Type, r.parent = rec.ID, rec.ID.Name(), typ.spec.Name, nil
		if err := typ.stored.remove(ctx, &r, rec); err != nil {
			return false, err
		}
	}
	if rec.Identity != nil {
		if err := c.engine.deletePrincipal(c.tx, rec.TenantID, rec.Identity.PrincipalID); err != nil {
			return false, err
		}
	}
	c.tx.Delete(Key(rec.TenantID, rec.ID))
	return true, nil
}
