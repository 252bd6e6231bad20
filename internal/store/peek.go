package store

import "slices"

// Peek gives up to limit keys under prefix, without their values, and whether
// there are more. The commit does not depend on it: it is for cleaning up what
// nobody writes any more, which List, that reads everything and compares it,
// would make slow.
func (tx *Tx) Peek(prefix string, limit int) (keys []string, more bool, err error) {
	if tx.err != nil {
		return nil, false, tx.err
	}
	page, err := tx.s.listAt(tx.ctx, prefix, ListOptions{Revision: tx.rev, Limit: limit, KeysOnly: true})
	if err != nil {
		return nil, false, tx.fail(err)
	}
	tx.rev = page.Revision
	for _, e := range page.Entries {
		keys = append(keys, e.Key)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return tx.writes[key].delete })
	return keys, page.More, nil
}
