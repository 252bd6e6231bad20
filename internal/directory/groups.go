package directory

import (
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	// maxGroupBytes keeps a group's record well below the largest transaction;
	// it holds about 25,000 members.
	maxGroupBytes = 1 << 20
	// bytesPerMember is an object ID in JSON.
	bytesPerMember = 39
	// maxGroupsTidied bounds what deleting a member adds to a transaction.
	maxGroupsTidied = 32
)

// CreateGroup makes a group without members. Display names need not be unique.
func (d *Directory) CreateGroup(tx *store.Tx, tenantID, displayName string) (Principal, error) {
	if err := checkDisplayName(displayName, "Group"); err != nil {
		return Principal{}, err
	}
	return d.createPrincipal(tx, Principal{TenantID: tenantID, Type: azure.Group, DisplayName: displayName})
}

// AddMember makes a principal of the tenant, which may itself be a group, a
// direct member of a group. Groups may come to hold one another in a circle,
// but not themselves.
func (d *Directory) AddMember(tx *store.Tx, tenantID, groupID, memberID string) error {
	group, err := readGroup(tx, tenantID, groupID)
	if err != nil {
		return err
	}
	member, err := readPrincipal(tx, tenantID, memberID)
	if err != nil {
		return err
	}
	if member.ObjectID == group.ObjectID {
		return errInvalid("members", "Group", "A group cannot be its own member.")
	}
	i, found := slices.BinarySearch(group.Members, member.ObjectID)
	if found {
		return errBadRequest("One or more added object references already exist for the following modified properties: 'members'.")
	}
	if (len(group.Members)+1)*bytesPerMember > maxGroupBytes {
		return errInvalid("members", "Group", "The group has as many members as it can hold.")
	}
	group.Members = slices.Insert(group.Members, i, member.ObjectID)
	return store.PutJSON(tx, key(principals, group.TenantID, group.ObjectID), group)
}

// RemoveMember ends a direct membership; one that does not exist is Graph's 404.
func (d *Directory) RemoveMember(tx *store.Tx, tenantID, groupID, memberID string) error {
	group, err := readGroup(tx, tenantID, groupID)
	if err != nil {
		return err
	}
	if _, found := slices.BinarySearch(group.Members, azure.Fold(memberID)); !found {
		return errNotFound(memberID)
	}
	return dropMember(tx, tenantID, groupID, memberID)
}

// dropMember takes a member out of a group, if both are there.
func dropMember(tx *store.Tx, tenantID, groupID, memberID string) error {
	group, err := readGroup(tx, tenantID, groupID)
	if e, ok := errors.AsType[*azure.Error](err); ok && e.Status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	i, found := slices.BinarySearch(group.Members, azure.Fold(memberID))
	if !found {
		return nil
	}
	group.Members = slices.Delete(group.Members, i, i+1)
	return store.PutJSON(tx, key(principals, group.TenantID, group.ObjectID), group)
}

func readGroup(tx *store.Tx, tenantID, groupID string) (Principal, error) {
	group, err := readPrincipal(tx, tenantID, groupID)
	if err == nil && !isGroup(&group) {
		err = errNotFound(groupID)
	}
	return group, err
}

func isGroup(p *Principal) bool { return p != nil && p.Type == azure.Group }

// GroupsOf gives the object IDs of all groups that hold a principal, directly or
// through other groups, sorted. It is empty for a principal that does not exist.
// The result belongs to the view and must not be changed.
func (d *Directory) GroupsOf(tenantID, objectID string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return nil
	}
	objectID = azure.Fold(objectID)
	if t.principals[objectID] == nil || len(t.holders[objectID]) == 0 {
		return nil
	}
	if cached, ok := t.closures.Load(objectID); ok {
		return cached.([]string)
	}
	// The read lock is held: no group changes between here and the cache, which
	// a change would replace.
	groups := t.groupsOf(objectID)
	t.closures.Store(objectID, groups)
	return groups
}

// DirectGroupsOf gives the object IDs of the groups that have a principal as a
// direct member, sorted.
func (d *Directory) DirectGroupsOf(tenantID, objectID string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	objectID = azure.Fold(objectID)
	if !ok || t.principals[objectID] == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(t.holders[objectID]))
}

// groupsOf walks up from a principal. Each group is visited once, so that
// circles end.
func (t *tenantView) groupsOf(objectID string) []string {
	seen := map[string]struct{}{objectID: {}}
	var groups []string
	for next := []string{objectID}; len(next) > 0; next = next[1:] {
		for group := range t.holders[next[0]] {
			if _, ok := seen[group]; ok {
				continue
			}
			seen[group] = struct{}{}
			groups = append(groups, group)
			next = append(next, group)
		}
	}
	slices.Sort(groups)
	return groups
}

// someGroupsWith gives groups that have the principal as a direct member.
func (d *Directory) someGroupsWith(tenantID, objectID string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t, ok := d.tenant(tenantID)
	if !ok {
		return nil
	}
	var groups []string
	for group := range t.holders[objectID] {
		if len(groups) == maxGroupsTidied {
			break
		}
		groups = append(groups, group)
	}
	return groups
}
