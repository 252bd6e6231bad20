package actas_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/actas"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/imds"
)

const (
	tenant       = "aaaaaaaa-0000-0000-0000-000000000000"
	subscription = "bbbbbbbb-0000-0000-0000-000000000000"
)

func resourceID(name string) string {
	return "/subscriptions/" + subscription + "/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name
}

// stand answers as a cloud with a few identities, and counts exchanges.
type stand struct {
	*httptest.Server
	mu         sync.Mutex
	identities map[string]string // resource ID: client ID
	exchanges  atomic.Int64
	hold       chan struct{} // exchanges wait for it, where it is set
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{identities: map[string]string{
		resourceID("orders"): "11111111-0000-0000-0000-000000000000",
		resourceID("batch"):  "22222222-0000-0000-0000-000000000000",
		strings.Replace(resourceID("batch"), "/rg/", "/rg2/", 1): "33333333-0000-0000-0000-000000000000",
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /"+tenant+"/oauth2/v2.0/token", s.token)
	mux.HandleFunc("GET /subscriptions/", s.read)
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

func answer(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *stand) token(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("grant_type") == "client_credentials" {
		if r.FormValue("client_secret") != "secret" {
			answer(w, 401, map[string]string{"error": "invalid_client", "error_description": "AADSTS7000215: wrong"})
			return
		}
		answer(w, 200, map[string]any{"access_token": "operator", "expires_in": 3600})
		return
	}
	s.exchanges.Add(1)
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, client := range s.identities {
		if client == r.FormValue("requested_subject") && r.FormValue("subject_token") == "operator" {
			answer(w, 200, map[string]any{"access_token": client + " " + r.FormValue("scope") + " " + id, "expires_in": 3600})
			return
		}
	}
	answer(w, 400, map[string]string{"error": "unauthorized_client", "error_description": "AADSTS700016: nobody"})
}

func (s *stand) read(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	show := func(id string) map[string]any {
		return map[string]any{"id": id, "name": id[strings.LastIndex(id, "/")+1:],
			"properties": map[string]string{"clientId": s.identities[id], "principalId": "9" + s.identities[id][1:], "tenantId": tenant}}
	}
	if strings.HasSuffix(r.URL.Path, "/userAssignedIdentities") {
		var all []any
		for id := range s.identities {
			all = append(all, show(id))
		}
		answer(w, 200, map[string]any{"value": all})
		return
	}
	if _, ok := s.identities[r.URL.Path]; !ok {
		answer(w, 404, map[string]any{"error": map[string]string{"code": "ResourceNotFound", "message": "it is not there"}})
		return
	}
	answer(w, 200, show(r.URL.Path))
}

func (s *stand) client(now func() time.Time, keep ...time.Duration) *actas.Client {
	return actas.New(actas.Config{HTTP: s.Client(), ActiveDirectory: s.URL, ResourceManager: s.URL,
		TenantID: tenant, SubscriptionID: subscription, ClientID: "me", ClientSecret: "secret", Now: now, Keep: append(keep, 0)[0]})
}

func TestFind(t *testing.T) {
	c := newStand(t).client(nil)
	for reference, want := range map[string]string{
		"orders":                               resourceID("orders"),
		"ORDERS":                               resourceID("orders"),
		"11111111-0000-0000-0000-000000000000": resourceID("orders"),
		resourceID("batch"):                    resourceID("batch"),
	} {
		got, err := c.Find(t.Context(), reference)
		if err != nil || got.ResourceID != want {
			t.Errorf("%s: %v, %v; want %s", reference, got.ResourceID, err, want)
		}
	}
	for reference, want := range map[string]string{
		"batch":                                "2 identities are named",
		"nobody":                               "there is",
		"91111111-0000-0000-0000-000000000000": "is the principal ID of identity orders",
		resourceID("nobody"):                   "it is not there",
		"/subscriptions/" + subscription + "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/v": "not a user-assigned identity",
		"/subscriptions": "subscription is missing",
	} {
		if got, err := c.Find(t.Context(), reference); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", reference, got, err, want)
		}
	}
	if _, err := c.Find(t.Context(), "nobody"); !errors.Is(err, actas.ErrNoSuchIdentity) {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestSelection(t *testing.T) {
	c := newStand(t).client(nil)
	orders, err := c.Find(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Find(t.Context(), resourceID("batch"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		source   *actas.Source
		selector imds.Selector
		want     string
		err      error
	}{
		"the only one":   {c.Source(orders), imds.Selector{}, orders.ClientID, nil},
		"none":           {c.Source(), imds.Selector{}, "", imds.ErrIdentityNotFound},
		"one of several": {c.Source(orders, batch), imds.Selector{}, "", imds.ErrSeveralIdentities},
		"by client":      {c.Source(orders, batch), imds.Selector{Kind: imds.ByClientID, Value: strings.ToUpper(batch.ClientID)}, batch.ClientID, nil},
		"by object":      {c.Source(orders, batch), imds.Selector{Kind: imds.ByObjectID, Value: batch.ObjectID}, batch.ClientID, nil},
		"by resource":    {c.Source(orders, batch), imds.Selector{Kind: imds.ByResourceID, Value: strings.ToLower(batch.ResourceID)}, batch.ClientID, nil},
		"another's":      {c.Source(orders), imds.Selector{Kind: imds.ByClientID, Value: batch.ClientID}, "", imds.ErrIdentityNotFound},
		"object as client": {c.Source(orders), imds.Selector{Kind: imds.ByClientID, Value: orders.ObjectID}, "",
			imds.ErrIdentityNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.source.Token(t.Context(), imds.Request{Selector: test.selector, Resource: "https://r/"})
			if !errors.Is(err, test.err) || got.ClientID != test.want {
				t.Fatalf("%q, %v; want %q, %v", got.ClientID, err, test.want, test.err)
			}
			if err == nil && !strings.HasPrefix(got.AccessToken, test.want+" https://r//.default") {
				t.Errorf("the token is %q", got.AccessToken)
			}
		})
	}
}

// TestKept: by default each request asks anew, so that what has changed shows;
// a source that keeps tokens asks once for what is asked often, and again when
// the time is over, when the token is about to expire, or when a client says
// that it is not good.
func TestKept(t *testing.T) {
	for name, test := range map[string]struct {
		keep time.Duration
		asks []time.Duration // when, after the first
		want int64
	}{
		"not":                   {0, []time.Duration{0, time.Second}, 3},
		"for a while":           {time.Minute, []time.Duration{0, 59 * time.Second, time.Minute, 2*time.Minute - 1}, 2},
		"until the token's end": {24 * time.Hour, []time.Duration{0, 50*time.Minute - 1, 50 * time.Minute, 99 * time.Minute}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			now := began
			stand := newStand(t)
			c := stand.client(func() time.Time { return now }, test.keep)
			source := c.Named("orders")
			ask := func(r imds.Request) imds.Token {
				t.Helper()
				token, err := source.Token(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				return token
			}
			first := ask(imds.Request{Resource: "r"})
			for _, at := range test.asks {
				now = began.Add(at)
				ask(imds.Request{Resource: "r"})
			}
			if got := stand.exchanges.Load(); got != test.want {
				t.Fatalf("%d exchanges, want %d", got, test.want)
			}
			ask(imds.Request{Resource: "other"})
			again := ask(imds.Request{Resource: "r", Refresh: true})
			if got := stand.exchanges.Load(); got != test.want+2 || !again.NotBefore.Equal(now) || !first.NotBefore.Equal(began) {
				t.Fatalf("%d exchanges with another resource and a refresh, the last token from %s", got, again.NotBefore)
			}
		})
	}
}

// TestSingleFlight has many ask at once, one of whom goes away.
func TestSingleFlight(t *testing.T) {
	stand := newStand(t)
	stand.hold = make(chan struct{})
	source := stand.client(nil).Named("orders")
	gone, leave := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := source.Token(gone, imds.Request{Resource: "r"}); !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
	})
	for stand.exchanges.Load() == 0 { // the first one is on its way
		if t.Context().Err() != nil {
			t.Fatal("no exchange")
		}
	}
	leave()
	for range 8 {
		asking.Go(func() {
			if _, err := source.Token(t.Context(), imds.Request{Resource: "r"}); err != nil {
				t.Error(err)
			}
		})
	}
	close(stand.hold)
	asking.Wait()
	if got := stand.exchanges.Load(); got > 2 {
		t.Errorf("%d exchanges", got)
	}
}

// TestNamedFollowsTheName: an identity that comes later, or again with other
// IDs, is found without a restart.
func TestNamedFollowsTheName(t *testing.T) {
	stand := newStand(t)
	source := stand.client(nil).Named("later")
	if _, err := source.Token(t.Context(), imds.Request{Resource: "r"}); !errors.Is(err, imds.ErrIdentityNotFound) {
		t.Fatalf("before: %v", err)
	}
	for _, client := range []string{"44444444-0000-0000-0000-000000000000", "55555555-0000-0000-0000-000000000000"} {
		stand.mu.Lock()
		stand.identities[resourceID("later")] = client
		stand.mu.Unlock()
		got, err := source.Token(t.Context(), imds.Request{Resource: "r " + client})
		if err != nil || got.ClientID != client {
			t.Fatalf("%q, %v; want %q", got.ClientID, err, client)
		}
	}
}

func TestErrors(t *testing.T) {
	stand := newStand(t)
	wrong := actas.New(actas.Config{HTTP: stand.Client(), ActiveDirectory: stand.URL, ResourceManager: stand.URL, TenantID: tenant, ClientSecret: "other"})
	_, err := wrong.Find(t.Context(), "orders")
	if known, ok := errors.AsType[*azure.Error](err); !ok || known.Status != 401 || !strings.Contains(known.Message, "7000215") {
		t.Errorf("a wrong secret: %v", err)
	}
	stand.Close()
	if _, err := stand.client(nil).Find(t.Context(), "orders"); err == nil || !strings.Contains(err.Error(), "lanyard up") {
		t.Errorf("no cloud: %v", err)
	}
}
