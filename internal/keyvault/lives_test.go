package keyvault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

// count gives the number of keys under a prefix.
func (w *world) count(prefix string) int {
	w.TB.Helper()
	return len(w.Entries(prefix))
}

// Purging leaves nothing behind, neither of the secret nor in the schedule.
func TestPurgeRemovesAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.set("one", "db", "x")
	}
	w.set("one", "db2", "x") // the neighbour, whose name has the same beginning
	w.do("officer", "one", "DELETE", "/secrets/db"+v, "").Want(t, 200)
	w.do("officer", "one", "DELETE", "/deletedsecrets/db"+v, "").Want(t, 204)
	if n := w.count("keyvault/"); n != 3 {
		t.Errorf("%d keys are left, want the neighbour's 3", n)
	}
	if n := w.count(schedulePrefix); n != 0 {
		t.Errorf("the schedule has %d entries", n)
	}
	w.do("officer", "one", "GET", "/secrets/db2"+v, "").Want(t, 200)
}

// The sweep purges what is due, no sooner.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 120 { // more than one batch
		w.set("one", "old", "x")
	}
	w.set("one", "young", "x")
	w.set("one", "live", "x")
	w.set("one", "recovered", "x")
	w.do("officer", "one", "DELETE", "/secrets/old"+v, "").Want(t, 200)
	w.do("officer", "one", "DELETE", "/secrets/recovered"+v, "").Want(t, 200)
	w.Clock.Advance(time.Hour)
	w.do("officer", "one", "DELETE", "/secrets/young"+v, "").Want(t, 200)
	w.do("officer", "one", "POST", "/deletedsecrets/recovered/recover"+v, "").Want(t, 200)

	w.Clock.Advance(90*24*time.Hour - time.Hour - time.Second)
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	if n := w.count("keyvault/"); n != 120*2+1+3*3 {
		t.Fatalf("%d keys before the time is over", n)
	}
	w.Clock.Advance(time.Second)
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	if n := w.count("keyvault/"); n != 3*3 {
		t.Errorf("%d keys are left, want those of three secrets", n)
	}
	if n := w.count(schedulePrefix); n != 1 {
		t.Errorf("the schedule has %d entries, want the young secret's", n)
	}
	w.do("officer", "one", "GET", "/deletedsecrets/young"+v, "").Want(t, 200)
	w.do("officer", "one", "GET", "/secrets/recovered"+v, "").Want(t, 200)
	w.do("officer", "one", "GET", "/secrets/live"+v, "").Want(t, 200)
}

// A name that was set again before the sweep came keeps its new life.
func TestSweepKeepsTheNewLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set("one", "s", "old")
	w.do("officer", "one", "DELETE", "/secrets/s"+v, "").Want(t, 200)
	w.Clock.Advance(90 * 24 * time.Hour)
	w.set("one", "s", "new")
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	b := cloudtest.Decode[bundle](t, w.do("officer", "one", "GET", "/secrets/s"+v, "").Want(t, 200))
	if string(*b.Value) != "new" {
		t.Errorf("the value is %q", string(*b.Value))
	}
	if n := w.count("keyvault/"); n != 3 {
		t.Errorf("%d keys, want 3", n)
	}
}

// A sweep that died in the middle is finished by the next one.
func TestSweepResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set("one", "s", "x")
	w.do("officer", "one", "DELETE", "/secrets/s"+v, "").Want(t, 200)
	w.Clock.Advance(90 * 24 * time.Hour)
	// What a sweep has done when it dies after its first transaction.
	w.Update(func(tx *store.Tx) error {
		tx.Delete("keyvault/one/instance-one/deletedsecrets/s")
		entries, err := tx.List(schedulePrefix)
		for _, e := range entries {
			tx.Put(e.Key, []byte("sweeping"))
		}
		return err
	})
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	if n := w.count("keyvault/") + w.count(schedulePrefix); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// A sweep that read its entry before the secret was recovered finds the entry
// gone, and leaves the secret alone.
func TestSweepSeesRecovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set("one", "s", "x")
	w.do("officer", "one", "DELETE", "/secrets/s"+v, "").Want(t, 200)
	page, err := w.Store.List(t.Context(), schedulePrefix, store.ListOptions{KeysOnly: true})
	cloudtest.Must(t, err)
	at, where, life, err := parseScheduled(page.Entries[0].Key)
	cloudtest.Must(t, err)
	w.do("officer", "one", "POST", "/deletedsecrets/s/recover"+v, "").Want(t, 200)
	cloudtest.Must(t, w.handler.sweepOne(t.Context(), where, life, at))
	w.do("officer", "one", "GET", "/secrets/s"+v, "").Want(t, 200)
}

