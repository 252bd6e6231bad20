package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func isGone(err error) bool { return errors.Is(err, rpctypes.ErrLeaseNotFound) }

// maintain compacts the past and watches the database's size.
func (s *Store) maintain(ctx context.Context) {
	ticker := time.NewTicker(s.maintenancePeriod())
	defer ticker.Stop()
	var past history
	for {
		s.measure(ctx)
		if s.cfg.Retention > 0 {
			s.compact(ctx, &past)
		}
		if s.engine != nil {
			if err := s.makeRoom(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("making room in the store failed", "error", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// maintenancePeriod makes a tenth of the retention, at most half a minute.
func (s *Store) maintenancePeriod() time.Duration {
	const longest = 30 * time.Second
	if s.cfg.Retention < 0 {
		return longest
	}
	return min(max(s.cfg.Retention/10, 10*time.Millisecond), longest)
}

// history remembers which revision was current when.
type history struct{ samples []sample }

type sample struct {
	at  time.Time
	rev int64
}

// push notes the revision of now and gives the newest that is older than the
// retention, 0 if there is none.
func (h *history) push(now time.Time, rev int64, retention time.Duration) int64 {
	h.samples = append(h.samples, sample{now, rev})
	var old int64
	for len(h.samples) > 0 && now.Sub(h.samples[0].at) >= retention {
		old = h.samples[0].rev
		h.samples = h.samples[1:]
	}
	return old
}

// compact drops revisions older than the retention. Several replicas may do it:
// the later ones find it done.
func (s *Store) compact(ctx context.Context, past *history) {
	rev := past.push(time.Now(), s.views.revision(), s.cfg.Retention)
	if rev == 0 {
		return
	}
	if _, err := s.client.Compact(ctx, rev); err != nil && ctx.Err() == nil && !errors.Is(err, rpctypes.ErrCompacted) {
		s.log.Warn("compacting the store failed", "error", err, "revision", rev)
	}
}

// measure notes the database's size for the metrics.
func (s *Store) measure(ctx context.Context) {
	if s.engine != nil {
		file, used := s.engine.size()
		s.metrics.size.Set(float64(file))
		s.metrics.used.Set(float64(used))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, endpoint := range s.client.Endpoints() {
		status, err := s.client.Status(ctx, endpoint)
		if err == nil {
			s.metrics.size.Set(float64(status.DbSize))
			s.metrics.used.Set(float64(status.DbSizeInUse))
			return
		}
	}
}

// makeRoom drops the whole past when the embedded engine is full, and ends
// etcd's own alarm when that sufficed.
func (s *Store) makeRoom(ctx context.Context) error {
	alarms, err := s.client.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("listing etcd's alarms: %w", err)
	}
	alarmed := slices.ContainsFunc(alarms.Alarms, func(a *etcdserverpb.AlarmMember) bool {
		return a.Alarm == etcdserverpb.AlarmType_NOSPACE
	})
	if !alarmed && s.engine.hasRoom() {
		return nil
	}
	_, err = s.client.Compact(ctx, s.views.revision(), clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compacting: %w", err)
	}
	if alarmed {
		if err := s.endAlarm(ctx); err != nil {
			return err
		}
	}
	if _, used := s.engine.size(); used > s.cfg.QuotaBytes {
		s.log.Error("the store is full: reads and deletes work, other writes don't; delete what is not needed, or raise the quota and restart",
			"bytes", used, "quota", s.cfg.QuotaBytes)
	}
	return nil
}

// endAlarm gives the file's free space back and lets etcd write again, if the
// file is small enough then.
func (s *Store) endAlarm(ctx context.Context) error {
	if err := s.engine.etcd.Server.Backend().Defrag(); err != nil {
		return fmt.Errorf("defragmenting: %w", err)
	}
	if file, _ := s.engine.size(); file >= hardQuota(s.cfg.QuotaBytes) {
		return nil
	}
	if _, err := s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("ending etcd's alarm: %w", err)
	}
	return nil
}
