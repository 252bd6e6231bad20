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
// path, optimistic locking, lists and watches narrowed by name or label, merge
// patches. A real one needs a cluster, which package tests do not have; what is
// proved here is the webhook's own conduct.
type fakeAPI struct {
	*httptest.Server
	mu       sync.Mutex
	revision int
	version  string // of the cluster
	objects  map[string]map[string]any
	watches  map[chan event]selection
	fail     map[string]int // status with which a path fails
	gets     map[string]int
	writes   map[string]int
}

type event struct {
	Type   string         `json:"type"`
	Object map[string]any `json:"object"`
}

// selection is what a list or a watch asks for.
type selection struct {
	path        string
	name, label string // "" for all; a label as key=value
	metadata    bool   // and no more of the objects
}

func selectionOf(r *http.Request) selection {
	name, _ := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	return selection{r.URL.Path, name, r.URL.Query().Get("labelSelector"), strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata")}
}

// has tells whether an object is asked for: one below the path, or, where that
// names no namespace, one of any namespace.
func (s selection) has(path string, object map[string]any) bool {
	at, resource := s.path[:strings.LastIndex(s.path, "/")], s.path[strings.LastIndex(s.path, "/"):]
	_, inAny, _ := strings.Cut(strings.TrimPrefix(path, at+"/namespaces/"), "/")
	if !strings.HasPrefix(path, s.path+"/") && (!strings.HasPrefix(path, at+"/namespaces/") || !strings.HasPrefix("/"+inAny, resource+"/")) {
		return false
	}
	meta := object["metadata"].(map[string]any)
	if s.name != "" && meta["name"] != s.name {
		return false
	}
	if key, value, ok := strings.Cut(s.label, "="); ok {
		labels, _ := meta["labels"].(map[string]any)
		return labels[key] == value
	}
	return true
}

// of is the form of an object that is asked for.
func (s selection) of(object map[string]any) map[string]any {
	if s.metadata {
		return metadataOf(object)
	}
	return object
}

const (
	accountsPath = "/api/v1/namespaces/ns/serviceaccounts/"
	secretPath   = "/api/v1/namespaces/azwi/secrets/" + secretName
	configPath   = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + configurationName
)

func newFakeAPI(tb testing.TB) *fakeAPI {
	tb.Helper()
	f := &fakeAPI{
		version: "v1.37.2", objects: map[string]map[string]any{}, watches: map[chan event]selection{},
		fail: map[string]int{}, gets: map[string]int{}, writes: map[string]int{},
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

// store keeps an object in its next version. What is kept is not changed again: it
// is written to clients without the lock.
func (f *fakeAPI) store(path string, object map[string]any) map[string]any {
	kind := "MODIFIED"
	if f.objects[path] == nil {
		kind = "ADDED"
	}
	f.revision++
	meta := maps.Clone(object["metadata"].(map[string]any))
	meta["resourceVersion"] = strconv.Itoa(f.revision)
	object = maps.Clone(object)
	object["metadata"] = meta
	f.objects[path] = object
	f.tell(path, event{kind, object})
	return object
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
	for ch, s := range f.watches {
		if s.has(path, e.Object) {
			ch <- event{e.Type, s.of(e.Object)}
		}
	}
}

func (f *fakeAPI) get(path string) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.objects[path])
}

// read counts how often an object was asked for by its path.
func (f *fakeAPI) read(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets[path]
}

// written counts the writes to paths with a prefix.
func (f *fakeAPI) written(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for path, times := range f.writes {
		if strings.HasPrefix(path, prefix) {
			n += times
		}
	}
	return n
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
	case f.document(w, path):
	case r.URL.Query().Get("watch") != "":
		f.watch(w, r)
	case r.Method == http.MethodGet && slices.Contains(lists, path[strings.LastIndex(path, "/")+1:]):
		f.list(w, r)
	default:
		f.object(w, r)
	}
}

// lists are the resources that are listed.
var lists = []string{"serviceaccounts", "secrets", "mutatingwebhookconfigurations", "configmaps", "pods", "nodes"}

// document serves an object of kind "document": one that is no resource.
func (f *fakeAPI) document(w http.ResponseWriter, path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	have := f.objects[path]
	if have == nil || have["kind"] != "document" {
		return false
	}
	answer(w, http.StatusOK, have["document"])
	return true
}

func (f *fakeAPI) selected(s selection) []map[string]any {
	var items []map[string]any
	for _, p := range slices.Sorted(maps.Keys(f.objects)) {
		if o := f.objects[p]; o["kind"] != "document" && s.has(p, o) {
			items = append(items, s.of(o))
		}
	}
	return items
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := selectionOf(r)
	items, meta := f.selected(s), map[string]any{"resourceVersion": strconv.Itoa(f.revision)}
	if r.URL.Query().Get("limit") == "1" && len(items) > 1 {
		meta["remainingItemCount"] = len(items) - 1
		items = items[:1]
	}
	kind := map[string]any{"apiVersion": "v1", "kind": "PodList"}
	if s.metadata {
		kind = map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList"}
	}
	kind["metadata"], kind["items"] = meta, items
	answer(w, http.StatusOK, kind)
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	events := make(chan event, 1000)
	encoder := json.NewEncoder(w)
	s := selectionOf(r)
	f.mu.Lock()
	initial, revision := f.selected(s), f.revision
	f.watches[events] = s
	f.mu.Unlock()
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, o := range initial {
			encoder.Encode(event{"ADDED", o})
		}
		encoder.Encode(event{"BOOKMARK", s.of(map[string]any{
			"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{
				"resourceVersion": strconv.Itoa(revision), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
			}})})
	}
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
		f.writes[path]++
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
	case r.Method == http.MethodPatch && have != nil:
		answer(w, http.StatusOK, f.store(path, merge(have, sent)))
	case r.Method == http.MethodPost && have != nil:
		status(w, http.StatusConflict, "AlreadyExists", path+" exists")
	case r.Method == http.MethodPost:
		if _, in, ok := strings.Cut(path, "/namespaces/"); ok {
			sent["metadata"].(map[string]any)["namespace"], _, _ = strings.Cut(in, "/")
		}
		answer(w, http.StatusCreated, f.store(path, sent))
	case have == nil:
		f.gets[path]++
		status(w, http.StatusNotFound, "NotFound", fmt.Sprintf("serviceaccounts %q not found", path[strings.LastIndex(path, "/")+1:]))
	case sent["metadata"].(map[string]any)["resourceVersion"] != have["metadata"].(map[string]any)["resourceVersion"]:
		status(w, http.StatusConflict, "Conflict", "the object has been modified")
	default:
		answer(w, http.StatusOK, f.store(path, sent))
	}
}

// merge is RFC 7396's, into a copy.
func merge(into, patch map[string]any) map[string]any {
	out := maps.Clone(into)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range patch {
		part, ok := value.(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case ok:
			former, _ := out[key].(map[string]any)
			out[key] = merge(former, part)
		default:
			out[key] = value
		}
	}
	return out
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