// A schedule's key that no one could have written is complained of.
func TestParseScheduled(t *testing.T) {
	t.Parallel()
	at, where, life, err := parseScheduled(shelf{vault: "v/i", name: "s"}.scheduled(5, "l"))
	if err != nil || at != 5 || (where != shelf{vault: "v/i", name: "s"}) || life != "l" {
		t.Errorf("%d %+v %s %v", at, where, life, err)
	}
	for _, key := range []string{schedulePrefix, schedulePrefix + "5/v/s/l", schedulePrefix + "x/v/i/s/l"} {
		if _, _, _, err := parseScheduled(key); err == nil {
			t.Errorf("%s was read", key)
		}
	}
}

// Only one sweeps at a time; the other has nothing to complain of.
func TestSweepYields(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lock, err := w.Store.TryLock(t.Context(), sweepLock, time.Minute)
	cloudtest.Must(t, err)
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	cloudtest.Must(t, lock.Unlock(t.Context()))
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.handler.Run(ctx)
}

// A vault that is made again under a purged one's name has none of its secrets,
// even before they have been removed.
func TestVaultInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set("one", "s", "x")
	again, _ := w.vaults.Vault("one")
	again.Instance = "another"
	w.vaults.set(again)
	w.do("officer", "one", "GET", "/secrets/s"+v, "").Want(t, 404)
	if got := w.pages("one", "/secrets"+v); len(got[0]) != 0 {
		t.Errorf("the new vault has %v", got)
	}
}

func TestPurgeVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 40 {
		w.set("one", fmt.Sprintf("s%d", i), "x")
	}
	w.set("two", "s", "x")
	calls := 0
	for more := true; more; calls++ {
		w.Update(func(tx *store.Tx) (err error) {
			more, err = w.handler.Purge(t.Context(), tx, "ONE")
			return err
		})
	}
	if n := w.count("keyvault/one/"); n != 0 || calls < 2 {
		t.Errorf("%d keys are left after %d calls", n, calls)
	}
	w.do("officer", "two", "GET", "/secrets/s"+v, "").Want(t, 200)
}

// The largest backup: 500 versions come back, in order, in a vault elsewhere.
func TestBackupOfManyVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(t, "one", "s", maxBackupVersions, 2000)
	a := w.do("officer", "one", "POST", "/secrets/s/backup"+v, "").Want(t, 200)
	w.do("officer", "two", "POST", "/secrets/restore"+v, a.Body).Want(t, 200)
	from, to := w.pages("one", "/secrets/s/versions"+v), w.pages("two", "/secrets/s/versions"+v)
	if !slices.Equal(slices.Concat(from...), slices.Concat(to...)) {
		t.Error("the restored versions are others")
	}
	for _, id := range to[7] {
		one, two := w.do("officer", "one", "GET", "/secrets/s/"+id+v, ""), w.do("officer", "two", "GET", "/secrets/s/"+id+v, "").Want(t, 200)
		if *cloudtest.Decode[bundle](t, one).Value != *cloudtest.Decode[bundle](t, two).Value {
			t.Errorf("version %s has another value", id)
		}
	}
	if n := w.count(schedulePrefix); n != 0 {
		t.Errorf("the schedule has %d entries", n)
	}
	w.write(t, "one", "t", maxBackupVersions+1, 1)
	w.do("officer", "one", "POST", "/secrets/t/backup"+v, "").Want(t, 400)
}

// A backup that could not come back is not made.
func TestBackupThatIsTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxBody = 4096 })
	w.write(t, "one", "fits", 1, 1000)
	a := w.do("officer", "one", "POST", "/secrets/fits/backup"+v, "").Want(t, 200)
	w.do("officer", "two", "POST", "/secrets/restore"+v, a.Body).Want(t, 200)
	w.write(t, "one", "large", 3, 1000)
	a = w.do("officer", "one", "POST", "/secrets/large/backup"+v, "").Want(t, 400)
	if !strings.Contains(a.Body, "too large for a backup") {
		t.Error(a.Body)
	}
}

