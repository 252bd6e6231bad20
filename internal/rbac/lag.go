package rbac

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// maxLagging bounds the changes that wait to be in force; beyond it the earliest
// is not waited for.
const maxLagging = 8192

// lag keeps changes of role assignments that are stored and not yet in force,
// as on Azure, where they take up to ten minutes. The policies hold what is in
// force; nothing here runs by itself: whoever is about to decide brings the
// policies up to its own time (see [Guard.rlock]).
type lag struct {
	by time.Duration // 0: changes are in force at once
	// next is when the first waiting change is due, in nanoseconds since 1970;
	// math.MaxInt64: none waits. It is read without the guard's lock.
	next atomic.Int64
	// waiting are the changes in the order of their times. The guard's lock
	// holds them.
	waiting []lagging
}

// lagging is one change that waits.
type lagging struct {
	due          time.Time
	tenant, name string // folded; of an assignment
	change       func(*Policy)
}

// clear forgets what waits.
func (l *lag) clear() {
	l.waiting = nil
	l.next.Store(math.MaxInt64)
}

// of gives the time since which, and the one from which on, a change of an
// assignment counts. A stored assignment tells by its own times, so that all
// replicas agree, and a restart changes nothing:
//
//   - Of a new one it is its creation, of a changed one its last change. What it
//     said before counts until then.
//   - At the first reading nobody knows what a changed one said before: it
//     counts as it is, from its creation on.
//   - What no principal asked for, which is the first start's own, counts at once.
//
// A removed one leaves no time behind: the time at which this replica hears of
// it stands for that, and a replica that starts later has not known it.
func (l *lag) of(a *Assignment, reset bool, now time.Time) time.Time {
	switch {
	case a == nil:
		return now.Add(l.by)
	case a.CreatedBy == "":
		return time.Time{}
	case reset:
		return a.CreatedOn.Add(l.by)
	default:
		return a.UpdatedOn.Add(l.by)
	}
}

// postpone takes a change that is due later. It gives false for one that is due
// now, which the caller makes itself. Changes of one assignment keep their
// order, whatever the clocks of those who made them said.
func (l *lag) postpone(c lagging, now time.Time) bool {
	for _, other := range slices.Backward(l.waiting) {
		if other.name == c.name && other.tenant == c.tenant {
			if c.due.Before(other.due) {
				c.due = other.due
			}
			break
		}
	}
	if !now.Before(c.due) {
		return false
	}
	at, _ := slices.BinarySearchFunc(l.waiting, c.due, func(e lagging, due time.Time) int {
		if e.due.After(due) {
			return 1
		}
		return -1 // behind all that are due at the same time
	})
	l.waiting = slices.Insert(l.waiting, at, c)
	l.next.Store(l.waiting[0].due.UnixNano())
	return true
}

// ripe takes out the changes that are due, in their order.
func (l *lag) ripe(now time.Time) []lagging {
	n := max(0, len(l.waiting)-maxLagging)
	for n < len(l.waiting) && !now.Before(l.waiting[n].due) {
		n++
	}
	due := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	if len(l.waiting) == 0 {
		l.clear()
	} else {
		l.next.Store(l.waiting[0].due.UnixNano())
	}
	return due
}

// rlock locks the policies for reading, as they are in force at a time.
func (g *Guard) rlock(now time.Time) {
	if g.lag.by > 0 && now.UnixNano() >= g.lag.next.Load() {
		g.mu.Lock()
		for _, c := range g.lag.ripe(now) {
			c.change(g.tenant(c.tenant))
		}
		g.mu.Unlock()
	}
	g.mu.RLock()
}

// change makes a change of a tenant's policy, or lets it wait. The caller holds
// the lock; now is only looked at where there is a lag.
func (g *Guard) change(u update, reset bool, now time.Time) {
	if g.lag.by > 0 && u.name != "" {
		p := g.tenant(u.tenant)
		_, inForce := p.byName[u.name]
		c := lagging{due: g.lag.of(u.assignment, reset, now), tenant: u.tenant, name: u.name, change: u.change}
		known := inForce || slices.ContainsFunc(g.lag.waiting, func(w lagging) bool { return w.name == c.name && w.tenant == c.tenant })
		if (u.assignment != nil || known) && g.lag.postpone(c, now) {
			for _, early := range g.lag.ripe(now) {
				early.change(g.tenant(early.tenant))
			}
			return
		}
	}
	u.change(g.tenant(u.tenant))
}

// tenant gives a tenant's policy, and makes it if need be. The caller holds the
// lock.
func (g *Guard) tenant(folded string) *Policy {
	p := g.tenants[folded]
	if p == nil {
		p = NewPolicy(nil, nil)
		g.tenants[folded] = p
	}
	return p
}

// lagNote says, in the reason of a denial, that changes are waiting. The caller
// holds the lock.
func (g *Guard) lagNote(tenantID string) string {
	tenant := azure.Fold(tenantID)
	if !slices.ContainsFunc(g.lag.waiting, func(w lagging) bool { return w.tenant == tenant }) {
		return ""
	}
	return "; changes of role assignments take " + g.lag.by.String() + " here to be in force, and some of this tenant's are not yet"
}
