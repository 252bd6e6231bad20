package rbac

import (
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// MaxDeleteTenant is how many keys [Guard.DeleteTenant] removes at most in one
// transaction.
const MaxDeleteTenant = 96

// DeleteTenant removes some of a tenant's role assignments and custom roles,
// all of which it may remove, with their indexes; more tells that others are
// left. It is for a tenant that has ended, in which nothing is written any more.
func (g *Guard) DeleteTenant(tx *store.Tx, tenantID string) (more bool, err error) {
	keys, more, err := tx.Peek(keyPrefix+azure.Fold(tenantID)+"/", MaxDeleteTenant)
	for _, key := range keys {
		tx.Delete(key)
	}
	return more, err
}
