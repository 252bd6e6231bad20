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

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
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

// guest is the principal of another tenant who is its Owner, at its own root.
const guest = "33333333-3333-3333-3333-333333333339"

func (w *world) addGuest() {
	w.TB.Helper()
	w.Tenant(directory.Tenant{ID: cloudtest.OtherTenantID, DisplayName: "Guest", DefaultDomain: "guest.test"})
	w.Call(guest, directory.Principal{TenantID: cloudtest.OtherTenantID, Type: azure.ServicePrincipal, ObjectID: guest, AppID: guest})
	w.Assign(guest, azure.RoleOwner, azure.Root())
}

// newCloudWorld is a world with switches, whose operator is the test's tenant.
func newCloudWorld(t *testing.T) (*world, *int) {
	t.Helper()
	removed := new(int)
	w := newWorld(t)
	w.restart(func() {
		w.types = append(w.types, switches(removed, &sync.Mutex{}))
		w.set = func(c *Config) { c.OperatorTenant = tenantID }
	})
	w.Assign(ownerID, azure.RoleOwner, azure.Root())
	return w, removed
}

// What is of the whole cloud is the operator's tenant's alone; an Owner of
// another tenant can do nothing with it, and the audit log says why.
func TestCloudWide(t *testing.T) {
	w, _ := newCloudWorld(t)
	list := w.want(http.StatusOK, http.MethodGet, "/providers/Test.Cloud/switches"+version, "")
	if got := list.Body; !strings.Contains(got, tenantID) {
		t.Errorf("the tenant of the scope: %s", got)
	}
	w.addGuest()
	for _, request := range [][2]string{
		{http.MethodGet, "/providers/Test.Cloud/switches"},
		{http.MethodGet, "/providers/Test.Cloud/switches/one"},
		{http.MethodPut, "/providers/Test.Cloud/switches/one"},
		{http.MethodDelete, "/providers/Test.Cloud/switches/one"},
	} {
		if got := w.do(guest, request[0], request[1]+version, "{}"); got.Status != http.StatusForbidden || got.ErrorCode() != "AuthorizationFailed" {
			t.Errorf("%s %s by another tenant's Owner: %d %s", request[0], request[1], got.Status, got.Body)
		}
	}
	// Nor those of the tenant without the right, or with one under a condition.
	w.Assign(readerID, azure.RoleContributor, azure.Root())
	w.want(http.StatusOK, http.MethodPut, "/providers/Test.Cloud/switches/one"+version, "{}")
	if got := w.do(readerID, http.MethodPut, "/providers/Test.Cloud/switches/one"+version, "{}"); got.Status != http.StatusForbidden {
		t.Errorf("a Contributor writes: %d %s", got.Status, got.Body)
	}
	w.AssignIf(nobodyID, azure.RoleOwner, azure.Root(), "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})))")
	if got := w.do(nobodyID, http.MethodPut, "/providers/Test.Cloud/switches/one"+version, "{}"); got.Status != http.StatusForbidden {
		t.Errorf("an Owner under a condition writes: %d %s", got.Status, got.Body)
	}

	_, err := New(Config{Types: []Type{switches(new(int), nil)}, Store: w.Store, Directory: w.Directory, Guard: w.Guard, Verifier: w.engine.cfg.Verifier})
	if err == nil || !strings.Contains(err.Error(), "OperatorTenant") {
		t.Errorf("an engine without the operator's tenant: %v", err)
	}
}

// A token of a tenant that has ended opens nothing.
func TestEndedTenant(t *testing.T) {
	w, _ := newCloudWorld(t)
	w.addGuest()
	const url = "/providers/Microsoft.Nothing/locations/global/operations/x" + version
	if got := w.do(guest, http.MethodGet, url, ""); got.Status != http.StatusNotFound {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}
	w.Update(func(tx *store.Tx) error { return w.Directory.EndTenant(tx, cloudtest.OtherTenantID) })
	if got := w.do(guest, http.MethodGet, url, ""); got.Status != http.StatusUnauthorized || got.ErrorCode() != "InvalidAuthenticationTokenTenant" {
		t.Errorf("after: %d %s", got.Status, got.Body)
	}
}

func TestVirtualAsyncDelete(t *testing.T) {
	w, removed := newCloudWorld(t)
	w.want(http.StatusNoContent, http.MethodDelete, "/providers/Test.Cloud/switches/absent"+version, "")
	if got := w.owner(http.MethodDelete, "/providers/Test.Cloud/switches/stuck"+version, ""); got.ErrorCode() != "Stuck" {
		t.Errorf("refused with %s", got.Body)
	}
	accepted := w.want(http.StatusAccepted, http.MethodDelete, "/providers/Test.Cloud/switches/one"+version, "")
	if got := w.poll(accepted.Header.Get("Location")); got.Status != http.StatusNoContent || *removed != 3 {
		t.Errorf("ended with %d after %d steps: %s", got.Status, *removed, got.Body)
	}
	status := w.want(http.StatusOK, http.MethodGet, accepted.Header.Get("Azure-AsyncOperation"), "")
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
		w.Update(func(tx *store.Tx) error { return w.Directory.SetSubscriptionState(tx, subID, state) })
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
			if got.Status != http.StatusConflict || got.ErrorCode() != "ReadOnlyDisabledSubscription" {
				t.Errorf("%s: %s %s: %d %s", disabled, request[0], request[1], got.Status, got.Body)
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
		w.Update(func(tx *store.Tx) error { return w.Directory.SetSubscriptionState(tx, subID, directory.Enabled) })
		written := make(chan answer, 1)
		go func() { written <- w.owner(http.MethodPut, thingPath("rg", "one")+version, small) }()
		w.Update(func(tx *store.Tx) error { return w.Directory.SetSubscriptionState(tx, subID, directory.Disabled) })
		page, err := w.Store.List(t.Context(), Key(tenantID, azure.ResourceGroupScope(subID, "rg"))+"/", store.ListOptions{})
		cloudtest.Must(t, err)
		seen := len(page.Entries) > 0
		if got := <-written; (got.Status == http.StatusCreated) != seen {
			t.Errorf("the write: %d, seen by the end: %v", got.Status, seen)
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
		cloudtest.Must(t, err)
		req.Header.Set("Authorization", "Bearer "+w.Token(ownerID))
		resp, err := srv.Client().Do(req)
		cloudtest.Must(t, err)
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
	if !strings.Contains(w.Log.String(), errTorn.Error()) {
		t.Error("the log doesn't say why")
	}
}
