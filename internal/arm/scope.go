package arm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// reader reads a key: in a transaction, or linearizably without one.
type reader func(key string) (store.Entry, error)

// reader gives the request's way to read: its transaction, if it has one.
func (r *Request) reader(ctx context.Context) reader {
	if r.Tx != nil {
		return r.Tx.Get
	}
	return func(key string) (store.Entry, error) { return r.engine.cfg.Store.Get(ctx, key) }
}

// load reads a stored resource; nil when there is none.
func load(read reader, key string) (*record, error) {
	entry, err := read(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	rec, err := Decode[rawJSON](entry.Value, entry.Revision)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return rec, nil
}

// checkScope finds the resource group and the parent resource of the request's
// target; writing refuses those that are being deleted. Of an extension, the
// resource that it hangs off isn't looked for: Azure doesn't either, beyond its
// resource group.
func (x *exchange) checkScope(writing bool) error {
	read, t := x.request.reader(x.ctx), x.target
	x.group, x.request.parent = nil, nil
	if writing {
		if err := x.checkSubscription(); err != nil {
			return err
		}
	}
	if name := t.id.ResourceGroup(); name != "" && !x.isGroup() {
		group := azure.ResourceGroupScope(t.id.SubscriptionID(), name)
		rec, err := load(read, Key(x.request.TenantID, group))
		switch {
		case err != nil:
			return err
		case rec == nil:
			return errGroupNotFound(name)
		case writing && rec.ProvisioningState == Deleting:
			return errDeleting(rec.ID)
		}
		x.group = rec
	}
	parent, ok := x.parentID()
	if !ok {
		return nil
	}
	rec, err := load(read, Key(x.request.TenantID, parent))
	switch {
	case err != nil:
		return err
	case rec == nil:
		return errParentMissing(&t.typ.spec, parent, writing)
	case writing && rec.ProvisioningState == Deleting:
		return errDeleting(rec.ID)
	}
	x.request.parent = rec
	return nil
}

// isGroup reports whether the target is a resource group itself.
func (x *exchange) isGroup() bool {
	return !x.target.collection && azure.EqualFold(x.target.typ.spec.Name, resourceGroupType)
}

// parentID gives the parent resource of a child type, if the engine stores it.
func (x *exchange) parentID() (azure.ResourceID, bool) {
	spec := &x.target.typ.spec
	at := strings.LastIndexByte(spec.Name, '/')
	parentType, ok := x.engine.router.types[azure.Fold(spec.Name[:at])]
	if !ok || parentType.stored == nil {
		return azure.ResourceID{}, false
	}
	if x.target.collection {
		return x.target.id, true
	}
	return x.target.id.Parent(), true
}
