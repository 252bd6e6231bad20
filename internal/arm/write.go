package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// linkedError ends a transaction whose linked scopes have yet to be checked. The
// guard's decisions are audited, so they are made outside of what may run again.
type linkedError struct{ linked []Linked }

func (*linkedError) Error() string { return "linked scopes are not yet checked" }

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
	w := &writing{exchange: x, content: c, patch: x.r.Method == http.MethodPatch}
	checked := map[string]bool{}
	for {
		w.checked = checked
		revision, err := x.engine.cfg.Store.Update(x.ctx, w.commit)
		if need, ok := errors.AsType[*linkedError](err); ok {
			if err := x.checkLinked(need.linked, "write", checked); err != nil {
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
	status := http.StatusOK
	if w.created {
		status = http.StatusCreated
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
	checked map[string]bool

	stored  *record
	created bool
	same    bool // nothing that a client sees has changed
	op      *operation
}

func (w *writing) commit(tx *store.Tx) error {
	t, r := w.target, w.request
	w.stored, w.created, w.same, w.op = nil, false, false, nil
	r.Tx = tx
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
	if t.typ.stored.linked != nil {
		linked, err := t.typ.stored.linked(w.ctx, in)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(linked, func(l Linked) bool { return !w.checked[l.Action+" "+l.Scope.Key()] }) {
			return &linkedError{linked}
		}
	}
	rec, err := t.typ.stored.put(w.ctx, in)
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
	if w.op == nil && unchanged(old, rec) {
		w.stored, w.same = old, true
		return nil
	}
	return store.PutJSON(tx, w.key(), rec)
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

// compose makes the new record from the body, over nothing or over the old one.
func (w *writing) compose(old *record) (*record, error) {
	spec := &w.target.typ.spec
	fresh := &record{ID: w.canonicalID(old), TenantID: w.request.TenantID, ProvisioningState: Succeeded, SystemData: w.systemData(old)}
	c := w.content
	if err := w.keepMembers(); err != nil {
		return nil, err
	}
	if w.patch {
		shown, err := w.target.typ.properties(w.ctx, old)
		if err != nil {
			return nil, err
		}
		kept := *fresh
		*fresh = *old
		fresh.ID, fresh.ProvisioningState, fresh.SystemData = old.ID, kept.ProvisioningState, kept.SystemData
		if fresh.Properties, err = mergePatch(shown, c.Properties); err != nil {
			return nil, invalidContent(w.body, "properties", err)
		}
		if fresh.Identity, err = mergeMember(old.Identity, c.Identity); err != nil {
			return nil, invalidContent(w.body, "identity", err)
		}
		if fresh.SKU, err = mergeMember(old.SKU, c.SKU); err != nil {
			return nil, invalidContent(w.body, "sku", err)
		}
	} else {
		fresh.Properties, fresh.Identity, fresh.SKU = c.Properties, c.Identity, c.SKU
	}
	if c.Plan != nil || !w.patch {
		fresh.Plan = c.Plan
	}
	if c.Zones != nil || !w.patch {
		fresh.Zones = c.Zones
	}
	setString(&fresh.Kind, c.Kind, w.patch)
	setString(&fresh.ManagedBy, c.ManagedBy, w.patch)
	if spec.Tracked {
		if c.Tags != nil {
			fresh.Tags = c.tags()
		}
		if err := w.place(fresh, old); err != nil {
			return nil, err
		}
	}
	return fresh, w.checkState(old)
}

// keepMembers drops the members of the envelope that the type doesn't have.
func (w *writing) keepMembers() error {
	c, has := w.content, func(member string) bool { return slices.Contains(w.target.typ.spec.Members, member) }
	if c.Identity != nil && !has("identity") {
		var identity struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(c.Identity, &identity); err != nil {
			return invalidContent(w.body, "identity", err)
		}
		if identity.Type != "" && !azure.EqualFold(identity.Type, "None") {
			return azure.Errorf(http.StatusBadRequest, "FailedIdentityOperation",
				"Identity operation for resource '%s' failed with error 'The resource type '%s' does not support managed identities.'.",
				w.target.id, w.target.typ.spec.Name)
		}
		c.Identity = nil
	}
	for member, drop := range map[string]func(){
		"kind": func() { c.Kind = nil }, "managedBy": func() { c.ManagedBy = nil }, "plan": func() { c.Plan = nil },
		"sku": func() { c.SKU = nil }, "zones": func() { c.Zones = nil },
	} {
		if !has(member) {
			drop()
		}
	}
	return nil
}

// mergeMember patches a member of the envelope that is an object.
func mergeMember(old, patch json.RawMessage) (json.RawMessage, error) {
	if patch == nil {
		return old, nil
	}
	return mergePatch(old, patch)
}

func setString(to, from *string, patch bool) {
	switch {
	case from != nil:
		*to = *from
	case !patch:
		*to = ""
	}
}

// canonicalID spells the ID as Azure does: keywords and types as the table, the
// resource group and parent as they are stored, the resource's own name as the
// client did last.
func (w *writing) canonicalID(old *record) azure.ResourceID {
	t := w.target
	if w.patch {
		return old.ID
	}
	if w.isGroup() {
		return t.id
	}
	name := t.typ.spec.Name
	short := name[strings.LastIndexByte(name, '/')+1:]
	if parent := w.request.parent; parent != nil {
		return parent.ID.Child(short, t.name)
	}
	if w.group != nil && t.id.Parent().Equal(w.group.ID) {
		return w.group.ID.Resource(t.id.Namespace(), short, t.name)
	}
	return t.id
}

// place applies the rules for locations: required, known, immutable. In a PATCH
// the location is ignored, as on Azure.
func (w *writing) place(fresh, old *record) error {
	spec, c := &w.target.typ.spec, w.content
	if w.patch {
		return nil
	}
	if c.Location == nil || strings.TrimSpace(*c.Location) == "" {
		return azure.Errorf(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	}
	location := azure.NormalizeLocation(strings.TrimSpace(*c.Location))
	group := w.isGroup()
	if old != nil && old.Location != location {
		if group {
			return azure.Errorf(http.StatusConflict, "InvalidResourceGroupLocation",
				"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", location, old.Location)
		}
		return azure.Errorf(http.StatusConflict, "InvalidResourceLocation",
			"The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.",
			old.ID.Name(), old.Location, old.ID.ResourceGroup(), location)
	}
	if known := w.engine.locationsOf(spec); !slices.Contains(known, location) {
		if group {
			return azure.Errorf(http.StatusBadRequest, "LocationNotAvailableForResourceGroup",
				"The provided location '%s' is not available for resource group. List of available regions is '%s'.", *c.Location, strings.Join(known, ","))
		}
		return azure.Errorf(http.StatusBadRequest, "LocationNotAvailableForResourceType",
			"The provided location '%s' is not available for resource type '%s'. List of available regions for the resource type is '%s'.",
			*c.Location, spec.Name, strings.Join(known, ","))
	}
	fresh.Location = location
	return nil
}

// checkState refuses a provisioningState in a PUT that isn't the server's own.
func (w *writing) checkState(old *record) error {
	if !w.target.typ.spec.ProvisioningState || w.content.Properties == nil {
		return nil
	}
	var p struct{ ProvisioningState *string }
	if err := json.Unmarshal(w.content.Properties, &p); err != nil {
		return invalidContent(w.body, "properties", err)
	}
	state := Succeeded
	if old != nil {
		state = old.ProvisioningState
	}
	if p.ProvisioningState == nil || azure.EqualFold(*p.ProvisioningState, state) {
		return nil
	}
	err := azure.Errorf(http.StatusBadRequest, "InvalidRequestContent",
		"The request content was invalid: the provisioningState '%s' in it is read-only and does not match the resource's, which is '%s'.",
		*p.ProvisioningState, state)
	err.Target = "properties.provisioningState"
	return err
}

// systemData notes who writes.
func (x *exchange) systemData(old *record) SystemData {
	c := x.request.Caller
	kind := "Application"
	switch {
	case c.Type == azure.User:
		kind = "User"
	case c.IdentityResourceID != "":
		kind = "ManagedIdentity"
	}
	data := SystemData{CreatedBy: c.DisplayName(), CreatedByType: kind, CreatedAt: x.now}
	if old != nil {
		data = old.SystemData
	}
	data.LastModifiedBy, data.LastModifiedByType, data.LastModifiedAt = c.DisplayName(), kind, x.now
	return data
}

// inTransaction runs a virtual type's writing hook in one transaction, in which
// the scope has been found fit for writing, and answers.
func (x *exchange) inTransaction(hook func(ctx context.Context) (status int, result any, err error)) error {
	var status int
	var result any
	_, err := x.engine.cfg.Store.Update(x.ctx, func(tx *store.Tx) error {
		r := x.request
		r.Tx = tx
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
		return x.startAction(func(ctx context.Context) error {
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
