package token

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestFirstStartMakesOneKey(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	list := k.List()
	if len(list) != 1 {
		t.Fatalf("%d keys, want 1", len(list))
	}
	want := Key{ID: list[0].ID, Published: standin.Start, SignsFrom: standin.Start}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Error(diff)
	}
	if header, _ := decode(t, mint(t, k, appClaims(c))); header["kid"] != list[0].ID {
		t.Errorf("kid %v, want %s", header["kid"], list[0].ID)
	}
}

// A key that was prepared becomes the first one, and that of one cloud alone;
// where there is a key already it stays unused.
func TestPreparedFirstKey(t *testing.T) {
	t.Parallel()
	c := standin.NewClock(standin.Start)
	first := MakeFirstKey(c.Now)
	st := openStore(t, t.TempDir(), 1)
	k, err := OpenKeys(t.Context(), st, c.Now, nil, WithFirstKey(first))
	if err != nil {
		t.Fatal(err)
	}
	list := k.List()
	if len(list) != 1 || list[0].ID != first.record.key().ID || !list[0].SignsFrom.Equal(standin.Start) {
		t.Fatalf("keys %+v, want the prepared one", list)
	}
	if _, err := OpenKeys(t.Context(), openStore(t, t.TempDir(), 1), c.Now, nil, WithFirstKey(first)); err == nil {
		t.Error("two clouds have the same key")
	}
	late := MakeFirstKey(c.Now)
	again, err := OpenKeys(t.Context(), st, c.Now, nil, WithFirstKey(late))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list, again.List()); diff != "" {
		t.Error(diff)
	}
	late.Wait()
}

func TestRestartKeepsKeys(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), standin.NewClock(standin.Start)
	st := openStore(t, dir, 1)
	k := openKeys(t, st, c.Now)
	if _, err := k.Rotate(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	before, raw := k.List(), mint(t, k, appClaims(c))
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	k = openKeys(t, openStore(t, dir, 1), c.Now)
	if diff := cmp.Diff(before, k.List()); diff != "" {
		t.Error(diff)
	}
	if _, err := armVerifier(k, c).Verify(raw); err != nil {
		t.Error(err)
	}
}

func TestWrongSealingKeyIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st := openStore(t, dir, 1)
	id := openKeys(t, st, nil).List()[0].ID
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = openStore(t, dir, 2)
	if _, err := OpenKeys(t.Context(), st, nil, nil); err == nil {
		t.Fatal("keys that another sealing key sealed were opened")
	}
	page, err := st.List(t.Context(), keyPrefix, store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Entries) != 1 || page.Entries[0].Key != keyPrefix+id {
		t.Errorf("the store has %d keys: a new one was made", len(page.Entries))
	}
}

// A sealed record that was moved under another name, or that someone without
// the sealing key wrote, never becomes a key.
func TestForgedRecordIsNotPublished(t *testing.T) {
	t.Parallel()
	k, _ := newKeys(t)
	id := k.List()[0].ID
	e, err := k.st.Get(t.Context(), keyPrefix+id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.st.Update(t.Context(), func(tx *store.Tx) error {
		tx.Put(keyPrefix+"moved", e.Value)
		tx.Put(keyPrefix+"plain", []byte(`{"certificate":"","privateKey":""}`))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if list := k.List(); len(list) != 1 || list[0].ID != id {
		t.Errorf("keys: %v", list)
	}
	if _, err := OpenKeys(t.Context(), k.st, nil, nil); err == nil {
		t.Error("a start with a forged record went well")
	}
}

func TestReplicasShareKeys(t *testing.T) {
	t.Parallel()
	st, c := openStore(t, t.TempDir(), 1), standin.NewClock(standin.Start)
	replicas := make([]*Keys, 4)
	var group errgroup.Group
	for i := range replicas {
		group.Go(func() (err error) {
			replicas[i], err = OpenKeys(t.Context(), st, c.Now, nil)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	first := replicas[0].List()
	if len(first) != 1 {
		t.Fatalf("%d first keys, want 1", len(first))
	}
	for _, k := range replicas[1:] {
		if diff := cmp.Diff(first, k.List()); diff != "" {
			t.Error(diff)
		}
	}
	made, err := replicas[1].Rotate(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	raw := mint(t, replicas[2], appClaims(c))
	if header, _ := decode(t, raw); header["kid"] != made.ID {
		t.Errorf("replica 2 signs with %v after replica 1's rotation to %s", header["kid"], made.ID)
	}
	if _, err := armVerifier(replicas[3], c).Verify(raw); err != nil {
		t.Error(err)
	}
}

func TestNoKeyLeft(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	raw := mint(t, k, appClaims(c))
	id := k.List()[0].ID
	if _, err := k.st.Update(t.Context(), func(tx *store.Tx) error {
		tx.Delete(keyPrefix + id)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Mint(appClaims(c)); !errors.Is(err, ErrNoKey) {
		t.Errorf("minting: %v, want ErrNoKey", err)
	}
	wantReason(t, armVerifier(k, c), raw, BadSignature)
}

func TestMintRefusesStaleView(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	if err := k.st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Mint(appClaims(c)); !errors.Is(err, store.ErrStale) {
		t.Errorf("minting over a closed store: %v, want ErrStale", err)
	}
}

// A replica whose clock lags must be able to sign with the first key.
func TestSlowClockSignsWithTheFirstKey(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	c.Advance(-time.Minute)
	raw := mint(t, k, appClaims(c))
	if _, err := armVerifier(k, c).Verify(raw); err != nil {
		t.Error(err)
	}
}
