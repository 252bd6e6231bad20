package arm

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

const (
	guestTenantID = "11111111-1111-1111-1111-999999999999"
	guestID       = "33333333-3333-3333-3333-333333333339"
)

// switches is a type of the whole cloud, whose deletion takes three steps.
func switches(removed *int, mu *sync.Mutex) Type {
	ok := func(context.Context, *Request, json.RawMessage) (int, any, error) {
		return http.StatusOK, map[string]string{"id": "/x"}, nil
	}
	return Virtual(Spec{Name: "Test.Cloud/switches", Versions: []string{"2021-04-01"}, In: AtTenant, Core: true, CloudWide: true}, VirtualHooks{
		List: func(_ context.Context, r *Request) ([]any, error) {
			return []any{map[string]string{"tenant": r.TenantID}}, nil
		},
		Get: func(context.Context, *Request) (any, error) { return map[string]string{"id": "/x"}, nil },
		Put: ok,
		Delete: func(_ context.Context, r *Request) (int, any, error) {
			switch r.Name {
			case "absent":
				return http.StatusNoContent, nil, nil
			case "stuck":
				return 0, nil, azure.Errorf(http.StatusConflict, "Stuck", "It does not come off.")
			}
			return http.StatusAccepted, nil, nil
		},
		AsyncDelete: func(_ context.Context, step *Step) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			*removed++
			return *removed == 3, nil
		},
		Action: func(_ *Request, operation string) string { return "Microsoft.Authorization/switches/" + operation },
	})
}

// guest gives a principal of another tenant Owner at its own root, and a token.
func (w *world) guest() string {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		return w.entra.CreateTenant(tx, directory.Tenant{ID: guestTenantID, DisplayName: "Guest", DefaultDomain: "guest.test"})
	})
	w.update(func(tx *store.Tx) error {
		_, _, err := w.guard.PutAssignment(tx, rbac.Assignment{
			Name: "00000000-0000-4000-8000-000000000001", TenantID: guestTenantID, Scope: azure.Root(), RoleDefinitionID: azure.RoleOwner,
			PrincipalID: guestID, PrincipalType: azure.ServicePrincipal,
		})
		return err
	})
	at := w.clock()
	raw, err := w.keys.Mint(token.Claims{
		Audience: testCloud.ResourceManager(), Issuer: testCloud.IssuerV1(guestTenantID), Version: token.Version1, TenantID: guestTenantID,
		IssuedAt: at.Unix(), Expiry: at.Add(time.Hour).Unix(), ObjectID: guestID, AppID: guestID, AppIDACR: token.ACRSecret, IDType: token.IDTypeApp,
	})
	must(w.t, err)
	return raw
}

func (w *world) as(bearer, method, url, body string) answer {
	w.t.Helper()
	req := httptest.NewRequestWithContext(context.Background(), method, testCloud.ResourceManager()+url, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+bearer)
	return w.serve(req)
}

// newCloudWorld is a world with switches, whose operator is the test's tenant.
func newCloudWorld(t *testing.T) (*world, *int) {
	t.Helper()
	removed := new(int)
	w := newWorld(t)
	w.close()
	w.types = append(w.types, switches(removed, &sync.Mutex{}))
	w.set = func(c *Config) { c.OperatorTenant = tenantID }
	w.open()
	w.grant(ownerID, azure.RoleOwner, azure.Root())
	return w, removed
}

