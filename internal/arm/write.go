package arm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// unsettledError ends a transaction whose linked scopes have yet to be checked,
// or whose identities have yet to be read, and names those. The guard's decisions
// are audited, so they are made outside of what may run again.
type unsettledError struct {
	linked     []Linked
	identities []azure.ResourceID
}

func (*unsettledError) Error() string { return "linked scopes are not yet checked" }

// storedWrite serves PUT and PATCH.
func (x *exchange) storedWrite() error {
	if x.r.Method == http.MethodPut {
		if err := x.checkName(); err != nil {
			return err
		}
	}
	c, err := x.decodeContent()
	if err != nil {
		return err
	}
	w := &writing{
		exchange: x, content: c, patch: x.r.Method == http.MethodPatch,
		checked: map[string]bool{}, resolved: map[string]AttachedIdentity{},
	}
	for {
		revision, err := x.engine.cfg.Store.Update(x.ctx, w.commit)
		if need, ok := errors.AsType[*unsettledError](err); ok {
			if err := x.checkLinked(need.linked, "write", w.checked); err != nil {
				return err
			}
			if err := w.resolve(need.identities); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if !w.same {
			w.stored.Revision = revision
		}
		break
	}
	if err := x.request.committed(x.ctx); err != nil {
		return err
	}
	status := http.StatusOK
	if w.created {
		status = cmp.Or(x.target.typ.spec.Created, http.StatusCreated)
	}
	if w.op != nil {
		x.operationHeaders(w.op, true, x.request.APIVersion)
	}
	return x.answerRecord(status, w.stored)
}

// writing is one PUT or PATCH; commit may run several times and sets the
// results anew each time.
type writing struct {
	*exchange
	content *content
	patch   bool
	// checked are the linked scopes that the caller was allowed, by action and
	// key; resolved are the user-assigned identities that were read, by key.
	checked  map[string]bool
	resolved map[string]AttachedIdentity

	named   []azure.ResourceID // by the body's identity block, to be attached
	stored  *record
	created bool
	same    bool // nothing that a client sees has changed
	op      *operation
}

func (w *writing) commit(tx *store.Tx) error {
	t, r := w.target, w.request
	w.stored, w.created, w.same, w.op = nil, false, false, nil
	r.Tx, r.afterCommit = tx, nil
	defer func() { r.Tx = nil }()
	if err := w.checkRegistration(); err != nil {
		return err
	}
	if err := w.checkScope(true); err != nil {
		return err
	}
	old, err := load(tx.Get, w.key())
	if err != nil {
		return err
	}
	if err := w.admissible(old); err != nil {
		return err
	}
	fresh, err := w.compose(old)
	if err != nil {
		return err
	}
	in := &putInput{request: r, old: old, fresh: fresh, patch: w.patch, body: w.body}
	if err := w.linked(in); err != nil {
		return err
	}
	rec, err := t.typ.stored.put(w.ctx, in)
	if err != nil {
		return err
	}
	if err := w.settleIdentity(tx, old, rec); err != nil {
		return err
	}
	children, err := w.writeInline(tx, rec)
	if err != nil {
		return err
	}
	w.created = old == nil
	if t.typ.stored.asyncPut != nil {
		rec.ProvisioningState = Updating
		if w.created {
			rec.ProvisioningState = Creating
		}
		if w.op, err = w.begin(tx, opPut, rec); err != nil {
			return err
		}
	}
	w.stored = rec
	if w.op == nil && !children && unchanged(old, rec) {
		w.stored, w.same = old, true
		return nil
	}
	if err := w.touchParent(tx); err != nil {
		return err
	}
	return store.PutJSON(tx, w.key(), rec)
}

// linked names the linked scopes that are yet to be checked: of the identity
// block, and those of the type's own.
func (w *writing) linked(in *putInput) error {
	linked, err := w.linkedIdentities()
	if err != nil {
		return err
	}
	if hook := w.target.typ.stored.linked; hook != nil {
		more, err := hook(w.ctx, in)
		if err != nil {
			return err
		}
		linked = append(linked, more...)
	}
	if slices.ContainsFunc(linked, func(l Linked) bool { return !w.checked[l.Action+" "+l.Scope.Key()] }) {
		return &unsettledError{linked: linked}
	}
	return nil
}

// unchanged reports whether a write leaves the resource as it is: then its
// systemData and its entity tag stay too.
func unchanged(old, rec *record) bool {
	if old == nil {
		return false
	}
	again := *rec
	again.SystemData = old.SystemData
	before, err := json.Marshal(old)
	if err != nil {
		return false
	}
	after, err := json.Marshal(&again)
	return err == nil && bytes.Equal(before, after)
}

// admissible applies preconditions and refuses changes to what is busy.
func (x *exchange) admissible(old *record) error {
	if x.r.Method == http.MethodPatch && old == nil {
		return errNotFound(&x.target.typ.spec, x.target.id)
	}
	if old != nil && old.ProvisioningState == Deleting {
		return errDeleting(old.ID)
	}
	if err := x.precondition(old); err != nil {
		return err
	}
	if old != nil && old.Operation != "" {
		return errBusy(old.ID)
	}
	return nil
}

// precondition applies If-Match and If-None-Match, for types that have entity
// tags.
func (x *exchange) precondition(old *record) error {
	if x.target.typ.spec.ETag == "" {
		return nil
	}
	match, none := x.r.Header.Get("If-Match"), x.r.Header.Get("If-None-Match")
	failed := match != "" && (old == nil || !anyTag(match, old.ETag())) || none != "" && old != nil && anyTag(none, old.ETag())
	if !failed {
		return nil
	}
	return azure.Errorf(http.StatusPreconditionFailed, "PreconditionFailed",
		"The condition specified using HTTP conditional header(s) is not met.")
}

// anyTag reports whether a list of entity tags holds tag. Clients leave out the
// quotes of a tag, which they have from a JSON string.
func anyTag(list, tag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if item == "*" || item == tag || `"`+item+`"` == tag {
			return true
		}
	}
	return false
}

