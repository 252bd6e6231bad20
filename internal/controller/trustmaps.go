package controller

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/lanyard-id/lanyard/internal/serving"
	"github.com/lanyard-id/lanyard/internal/trust"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// What marks the webhook's config maps, in every namespace that has pods of it:
// whoever takes the agent out of a cluster finds them by these labels.
const (
	managedByLabel  = "app.kubernetes.io/managed-by"
	managedBy       = "lanyard-agent"
	componentLabel  = "app.kubernetes.io/component"
	trustComponent  = "trust"
	trustAnnotation = "lanyard.dev/trust-digest"
	// trustForm counts changes of the forms that authorities are given in: an agent
	// that makes others writes the config maps of the one before it anew.
	trustForm = "2"
)

var configMapResource = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// trustMaps keep a config map in each namespace that has pods of the webhook's,
// from which they get the cloud's authority in the forms that languages read. It
// is made when the first such pod is admitted, which is why the webhook has a side
// effect, and none on a dry run; and it is changed when the authority changes.
//
// A config map is written at those times alone, not whenever it differs: replicas
// of two releases, or before and after a change of the file, would write against
// each other.
type trustMaps struct {
	client    dynamic.Interface
	metadata  metadata.Interface
	keys      []string // the data that pods may need
	authority *authoritySource
	log       *slog.Logger
	making    singleflight.Group

	mu     sync.RWMutex
	known  map[string]trustMap // by namespace
	synced chan struct{}       // closed when known is complete
	once   sync.Once
}

// trustMap is what is known of a config map.
type trustMap struct {
	own    bool
	digest string
}

func newTrustMaps(client dynamic.Interface, meta metadata.Interface, keys []string, authority *authoritySource, log *slog.Logger) *trustMaps {
	return &trustMaps{
		client: client, metadata: meta, keys: keys, authority: authority, log: log,
		known: map[string]trustMap{}, synced: make(chan struct{}),
	}
}

// ensure makes the config map of a namespace unless it is there.
func (t *trustMaps) ensure(ctx context.Context, namespace string) error {
	t.mu.RLock()
	have, ok := t.known[namespace]
	t.mu.RUnlock()
	if ok {
		return have.usable(namespace)
	}
	// Admissions of one namespace share the making; none of them, when its client
	// goes, ends it for the others.
	result := t.making.DoChan(namespace, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		return nil, t.make(ctx, namespace)
	})
	select {
	case r := <-result:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// usable refuses a config map of someone else's.
func (m trustMap) usable(namespace string) error {
	if m.own {
		return nil
	}
	return &workloadidentity.DenialError{Code: http.StatusConflict, Message: fmt.Sprintf(
		"config map %s/%s is not the webhook's: it lacks the label %s=%s. Delete it, or set the pod's annotation %s to none",
		namespace, workloadidentity.TrustConfigMap, managedByLabel, managedBy, workloadidentity.TrustAnnotation)}
}

// make makes the config map of a namespace, or takes over one that is there.
func (t *trustMaps) make(ctx context.Context, namespace string) error {
	a := t.authority.load()
	object, err := t.object(a)
	if err != nil {
		return err
	}
	object["apiVersion"], object["kind"] = "v1", "ConfigMap"
	object["metadata"].(map[string]any)["name"] = workloadidentity.TrustConfigMap
	configMaps := t.client.Resource(configMapResource).Namespace(namespace)
	_, err = configMaps.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	switch {
	case err == nil:
		t.log.InfoContext(ctx, "the cloud's authority is in the namespace", "namespace", namespace, "configMap", workloadidentity.TrustConfigMap)
		t.note(namespace, trustMap{own: true, digest: t.digest(a)})
		return nil
	case !apierrors.IsAlreadyExists(err):
		return fmt.Errorf("making config map %s/%s: %w", namespace, workloadidentity.TrustConfigMap, err)
	}
	// It is not known, so it is no older than the watch is late.
	m, err := t.metadata.Resource(configMapResource).Namespace(namespace).Get(ctx, workloadidentity.TrustConfigMap, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading config map %s/%s: %w", namespace, workloadidentity.TrustConfigMap, err)
	}
	have := trustMapOf(m)
	t.note(namespace, have)
	return have.usable(namespace)
}

func (t *trustMaps) note(namespace string, m trustMap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[namespace] = m
}

func trustMapOf(m *metav1.PartialObjectMetadata) trustMap {
	return trustMap{own: m.Labels[managedByLabel] == managedBy, digest: m.Annotations[trustAnnotation]}
}

// digest names what the config maps are made from, and how.
func (t *trustMaps) digest(a *authority) string {
	public := trust.PublicRootsDigest()
	sum := sha256.Sum256(slices.Concat(public[:], []byte(trustForm+"\n"+strings.Join(t.keys, "\n")+"\n"), a.pem))
	return hex.EncodeToString(sum[:16])
}

// object is what a config map has of the webhook's, built when it is needed:
// it is large, and needed rarely.
func (t *trustMaps) object(a *authority) (map[string]any, error) {
	data := map[string]any{}
	binary := map[string]any{}
	own, err := trust.Parse(a.pem)
	if err != nil {
		return nil, err
	}
	all := own
	if slices.Contains(t.keys, workloadidentity.TrustKeyBundle) || slices.Contains(t.keys, workloadidentity.TrustKeyJava) {
		roots, err := trust.PublicRoots()
		if err != nil {
			return nil, err
		}
		all = append(roots, own...)
	}
	for _, key := range t.keys {
		switch key {
		case workloadidentity.TrustKeyCA:
			data[key] = string(a.pem)
		case workloadidentity.TrustKeyBundle:
			data[key] = string(trust.EncodePEM(all))
		case workloadidentity.TrustKeyJava:
			store, err := trust.JavaStore(all)
			if err != nil {
				return nil, err
			}
			binary[key] = base64.StdEncoding.EncodeToString(store)
		}
	}
	return map[string]any{
		"metadata": map[string]any{
			"labels":      map[string]any{managedByLabel: managedBy, componentLabel: trustComponent},
			"annotations": map[string]any{trustAnnotation: t.digest(a)},
		},
		"data": data, "binaryData": binary,
	}, nil
}

// run follows the config maps of all namespaces until ctx ends, and writes those
// that are not of the authority in force.
func (t *trustMaps) run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	reflector := serving.NewMetadataReflector(t.metadata.Resource(configMapResource), workloadidentity.TrustConfigMap, t)
	watching.Go(func() { reflector.RunWithContext(ctx) })
	select {
	case <-t.synced:
	case <-ctx.Done():
		return
	}
	retry := time.Second
	for {
		a := t.authority.load()
		var again <-chan time.Time
		if err := t.renew(ctx, a); err != nil && ctx.Err() == nil {
			t.log.ErrorContext(ctx, "the cloud's authority is not up to date in every namespace", "error", err)
			again, retry = time.After(retry), min(2*retry, time.Minute)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.changed:
			retry = time.Second
		case <-again:
		}
	}
}

