package attach

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// fakeAPI is as much of an API server as this package talks to: objects by their
// path; merge patches, and server-side apply as a merge. A real one is what e2e
// has; what is proved here is the conduct of the client.
type fakeAPI struct {
	*httptest.Server
	mu       sync.Mutex
	revision int
	objects  map[string]map[string]any
	raw      map[string]string                              // documents of the server's own
	refuse   func(r *http.Request) (status int, why string) // 0: not
	requests []string                                       // writes, in their order
	onWrite  func(path string, object map[string]any)       // what controllers would do
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{objects: map[string]map[string]any{}, raw: map[string]string{"/version": `{"gitVersion":"v1.36.3"}`}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// connect gives a client by a kubeconfig, as users have it.
func (f *fakeAPI) connect(t *testing.T) *Cluster {
	t.Helper()
	c, err := Connect(ClusterOptions{Kubeconfig: f.kubeconfig(t), UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fakeAPI) kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["fake"] = &clientcmdapi.Cluster{Server: f.URL}
	config.AuthInfos["me"] = &clientcmdapi.AuthInfo{Token: "t"}
	config.Contexts["first"] = &clientcmdapi.Context{Cluster: "fake", AuthInfo: "me"}
	config.Contexts["second"] = &clientcmdapi.Context{Cluster: "fake", AuthInfo: "me", Namespace: "shop"}
	config.CurrentContext = "first"
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// paths lists what there is.
func (f *fakeAPI) paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.objects))
}

// put writes an object, as someone else in the cluster does.
func (f *fakeAPI) put(path string, object map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(path, object)
}

func (f *fakeAPI) store(path string, object map[string]any) {
	f.revision++
	meta, _ := object["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		object["metadata"] = meta
	}
	if meta["uid"] == nil {
		meta["uid"] = "uid-" + strconv.Itoa(f.revision)
	}
	meta["resourceVersion"] = strconv.Itoa(f.revision)
	if rest, ok := strings.CutPrefix(path, "/api/v1/namespaces/"); ok && strings.Contains(rest, "/") {
		meta["namespace"], _, _ = strings.Cut(rest, "/")
	}
	f.objects[path] = object
}

func (f *fakeAPI) get(path string) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects[path]
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := r.URL.Path
	if f.refuse != nil {
		if status, why := f.refuse(r); status != 0 {
			refusal(w, status, why)
			return
		}
	}
	if r.Method != http.MethodGet && r.URL.Query().Get("dryRun") == "" {
		f.requests = append(f.requests, r.Method+" "+at)
	}
	body, _ := io.ReadAll(r.Body)
	var sent map[string]any
	_ = yaml.Unmarshal(body, &sent)
	have := f.objects[at]
	switch r.Method {
	case http.MethodGet:
		f.read(w, r, have)
	case http.MethodPost:
		at += "/" + sent["metadata"].(map[string]any)["name"].(string)
		if f.objects[at] != nil {
			refusal(w, http.StatusConflict, at+" already exists")
			return
		}
		f.write(w, r, at, sent, http.StatusCreated)
	case http.MethodPatch:
		if have == nil && r.Header.Get("Content-Type") != "application/apply-patch+yaml" {
			refusal(w, http.StatusNotFound, at+" not found")
			return
		}
		f.write(w, r, at, merge(have, sent), http.StatusOK)
	case http.MethodDelete:
		f.remove(w, at, have, sent)
	}
}

// collections are what can be listed.
var collections = []string{
	"namespaces", "networkpolicies", "poddisruptionbudgets", "serviceaccounts", "secrets", "configmaps", "clusterroles",
	"clusterrolebindings", "roles", "rolebindings", "services", "deployments", "mutatingwebhookconfigurations", "pods",
	"persistentvolumeclaims", "statefulsets", "daemonsets", "jobs", "cronjobs",
}

func (f *fakeAPI) read(w http.ResponseWriter, r *http.Request, have map[string]any) {
	if doc, ok := f.raw[r.URL.Path]; ok {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, doc)
		return
	}
	if have != nil {
		answer(w, http.StatusOK, have)
		return
	}
	plural := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil || !slices.Contains(collections, plural) {
		refusal(w, http.StatusNotFound, r.URL.Path+" not found")
		return
	}
	items := []any{}
	base := strings.TrimSuffix(r.URL.Path, plural)
	for _, p := range slices.Sorted(maps.Keys(f.objects)) {
		meta, _ := f.objects[p]["metadata"].(map[string]any)
		set := labels.Set{}
		if l, ok := meta["labels"].(map[string]any); ok {
			for k, v := range l {
				set[k] = fmt.Sprint(v)
			}
		}
		if strings.HasPrefix(p, base) && path.Base(path.Dir(p)) == plural && selector.Matches(set) {
			items = append(items, f.objects[p])
		}
	}
	answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": strconv.Itoa(f.revision)}, "items": items})
}

func (f *fakeAPI) write(w http.ResponseWriter, r *http.Request, path string, object map[string]any, status int) {
	if r.URL.Query().Get("dryRun") != "" {
		answer(w, status, object)
		return
	}
	f.store(path, object)
	if f.onWrite != nil {
		f.onWrite(path, object)
	}
	answer(w, status, object)
}

func (f *fakeAPI) remove(w http.ResponseWriter, path string, have, options map[string]any) {
	if have == nil {
		refusal(w, http.StatusNotFound, path+" not found")
		return
	}
	if p, ok := options["preconditions"].(map[string]any); ok && p["uid"] != have["metadata"].(map[string]any)["uid"] {
		refusal(w, http.StatusConflict, "the UID in the precondition does not match")
		return
	}
	delete(f.objects, path)
	answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Success"})
}

// merge is a JSON merge patch, which shares nothing with what it is made from.
func merge(into, patch map[string]any) map[string]any {
	out := maps.Clone(into)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range patch {
		inner, isMap := v.(map[string]any)
		old, wasMap := out[k].(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case isMap && wasMap:
			out[k] = merge(old, inner)
		default:
			out[k] = v
		}
	}
	return out
}

var reasons = map[int]string{
	http.StatusNotFound: "NotFound", http.StatusConflict: "Conflict", http.StatusForbidden: "Forbidden",
	http.StatusUnauthorized: "Unauthorized", http.StatusInternalServerError: "InternalError",
}

func refusal(w http.ResponseWriter, code int, message string) {
	reason := reasons[code]
	if strings.HasSuffix(message, "already exists") {
		reason = "AlreadyExists"
	}
	answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}