// inTransaction runs a virtual type's writing hook in one transaction, in which
// the scope has been found fit for writing, and answers.
func (x *exchange) inTransaction(hook func(ctx context.Context) (status int, result any, err error)) error {
	var status int
	var result any
	_, err := x.engine.cfg.Store.Update(x.ctx, func(tx *store.Tx) error {
		r := x.request
		r.Tx, r.afterCommit = tx, nil
		defer func() { r.Tx = nil }()
		if x.r.Method == http.MethodPut {
			if err := x.checkRegistration(); err != nil {
				return err
			}
		}
		if err := x.checkScope(true); err != nil {
			return err
		}
		var err error
		status, result, err = hook(x.ctx)
		return err
	})
	if err == nil {
		err = x.request.committed(x.ctx)
	}
	if err != nil {
		return err
	}
	return x.answer(status, result)
}

// storedAction serves a POST on a stored resource.
func (x *exchange) storedAction() error {
	action := x.target.typ.stored.actions[azure.Fold(x.target.action)]
	body, err := x.readJSON()
	if err != nil {
		return err
	}
	switch {
	case action.async != nil:
		return x.startOperation(opAction, func(ctx context.Context) error {
			rec, err := x.find()
			if err != nil {
				return err
			}
			_, _, err = action.run(ctx, x.request, rec, body)
			return err
		})
	case !action.writes:
		rec, err := x.find()
		if err != nil {
			return err
		}
		return x.answered(action.run(x.ctx, x.request, rec, body))
	}
	return x.inTransaction(func(ctx context.Context) (int, any, error) {
		rec, err := x.find()
		if err != nil {
			return 0, nil, err
		}
		if err := x.admissible(rec); err != nil {
			return 0, nil, err
		}
		status, result, err := action.run(ctx, x.request, rec, body)
		if err != nil {
			return 0, nil, err
		}
		rec.SystemData = x.systemData(rec)
		return status, result, store.PutJSON(x.request.Tx, x.key(), rec)
	})
}