// What is of the whole cloud is the operator's tenant's alone; an Owner of
// another tenant can do nothing with it, and the audit log says why.
func TestCloudWide(t *testing.T) {
	w, _ := newCloudWorld(t)
	list := w.want(http.StatusOK, http.MethodGet, "/providers/Test.Cloud/switches"+version, "")
	if got := list.Body.String(); !strings.Contains(got, tenantID) {
		t.Errorf("the tenant of the scope: %s", got)
	}
	guest := w.guest()
	for _, request := range [][2]string{
		{http.MethodGet, "/providers/Test.Cloud/switches"},
		{http.MethodGet, "/providers/Test.Cloud/switches/one"},
		{http.MethodPut, "/providers/Test.Cloud/switches/one"},
		{http.MethodDelete, "/providers/Test.Cloud/switches/one"},
	} {
		if got := w.as(guest, request[0], request[1]+version, "{}"); got.Code != http.StatusForbidden || got.code() != "AuthorizationFailed" {
			t.Errorf("%s %s by another tenant's Owner: %d %s", request[0], request[1], got.Code, got.Body)
		}
	}
	// Nor those of the tenant without the right, or with one under a condition.
	w.grant(readerID, azure.RoleContributor, azure.Root())
	w.want(http.StatusOK, http.MethodPut, "/providers/Test.Cloud/switches/one"+version, "{}")
	if got := w.do(readerID, http.MethodPut, "/providers/Test.Cloud/switches/one"+version, "{}"); got.Code != http.StatusForbidden {
		t.Errorf("a Contributor writes: %d %s", got.Code, got.Body)
	}
	w.update(func(tx *store.Tx) error {
		_, _, err := w.guard.PutAssignment(tx, rbac.Assignment{
			Name: "00000000-0000-4000-8000-000000000002", TenantID: tenantID, Scope: azure.Root(), RoleDefinitionID: azure.RoleOwner,
			PrincipalID: nobodyID, PrincipalType: azure.ServicePrincipal, ConditionVersion: "2.0",
			Condition: "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})))",
		})
		return err
	})
	if got := w.do(nobodyID, http.MethodPut, "/providers/Test.Cloud/switches/one"+version, "{}"); got.Code != http.StatusForbidden {
		t.Errorf("an Owner under a condition writes: %d %s", got.Code, got.Body)
	}

	_, err := New(Config{Types: []Type{switches(new(int), nil)}, Store: w.store, Directory: w.entra, Guard: w.guard, Verifier: w.engine.cfg.Verifier})
	if err == nil || !strings.Contains(err.Error(), "OperatorTenant") {
		t.Errorf("an engine without the operator's tenant: %v", err)
	}
}

// A token of a tenant that has ended opens nothing.
func TestEndedTenant(t *testing.T) {
	w, _ := newCloudWorld(t)
	guest := w.guest()
	const url = "/providers/Microsoft.Nothing/locations/global/operations/x" + version
	if got := w.as(guest, http.MethodGet, url, ""); got.Code != http.StatusNotFound {
		t.Fatalf("before: %d %s", got.Code, got.Body)
	}
	w.update(func(tx *store.Tx) error { return w.entra.EndTenant(tx, guestTenantID) })
	if got := w.as(guest, http.MethodGet, url, ""); got.Code != http.StatusUnauthorized || got.code() != "InvalidAuthenticationTokenTenant" {
		t.Errorf("after: %d %s", got.Code, got.Body)
	}
}

func TestVirtualAsyncDelete(t *testing.T) {
	w, removed := newCloudWorld(t)
	w.want(http.StatusNoContent, http.MethodDelete, "/providers/Test.Cloud/switches/absent"+version, "")
	if got := w.owner(http.MethodDelete, "/providers/Test.Cloud/switches/stuck"+version, ""); got.code() != "Stuck" {
		t.Errorf("refused with %s", got.Body)
	}
	accepted := w.want(http.StatusAccepted, http.MethodDelete, "/providers/Test.Cloud/switches/one"+version, "")
	if got := w.poll(accepted.Header().Get("Location")); got.Code != http.StatusNoContent || *removed != 3 {
		t.Errorf("ended with %d after %d steps: %s", got.Code, *removed, got.Body)
	}
	status := w.want(http.StatusOK, http.MethodGet, accepted.Header().Get("Azure-AsyncOperation"), "")
	if status.doc["status"] != "Succeeded" {
		t.Errorf("status %s", status.Body)
	}
}