// renew writes the config maps that are made from something else.
func (t *trustMaps) renew(ctx context.Context, a *authority) error {
	digest := t.digest(a)
	t.mu.RLock()
	var stale []string
	for namespace, m := range t.known {
		if m.own && m.digest != digest {
			stale = append(stale, namespace)
		}
	}
	t.mu.RUnlock()
	if len(stale) == 0 {
		return nil
	}
	object, err := t.object(a)
	if err != nil {
		return err
	}
	for _, part := range []string{"data", "binaryData"} { // what is no longer needed goes
		for _, key := range []string{workloadidentity.TrustKeyCA, workloadidentity.TrustKeyBundle, workloadidentity.TrustKeyJava} {
			if values := object[part].(map[string]any); values[key] == nil {
				values[key] = nil
			}
		}
	}
	patch, err := json.Marshal(object)
	if err != nil {
		return err
	}
	slices.Sort(stale)
	var failed []error
	for _, namespace := range stale {
		_, err := t.client.Resource(configMapResource).Namespace(namespace).Patch(ctx, workloadidentity.TrustConfigMap,
			types.MergePatchType, patch, metav1.PatchOptions{})
		switch {
		case err == nil:
			t.note(namespace, trustMap{own: true, digest: digest})
		case !apierrors.IsNotFound(err):
			failed = append(failed, fmt.Errorf("writing config map %s/%s: %w", namespace, workloadidentity.TrustConfigMap, err))
		}
	}
	t.log.InfoContext(ctx, "the cloud's authority was brought up to date", "namespaces", len(stale), "failed", len(failed))
	return errors.Join(failed...)
}

// Add takes a config map that is new. With the methods after it, it is the
// reflector's side of the store.
func (t *trustMaps) Add(obj any) error {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("a config map is a %T", obj)
	}
	t.note(m.Namespace, trustMapOf(m))
	return nil
}

// Update is as Add.
func (t *trustMaps) Update(obj any) error { return t.Add(obj) }

// Delete forgets a config map: the next pod of its namespace has it made anew.
func (t *trustMaps) Delete(obj any) error {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("a config map is a %T", obj)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, m.Namespace)
	return nil
}

// Replace takes the whole list.
func (t *trustMaps) Replace(list []any, _ string) error {
	known := make(map[string]trustMap, len(list))
	for _, obj := range list {
		m, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return fmt.Errorf("a config map is a %T", obj)
		}
		known[m.Namespace] = trustMapOf(m)
	}
	t.mu.Lock()
	t.known = known
	t.mu.Unlock()
	t.once.Do(func() { close(t.synced) })
	return nil
}

// Resync has nothing to do.
func (t *trustMaps) Resync() error { return nil }
