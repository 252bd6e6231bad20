package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	// workerLock is held by the replica that carries on operations.
	workerLock = "arm/operations"
	// workerLease is how long after a replica's death another one takes over.
	workerLease = 6 * time.Second
	// workerParallel bounds how many operations run at once.
	workerParallel = 8
	// manyBelow is up to how many resources a step removes with a look at all.
	manyBelow = 64
	// keepOperations is how long an ended operation can be polled.
	keepOperations = 24 * time.Hour
	maxRetryPause  = 15 * time.Second
)

// Run carries on long-running operations until ctx ends: on one replica at a
// time, which holds a lease. A second one that is late to learn that it has
// lost it does no harm, since every step requires the lease in its transaction
// and may be repeated.
func (e *Engine) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	err := e.cfg.Store.Follow(ctx, pendingPrefix, func([]store.Change, bool) {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("following operations: %w", err)
	}
	for ctx.Err() == nil {
		lock, err := e.cfg.Store.TryLock(ctx, workerLock, e.lease)
		if err == nil {
			err = e.lead(ctx, lock, wake)
			unlock, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.lease)
			if err := lock.Unlock(unlock); err != nil {
				e.log.WarnContext(ctx, "giving back the lease on operations", "error", err)
			}
			cancel()
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrLocked) {
			e.log.ErrorContext(ctx, "carrying on operations", "error", err)
		}
		pause(ctx, e.lease/3)
	}
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// lead works off the pending operations while the lease lasts.
func (e *Engine) lead(ctx context.Context, lock *store.Lock, wake <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	busy := map[string]bool{}
	ended := make(chan string)
	sweep := time.NewTicker(time.Hour)
	defer sweep.Stop()
	if err := e.forgetOperations(ctx); err != nil {
		return err
	}
	for {
		page, err := e.cfg.Store.List(ctx, pendingPrefix, store.ListOptions{KeysOnly: true})
		if err != nil {
			return err
		}
		for _, entry := range page.Entries {
			id := strings.TrimPrefix(entry.Key, pendingPrefix)
			if busy[id] || len(busy) >= workerParallel {
				continue
			}
			busy[id] = true
			running.Go(func() {
				e.carryOn(ctx, id, lock)
				select {
				case ended <- id:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-wake:
		case id := <-ended:
			delete(busy, id)
		case <-sweep.C:
			if err := e.forgetOperations(ctx); err != nil {
				return err
			}
		case <-lock.Lost():
			return store.ErrLocked
		case <-ctx.Done():
			return nil
		}
	}
}

// carryOn runs an operation to its end, trying again what fails for reasons
// that aren't the operation's own.
func (e *Engine) carryOn(ctx context.Context, id string, lock *store.Lock) {
	retry := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := e.run(ctx, id, lock)
		if err == nil || errors.Is(err, store.ErrLocked) {
			return
		}
		if ctx.Err() == nil {
			e.log.ErrorContext(ctx, "a step of an operation failed, and will be tried again", "operation", id, "error", err, "after", retry)
		}
		pause(ctx, retry)
		retry = min(2*retry, maxRetryPause)
	}
}

// finish runs an operation to its end within a request, and gives its failure.
func (e *Engine) finish(ctx context.Context, id string) error {
	if err := e.run(ctx, id, nil); err != nil {
		return err
	}
	op, err := loadOperation(func(key string) (store.Entry, error) { return e.cfg.Store.Get(ctx, key) }, id)
	if err != nil || op == nil || op.Failure == nil {
		return err
	}
	return azure.Errorf(op.Failure.HTTP, op.Failure.Code, "%s", op.Failure.Message)
}

// run takes step after step until the operation has ended.
func (e *Engine) run(ctx context.Context, id string, lock *store.Lock) error {
	budget := removeBudget
	for {
		ended, err := e.takeStep(ctx, id, lock, budget)
		known, isClient := errors.AsType[*azure.Error](err)
		switch {
		case err == nil && ended:
			return nil
		case err == nil:
		case errors.Is(err, store.ErrTooLarge) && budget > 1:
			budget /= 2
		case isClient && known.Status < http.StatusInternalServerError:
			return e.fail(ctx, id, lock, known)
		default:
			return err
		}
	}
}

// takeStep takes one step in one transaction.
func (e *Engine) takeStep(ctx context.Context, id string, lock *store.Lock, budget int) (ended bool, err error) {
	hint, err := e.manyBelow(ctx, id)
	if err != nil {
		return false, err
	}
	_, err = e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		ended = false
		if lock != nil {
			if err := tx.Require(lock); err != nil {
				return err
			}
		}
		op, err := loadOperation(tx.Get, id)
		if err != nil {
			return err
		}
		if op == nil || op.ended() {
			ended = true
			tx.Delete(pendingPrefix + id)
			return nil
		}
		s := &stepping{engine: e, tx: tx, op: op, now: e.cfg.Now().UTC(), budget: budget, hint: hint}
		ended, err = s.take(ctx)
		return err
	})
	return ended, err
}