// In a subscription that is not enabled nothing is written, and everything can
// be read and deleted.
func TestDisabledSubscription(t *testing.T) {
	s := &slow{}
	w := newWorld(t, append(s.types(), thingType(), Virtual(
		Spec{Name: "Test.Things/marks", Versions: []string{"2021-04-01"}, In: AtSubscription}, VirtualHooks{
			Put: func(context.Context, *Request, json.RawMessage) (int, any, error) { return http.StatusOK, nil, nil },
			Actions: map[string]VirtualAction{
				"sweep": {Removes: true, Writes: true, Run: func(context.Context, *Request, json.RawMessage) (int, any, error) {
					return http.StatusOK, nil, nil
				}},
				"set": {Writes: true, Run: func(context.Context, *Request, json.RawMessage) (int, any, error) {
					return http.StatusOK, nil, nil
				}},
			},
		}))...)
	w.group("rg")
	w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "one")+version, small)
	state := func(state string) {
		w.update(func(tx *store.Tx) error { return w.entra.SetSubscriptionState(tx, subID, state) })
	}
	const mark = "/subscriptions/" + subID + "/providers/Test.Things/marks/one"
	for _, disabled := range []string{directory.Disabled, directory.Warned, "PastDue", "Deleted"} {
		state(disabled)
		for _, request := range [][3]string{
			{http.MethodPut, thingPath("rg", "two"), small},
			{http.MethodPut, thingPath("rg", "one"), small},
			{http.MethodPatch, thingPath("rg", "one"), `{"tags":{"a":"b"}}`},
			{http.MethodPut, groupPath("rg2"), `{"location":"westeurope"}`},
			{http.MethodPut, mark, "{}"},
			{http.MethodPost, mark + "/set", ""},
		} {
			got := w.owner(request[0], request[1]+version, request[2])
			if got.Code != http.StatusConflict || got.code() != "ReadOnlyDisabledSubscription" {
				t.Errorf("%s: %s %s: %d %s", disabled, request[0], request[1], got.Code, got.Body)
			}
		}
		w.want(http.StatusOK, http.MethodGet, thingPath("rg", "one")+version, "")
		w.want(http.StatusOK, http.MethodPost, mark+"/sweep"+version, "")
	}
	w.want(http.StatusOK, http.MethodDelete, thingPath("rg", "one")+version, "")
	state(directory.Enabled)
	w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "one")+version, small)
}

// A write and the disabling of its subscription that race are in some order:
// what is written at all is there to be seen once the subscription is disabled.
func TestWriteAgainstDisabling(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	for range 20 {
		w.update(func(tx *store.Tx) error { return w.entra.SetSubscriptionState(tx, subID, directory.Enabled) })
		written := make(chan answer, 1)
		go func() { written <- w.owner(http.MethodPut, thingPath("rg", "one")+version, small) }()
		w.update(func(tx *store.Tx) error { return w.entra.SetSubscriptionState(tx, subID, directory.Disabled) })
		page, err := w.store.List(t.Context(), Key(tenantID, azure.ResourceGroupScope(subID, "rg"))+"/", store.ListOptions{})
		must(t, err)
		seen := len(page.Entries) > 0
		if got := <-written; (got.Code == http.StatusCreated) != seen {
			t.Errorf("the write: %d, seen by the end: %v", got.Code, seen)
		}
		w.owner(http.MethodDelete, thingPath("rg", "one")+version, "")
	}
}

var errTorn = errors.New("the source tore")

// A stream is as long as it likes; one that fails is an error, or a cut
// connection once the answer has begun.
func TestStream(t *testing.T) {
	write := func(context.Context, io.Writer) error { return nil }
	w := newWorld(t, Virtual(Spec{Name: "Test.Things/exports", Versions: []string{"2021-04-01"}, In: AtSubscription}, VirtualHooks{
		Post: func(context.Context, *Request, json.RawMessage) (int, any, error) {
			return http.StatusOK, &Stream{ContentType: "application/octet-stream", Write: func(ctx context.Context, to io.Writer) error { return write(ctx, to) }}, nil
		},
	}))
	srv := httptest.NewServer(w.engine)
	defer srv.Close()
	post := func() (*http.Response, string, error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/subscriptions/"+subID+"/providers/Test.Things/exports"+version, nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+w.bearer(ownerID))
		resp, err := srv.Client().Do(req)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, string(body), err
	}
	if resp, body, err := post(); err != nil || resp.StatusCode != http.StatusOK || body != "" {
		t.Errorf("nothing: %d %q %v", resp.StatusCode, body, err)
	}
	const piece = "0123456789"
	write = func(_ context.Context, to io.Writer) error {
		for range 100_000 {
			if _, err := io.WriteString(to, piece); err != nil {
				return err
			}
		}
		return nil
	}
	if resp, body, err := post(); err != nil || len(body) != 1_000_000 || resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("a megabyte: %d bytes, %v", len(body), err)
	}
	write = func(context.Context, io.Writer) error { return errTorn }
	if resp, body, err := post(); err != nil || resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "InternalServerError") {
		t.Errorf("an error at once: %d %q %v", resp.StatusCode, body, err)
	}
	write = func(_ context.Context, to io.Writer) error {
		_, err := io.WriteString(to, strings.Repeat(piece, 1000))
		return errors.Join(err, errTorn)
	}
	if _, body, err := post(); err == nil {
		t.Errorf("a torn stream was taken for a whole of %d bytes", len(body))
	}
	if !strings.Contains(w.logs.String(), errTorn.Error()) {
		t.Error("the log doesn't say why")
	}
}
