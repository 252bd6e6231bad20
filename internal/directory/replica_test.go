package directory

import (
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

// startEtcd runs an etcd of the kind that replicas share, and gives its address.
func startEtcd(t *testing.T) string {
	t.Helper()
	local := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.LogLevel = "panic"
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{local}, []url.URL{local}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		t.Fatal(err)
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	return "http://" + e.Clients[0].Addr().String()
}

// replica is a further process over the same etcd.
func replica(t *testing.T, endpoint string) *fixture {
	t.Helper()
	f := &fixture{t: t, st: openStore(t, store.Config{Endpoints: []string{endpoint}}), clock: standin.NewClock(standin.Start)}
	d, err := Open(t.Context(), f.st, testCloud, f.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.Directory = d
	return f
}

// eventually waits for what another replica has written.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not seen", what)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func TestReplicas(t *testing.T) {
	endpoint := startEtcd(t)
	one, two := replica(t, endpoint), replica(t, endpoint)
	one.must(func(tx *store.Tx) error {
		return one.CreateTenant(tx, Tenant{ID: contoso, DisplayName: "Contoso", Domains: []string{"contoso.example"}})
	})
	mi := one.identity(contoso, "id1")
	if _, err := one.put(credential(contoso, mi.ObjectID, "fc1")); err != nil {
		t.Fatal(err)
	}
	if c, ok := one.Client(contoso, mi.AppID); !ok || len(c.FederatedCredentials) != 1 {
		t.Errorf("the replica that wrote sees %+v", c)
	}
	eventually(t, "the identity on the other replica", func() bool {
		c, ok := two.Client(contoso, mi.AppID)
		return ok && len(c.FederatedCredentials) == 1
	})

	// A write on the other replica between reading and commit is concurrent too.
	overlapped := false
	err := one.update(func(tx *store.Tx) error {
		if _, err := one.PutFederatedCredential(tx, credential(contoso, mi.ObjectID, "fc2")); err != nil {
			return err
		}
		if !overlapped {
			overlapped = true
			_, err := two.put(credential(contoso, mi.ObjectID, "fc3"))
			return err
		}
		return nil
	})
	wantConcurrent(t, err, mi)

	// Names are guarded by the store, not by what a replica has seen.
	two.user(contoso, "ada@contoso.example", "Ada")
	wantError(t, one.update(func(tx *store.Tx) error {
		_, err := one.CreateUser(tx, contoso, "Ada@contoso.example", "Ada")
		return err
	}), 400, "Request_MultipleObjectsWithSameKeyValue",
		"Another object with the same value for property userPrincipalName already exists.")

	two.must(func(tx *store.Tx) error { return two.DeletePrincipal(tx, contoso, mi.ObjectID) })
	if _, ok := two.Client(contoso, mi.AppID); ok {
		t.Error("the replica that deleted the identity still sees it")
	}
	eventually(t, "the deletion on the first replica", func() bool {
		_, ok := one.Client(contoso, mi.AppID)
		return !ok
	})
}