// manyBelow lists keys below the resource that an operation deletes, when they
// are too many to read in each transaction.
func (e *Engine) manyBelow(ctx context.Context, id string) ([]string, error) {
	op, err := loadOperation(func(key string) (store.Entry, error) { return e.cfg.Store.Get(ctx, key) }, id)
	if err != nil || op == nil || op.Kind != opDelete {
		return nil, err
	}
	page, err := e.cfg.Store.List(ctx, Key(op.TenantID, op.Resource)+"/", store.ListOptions{KeysOnly: true, Limit: manyBelow + 1})
	if err != nil || len(page.Entries) <= manyBelow {
		return nil, err
	}
	keys := make([]string, len(page.Entries))
	for i, entry := range page.Entries {
		keys[i] = entry.Key
	}
	return keys, nil
}

// stepping is one step in its transaction.
type stepping struct {
	engine *Engine
	tx     *store.Tx
	op     *operation
	now    time.Time
	budget int
	hint   []string
}

// take runs the step's hook and notes its progress.
func (s *stepping) take(ctx context.Context) (ended bool, err error) {
	typ, ok := s.engine.router.types[azure.Fold(s.op.Type)]
	if !ok {
		return false, fmt.Errorf("operation %s is of the type %s, which isn't served", s.op.ID, s.op.Type)
	}
	if typ.virtual != nil && s.op.Kind == opDelete {
		remove := typ.virtual.hooks.AsyncDelete
		if remove == nil {
			return false, fmt.Errorf("operation %s deletes a resource of %s, which isn't long-running", s.op.ID, s.op.Type)
		}
		return s.conclude(nil)(s.hook(s.op.Resource, func(step *Step) (bool, error) { return remove(ctx, step) }))
	}
	if typ.virtual != nil {
		action := typ.virtual.hooks.Actions[typ.virtual.hooks.actionName(s.op.Action)]
		if action.Async == nil {
			return false, fmt.Errorf("operation %s is of the action %s, which isn't long-running", s.op.ID, s.op.Action)
		}
		return s.conclude(nil)(s.hook(s.op.Resource, func(step *Step) (bool, error) { return action.Async(ctx, step) }))
	}
	rec, err := load(s.tx.Get, Key(s.op.TenantID, s.op.Resource))
	if err != nil {
		return false, err
	}
	if rec == nil || rec.Operation != s.op.ID {
		// The resource has gone, or another operation took it.
		status := Canceled
		if s.op.Kind == opDelete && rec == nil {
			status = Succeeded
		}
		return true, s.op.end(s.tx, status, s.now)
	}
	switch s.op.Kind {
	case opDelete:
		return s.remove(ctx, rec)
	case opPut:
		return s.conclude(rec)(s.hook(rec.ID, func(step *Step) (bool, error) { return typ.stored.asyncPut(ctx, step, rec) }))
	default:
		action := typ.stored.actions[s.op.Action]
		if action.async == nil {
			return false, fmt.Errorf("operation %s is of the action %s, which isn't long-running", s.op.ID, s.op.Action)
		}
		return s.conclude(rec)(s.hook(rec.ID, func(step *Step) (bool, error) { return action.async(ctx, step, rec) }))
	}
}

