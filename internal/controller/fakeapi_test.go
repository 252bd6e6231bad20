package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// fakeAPI is as much of an API server as the webhook talks to: objects by their
// path, optimistic locking, lists and watches. A real one needs a cluster, which
// package tests do not have; what is proved here is the webhook's own conduct.
type fakeAPI struct {
	*httptest.Server
	mu       sync.Mutex
	revision int
	version  string // of the cluster
	objects  map[string]map[string]any
	watches  map[chan event]string // prefix of the paths that each watches
	fail     map[string]int        // status with which a path fails
	gets     map[string]int
	writes   int
}

type event struct {
	Type   string         `json:"type"`
	Object map[string]any `json:"object"`
}

const (
	accountsPath = "/api/v1/namespaces/ns/serviceaccounts/"
	secretPath   = "/api/v1/namespaces/azwi/secrets/" + secretName
	configPath   = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + configurationName
)

func newFakeAPI(tb testing.TB) *fakeAPI {
	tb.Helper()
	f := &fakeAPI{
		version: "v1.37.2", objects: map[string]map[string]any{}, watches: map[chan event]string{},
		fail: map[string]int{}, gets: map[string]int{},
	}
	f.Server = httptest.NewServer(f)
	tb.Cleanup(f.CloseClientConnections)
	tb.Cleanup(f.Close)
	return f
}

func (f *fakeAPI) config() *rest.Config { return &rest.Config{Host: f.URL} }

// put writes an object, as someone else in the cluster does.
func (f *fakeAPI) put(path string, object map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(path, object)
}

func (f *fakeAPI) store(path string, object map[string]any) {
	kind := "MODIFIED"
	if f.objects[path] == nil {
		kind = "ADDED"
	}
	f.revision++
	object["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(f.revision)
	f.objects[path] = object
	f.tell(path, event{kind, object})
}

func (f *fakeAPI) remove(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	object := f.objects[path]
	delete(f.objects, path)
	f.revision++
	f.tell(path, event{"DELETED", object})
}

func (f *fakeAPI) tell(path string, e event) {
	e.Object = metadataOf(e.Object)
	for ch, prefix := range f.watches {
		if strings.HasPrefix(path, prefix) || (prefix == "/api/v1/serviceaccounts/" && strings.Contains(path, "/serviceaccounts/")) {
			ch <- e
		}
	}
}

func (f *fakeAPI) get(path string) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.objects[path])
}

func metadataOf(object map[string]any) map[string]any {
	return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]}
}

func (f *fakeAPI) setFail(path string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[path] = status
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	f.mu.Lock()
	failing := f.fail[path]
	f.mu.Unlock()
	switch {
	case failing != 0:
		status(w, failing, "InternalError", "out of order")
	case path == "/version":
		f.mu.Lock()
		defer f.mu.Unlock()
		fmt.Fprintf(w, `{"gitVersion":%q}`, f.version)
	case r.URL.Query().Get("watch") != "":
		f.watch(w, r)
	case r.Method == http.MethodGet && slices.Contains([]string{"/api/v1/serviceaccounts", "/api/v1/namespaces/azwi/secrets", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"}, path):
		f.list(w, path)
	default:
		f.object(w, r)
	}
}

func (f *fakeAPI) under(path string) []map[string]any {
	var items []map[string]any
	for _, p := range slices.Sorted(maps.Keys(f.objects)) {
		if strings.HasPrefix(p, path+"/") || (path == "/api/v1/serviceaccounts" && strings.Contains(p, "/serviceaccounts/")) {
			items = append(items, metadataOf(f.objects[p]))
		}
	}
	return items
}

func (f *fakeAPI) list(w http.ResponseWriter, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(f.revision)}, "items": f.under(path),
	})
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	w.Header().Set("Content-Type", "application/json")
	events := make(chan event, 1000)
	encoder := json.NewEncoder(w)
	f.mu.Lock()
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, o := range f.under(path) {
			encoder.Encode(event{"ADDED", o})
		}
		encoder.Encode(event{"BOOKMARK", map[string]any{
			"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": map[string]any{
				"resourceVersion": strconv.Itoa(f.revision), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
			}}})
	}
	f.watches[events] = path + "/"
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.watches, events)
		f.mu.Unlock()
	}()
	w.(http.Flusher).Flush()
	for {
		select {
		case e := <-events:
			encoder.Encode(e)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// object serves one object: get, create, and updates that name the version that
// they are based on.
func (f *fakeAPI) object(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := r.URL.Path
	var sent map[string]any
	if r.Method != http.MethodGet {
		f.writes++
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			status(w, http.StatusBadRequest, "BadRequest", err.Error())
			return
		}
		if r.Method == http.MethodPost {
			path += "/" + sent["metadata"].(map[string]any)["name"].(string)
		}
	}
	have := f.objects[path]
	switch {
	case r.Method == http.MethodGet && have != nil:
		f.gets[path]++
		if strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata") {
			have = metadataOf(have)
		}
		answer(w, http.StatusOK, have)
	case r.Method == http.MethodPost && have != nil:
		status(w, http.StatusConflict, "AlreadyExists", path+" exists")
	case r.Method == http.MethodPost:
		f.store(path, sent)
		answer(w, http.StatusCreated, sent)
	case have == nil:
		f.gets[path]++
		status(w, http.StatusNotFound, "NotFound", fmt.Sprintf("serviceaccounts %q not found", path[strings.LastIndex(path, "/")+1:]))
	case sent["metadata"].(map[string]any)["resourceVersion"] != have["metadata"].(map[string]any)["resourceVersion"]:
		status(w, http.StatusConflict, "Conflict", "the object has been modified")
	default:
		f.store(path, sent)
		answer(w, http.StatusOK, sent)
	}
}

func status(w http.ResponseWriter, code int, reason, message string) {
	answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

// serviceAccount makes a service account with annotations.
func serviceAccount(name string, annotations map[string]any) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{
		"namespace": "ns", "name": name, "annotations": annotations,
		"labels": map[string]any{"a": "b"}, "managedFields": []any{map[string]any{"manager": "kubectl", "fieldsV1": map[string]any{"f:metadata": map[string]any{}}}},
	}}
}

func configuration() map[string]any {
	hook := func(name string) map[string]any {
		return map[string]any{"name": name, "fromTheFuture": true, "clientConfig": map[string]any{"service": map[string]any{"name": serviceName, "namespace": "azwi"}}}
	}
	return map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
		"metadata": map[string]any{"name": configurationName}, "webhooks": []any{hook("mutation.azure-workload-identity.io"), hook("second")},
	}
}