// write makes a secret of many versions, quicker than by requests.
func (w *world) write(t *testing.T, vault, name string, n, size int) {
	t.Helper()
	at := shelf{vault: vault + "/instance-" + vault, name: name}
	var versions []backupVersion
	for i := range n {
		versions = append(versions, backupVersion{
			version{ID: newID(), Enabled: true, Created: int64(i), Updated: int64(i)}, bytes.Repeat([]byte{byte('a' + i%26)}, size),
		})
	}
	s := secret{Name: name, Life: newID(), Current: versions[n-1].version}
	cloudtest.Must(t, w.handler.writeVersions(t.Context(), at, s.Life, versions))
	w.Update(func(tx *store.Tx) error { return store.PutJSON(tx, at.live(), s) })
}

// A restore that died half way leaves nothing that can be seen, and the sweep
// removes what cannot. One that is slower than the sweep fails.
func TestRestoreThatDied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := shelf{vault: "two/instance-two", name: "s"}
	entry := at.scheduled(standin.Start.Unix()+restoreTime, "life")
	w.Update(func(tx *store.Tx) error { tx.Put(entry, nil); return nil })
	cloudtest.Must(t, w.handler.writeVersions(t.Context(), at, "life", []backupVersion{{version{ID: newID()}, []byte("x")}}))
	w.do("officer", "two", "GET", "/secrets/s"+v, "").Want(t, 404)
	w.Clock.Advance(restoreTime*time.Second - 1)
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	if n := w.count("keyvault/two/"); n != 2 {
		t.Fatalf("%d keys of the restore while it may still run", n)
	}
	w.Clock.Advance(1)
	cloudtest.Must(t, w.handler.Sweep(t.Context()))
	if n := w.count("keyvault/two/") + w.count(schedulePrefix); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// A restore whose versions are being swept does not end in a secret without
// them.
func TestRestoreThatIsTooSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set("one", "s", "x")
	blob := w.do("officer", "one", "POST", "/secrets/s/backup"+v, "").Want(t, 200).Body
	// The sweep comes while the body, which is read after the request's time was
	// taken, is on its way; and marks the entry, which it finds to be due.
	for _, mark := range []bool{false, true} {
		b, err := w.handler.open(t.Context(), Vault{ID: vaultID("one"), Geography: "Europe"}, mustDecode(t, blob))
		cloudtest.Must(t, err)
		s, err := b.secret()
		cloudtest.Must(t, err)
		at := shelf{vault: "two/instance-two", name: "s"}
		entry := at.scheduled(standin.Start.Unix()+restoreTime, s.Life)
		w.Update(func(tx *store.Tx) error {
			if mark {
				tx.Put(entry, []byte("sweeping"))
			}
			return nil
		})
		r := &request{now: standin.Start, vault: Vault{ID: vaultID("two")}}
		if err := w.handler.finishRestore(t.Context(), r, at, entry, s); err == nil {
			t.Errorf("marked %t: the restore ended well", mark)
		}
	}
	w.do("officer", "two", "GET", "/secrets/s"+v, "").Want(t, 404)
}

func mustDecode(t *testing.T, body string) []byte {
	t.Helper()
	var b backupBody
	cloudtest.Must(t, json.Unmarshal([]byte(body), &b))
	raw, err := base64.RawURLEncoding.DecodeString(*b.Value)
	cloudtest.Must(t, err)
	return raw
}

// Every byte of a blob counts.
func TestBackupIsAuthentic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const value = "the-value-of-the-secret"
	w.set("one", "s", value)
	blob := *cloudtest.Decode[backupBody](t, w.do("officer", "one", "POST", "/secrets/s/backup"+v, "").Want(t, 200)).Value
	raw, err := base64.RawURLEncoding.DecodeString(blob)
	cloudtest.Must(t, err)
	if bytes.Contains(raw, []byte(value)) || bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString([]byte(value)))) {
		t.Error("the backup holds the value in clear")
	}
	for i := 0; i < len(raw); i += 7 {
		changed := bytes.Clone(raw)
		changed[i] ^= 0x40
		body, err := json.Marshal(map[string]string{"value": base64.RawURLEncoding.EncodeToString(changed)})
		cloudtest.Must(t, err)
		if a := w.do("officer", "two", "POST", "/secrets/restore"+v, string(body)); a.Status != 400 {
			t.Fatalf("byte %d changed: %d %s", i, a.Status, a.Body)
		}
	}
	// Padding, as some clients send it, does no harm.
	w.do("officer", "two", "POST", "/secrets/restore"+v, `{"value":"`+blob+strings.Repeat("=", (4-len(blob)%4)%4)+`"}`).Want(t, 200)
}