// hook runs a type's step with its notes.
func (s *stepping) hook(id azure.ResourceID, f func(*Step) (bool, error)) (bool, error) {
	key := Key(s.op.TenantID, id)
	step := &Step{
		Tx: s.tx, Caller: s.op.Caller, TenantID: s.op.TenantID, ID: id, Now: s.now, Data: s.op.Data[key],
	}
	done, err := f(step)
	if err != nil {
		return false, err
	}
	if s.op.Data == nil {
		s.op.Data = map[string]json.RawMessage{}
	}
	s.op.Data[key] = step.Data
	if step.Result != nil {
		if s.op.Result, err = json.Marshal(step.Result); err != nil {
			return false, fmt.Errorf("encoding the result of operation %s: %w", s.op.ID, err)
		}
	}
	return done, nil
}

// conclude stores the resource and the operation after a step.
func (s *stepping) conclude(rec *record) func(done bool, err error) (bool, error) {
	return func(done bool, err error) (bool, error) {
		if err != nil {
			return false, err
		}
		if rec != nil {
			if done {
				rec.Operation, rec.ProvisioningState = "", Succeeded
			}
			if err := store.PutJSON(s.tx, Key(rec.TenantID, rec.ID), rec); err != nil {
				return false, err
			}
		}
		if done {
			return true, s.op.end(s.tx, Succeeded, s.now)
		}
		return false, store.PutJSON(s.tx, operationPrefix+s.op.ID, s.op)
	}
}

// remove takes one step of a deletion.
func (s *stepping) remove(ctx context.Context, rec *record) (bool, error) {
	c := &cascade{
		engine: s.engine, tx: s.tx, budget: s.budget,
		request: Request{Tx: s.tx, Caller: s.op.Caller, TenantID: s.op.TenantID, Now: s.now, engine: s.engine},
		step: func(ctx context.Context, typ *Type, rec *record) (bool, error) {
			return s.hook(rec.ID, func(step *Step) (bool, error) {
				done, err := typ.stored.asyncDelete(ctx, step, rec)
				if err != nil || done {
					return done, err
				}
				return false, store.PutJSON(s.tx, Key(rec.TenantID, rec.ID), rec)
			})
		},
	}
	var done bool
	var err error
	if len(s.hint) > 0 {
		err = c.removeSome(ctx, s.hint)
	} else {
		done, err = c.removeTree(ctx, rec)
	}
	if err != nil {
		return false, err
	}
	if done {
		return true, s.op.end(s.tx, Succeeded, s.now)
	}
	return false, store.PutJSON(s.tx, operationPrefix+s.op.ID, s.op)
}

// fail ends an operation whose step said that it cannot succeed.
func (e *Engine) fail(ctx context.Context, id string, lock *store.Lock, cause *azure.Error) error {
	_, err := e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if lock != nil {
			if err := tx.Require(lock); err != nil {
				return err
			}
		}
		op, err := loadOperation(tx.Get, id)
		if err != nil || op == nil || op.ended() {
			return err
		}
		op.Failure = &failure{HTTP: cause.Status, Code: cause.Code, Message: cause.Message}
		if err := op.end(tx, Failed, e.cfg.Now().UTC()); err != nil {
			return err
		}
		rec, err := load(tx.Get, Key(op.TenantID, op.Resource))
		if err != nil || rec == nil || rec.Operation != id {
			return err
		}
		rec.Operation, rec.ProvisioningState = "", Failed
		return store.PutJSON(tx, Key(rec.TenantID, rec.ID), rec)
	})
	return err
}

// forgetOperations drops the records of operations that ended long ago.
func (e *Engine) forgetOperations(ctx context.Context) error {
	after := ""
	for {
		page, err := e.cfg.Store.List(ctx, operationPrefix, store.ListOptions{After: after, Limit: 50})
		if err != nil {
			return err
		}
		var old []string
		for _, entry := range page.Entries {
			after = entry.Key
			var op operation
			if err := json.Unmarshal(entry.Value, &op); err != nil {
				return fmt.Errorf("decoding %s: %w", entry.Key, err)
			}
			if op.ended() && e.cfg.Now().Sub(op.End) > keepOperations {
				old = append(old, entry.Key)
			}
		}
		if len(old) > 0 {
			_, err := e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				for _, key := range old {
					tx.Delete(key)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}
