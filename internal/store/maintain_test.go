package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestHistory(t *testing.T) {
	var h history
	at := func(minutes int) time.Time { return time.Unix(0, 0).Add(time.Duration(minutes) * time.Minute) }
	var got []int64
	for i := range 8 {
		got = append(got, h.push(at(i*10), int64(100+i), time.Hour))
	}
	// A clock that was set back, and then a long sleep.
	got = append(got, h.push(at(5), 108, time.Hour), h.push(at(1000), 109, time.Hour), h.push(at(1001), 110, time.Hour))
	if diff := cmp.Diff([]int64{0, 0, 0, 0, 0, 0, 100, 101, 0, 108, 0}, got); diff != "" {
		t.Error(diff)
	}
}

// Revisions older than the retention go, by themselves.
func TestRetention(t *testing.T) {
	s := open(t, func(c *Config) { c.Retention = 20 * time.Millisecond })
	rev := put(t, s, "a", "1")
	put(t, s, "a", "2")
	eventually(t, "compaction", func() bool {
		_, err := s.List(t.Context(), "a", ListOptions{Revision: rev})
		return errors.Is(err, ErrCompacted)
	})
	if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != "2" {
		t.Error(e, err)
	}
}

func TestRetentionForEver(t *testing.T) {
	s := open(t, func(c *Config) { c.Retention = -1 })
	if s.maintenancePeriod() <= 0 {
		t.Error(s.maintenancePeriod())
	}
	put(t, s, "a", "1")
}

// fill puts keys until the store is full.
func fill(t *testing.T, s *Store) (keys []string) {
	t.Helper()
	value := bytes.Repeat([]byte("x"), 100_000)
	for i := range 1000 {
		key := fmt.Sprintf("fill/%04d", i)
		_, err := s.Update(t.Context(), func(tx *Tx) error { tx.Put(key, value); return nil })
		if errors.Is(err, ErrQuota) {
			if !strings.Contains(err.Error(), "raise the quota") {
				t.Errorf("the error doesn't say what to do: %v", err)
			}
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	t.Fatal("the store has no end")
	return nil
}

// A full store still reads and deletes; when enough was deleted it writes again.
func TestQuota(t *testing.T) {
	dir := t.TempDir()
	small := func(c *Config) { c.Dir, c.QuotaBytes, c.Retention = dir, 4<<20, 200*time.Millisecond }
	s := open(t, small)
	keys := fill(t, s)
	if n := len(keys); n < 20 {
		t.Errorf("full after %d keys", n)
	}
	if _, err := s.Get(t.Context(), keys[0]); err != nil {
		t.Error(err)
	}
	del(t, s, keys[0])
	del(t, s, keys[1:]...)
	writable := func() bool {
		_, err := s.Update(t.Context(), func(tx *Tx) error { tx.Put("again", nil); return nil })
		if err != nil && !errors.Is(err, ErrQuota) {
			t.Fatal(err)
		}
		return err == nil
	}
	eventually(t, "room", writable)

	// Raising the quota helps at once.
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, func(c *Config) { c.Dir, c.QuotaBytes = dir, 64<<20 }) // pages that are freed stay in the file
	put(t, s, "more", "1")
}

// Even etcd's own alarm, raised when the file has grown too large, ends by
// itself once there is room.
func TestAlarmEnds(t *testing.T) {
	s := open(t, func(c *Config) { c.QuotaBytes, c.Retention = 1<<20, time.Hour })
	value := string(bytes.Repeat([]byte("x"), 1<<20))
	var err error
	for i := 0; err == nil && i < 200; i++ {
		_, err = s.client.Put(t.Context(), s.keys.data("big"), value)
	}
	if err := s.wrap(t.Context(), err); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	if _, err := s.client.Delete(t.Context(), s.keys.data("big")); err != nil {
		t.Fatal(err)
	}
	if err := s.views.wait(t.Context(), mustRevision(t, s)); err != nil {
		t.Fatal(err)
	}
	if err := s.makeRoom(t.Context()); err != nil {
		t.Fatal(err)
	}
	alarms, err := s.client.AlarmList(t.Context())
	if err != nil || len(alarms.Alarms) != 0 {
		t.Error(alarms, err)
	}
	eventually(t, "room", func() bool { return s.engine.hasRoom() })
	put(t, s, "a", "1")
}

func mustRevision(t *testing.T, s *Store) int64 {
	t.Helper()
	_, rev, err := s.revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// A cluster that is full says what its operator does.
func TestQuotaOfACluster(t *testing.T) {
	srv := startServer(t)
	s := open(t, srv.at)
	// The alarm alone, without the gigabytes.
	if _, err := srv.etcd.Server.Alarm(t.Context(), alarmRequest(srv)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Update(t.Context(), func(tx *Tx) error { tx.Put("a", nil); return nil })
	if !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), "alarm disarm") {
		t.Error(err)
	}
	if _, err := s.List(t.Context(), "", ListOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := s.client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "1")
}

func TestCollectors(t *testing.T) {
	s := open(t)
	put(t, s, "a", "1")
	if _, err := s.Get(t.Context(), "absent"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Collectors()...)
	gather := func() map[string]float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += "/" + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		return got
	}
	eventually(t, "the size", func() bool { return gather()["lanyard_store_database_bytes"] > 0 })
	got := gather()
	for name, want := range map[string]float64{
		"lanyard_store_operations_total/update/ok":           1,
		"lanyard_store_operations_total/get/not_found":       1,
		"lanyard_store_operation_duration_seconds/update":    1,
		"lanyard_store_view_lag_seconds":                     1,
		"lanyard_store_conflicts_total":                      0,
		"lanyard_store_watch_losses_total":                   0,
		"lanyard_store_view_resets_total":                    0,
		"lanyard_store_view_revision":                        float64(s.views.revision()),
		"lanyard_store_operations_total/get/no such outcome": 0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if _, there := got["lanyard_store_view_age_seconds"]; !there {
		t.Error("no age")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	gather() // a closed store has metrics too
}

// What etcd warns of reaches the log, with its fields; what is expected doesn't.
func TestZapToSlog(t *testing.T) {
	var out bytes.Buffer
	l := zapTo(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))).Sugar()
	l.Infow("not told")
	l.Warnw("careful", "n", 1)
	l.With("member", "m").Errorw("broken", "error", errors.New("why"))
	l.Warnw("simple token is not cryptographically signed")
	l.Warnw("not done", "error", fmt.Errorf("asking: %w", context.Canceled))
	want := "level=WARN msg=careful component=etcd n=1\nlevel=ERROR msg=broken component=etcd member=m error=why\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
