package controller

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/lanyard-id/lanyard/internal/serving"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

var serviceAccountResource = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

// lookupTimeout bounds the question for a service account that is not known. The
// API server itself waits ten seconds for a webhook.
const lookupTimeout = 5 * time.Second

// maxQuestions is how many such questions may be open. Each has a pod in memory
// that waits for it, and anybody may ask for accounts that there are not.
const maxQuestions = 128

// serviceAccounts remembers what the webhook needs of every service account of
// the cluster, a hundred bytes or so each. It is the store of a client-go
// reflector, which lists and watches metadata only.
type serviceAccounts struct {
	client metadata.Interface
	full   func() // called when all are known
	synced atomic.Bool
	asked  atomic.Pointer[error] // how the API server answers lists and watches; nil: not yet
	asking chan struct{}         // of maxQuestions

	mu    sync.RWMutex
	known map[accountKey]account
}

type accountKey struct{ namespace, name string }

type account struct {
	clientID, tenantID, expiration string
	hasTenantID                    bool
}

func newServiceAccounts(client metadata.Interface, full func()) *serviceAccounts {
	return &serviceAccounts{client: client, full: full, asking: make(chan struct{}, maxQuestions), known: map[accountKey]account{}}
}

// run follows the cluster's service accounts until ctx ends.
func (s *serviceAccounts) run(ctx context.Context) {
	client := listening{s.client.Resource(serviceAccountResource), func(err error) { s.asked.Store(&err) }}
	serving.NewMetadataReflector(client, "", s).RunWithContext(ctx)
}

// listening tells how lists and watches are answered.
type listening struct {
	metadata.ResourceInterface
	answered func(error)
}

// List is the client's.
func (l listening) List(ctx context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	list, err := l.ResourceInterface.List(ctx, o)
	l.answered(err)
	return list, err
}

// Watch is the client's.
func (l listening) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w, err := l.ResourceInterface.Watch(ctx, o)
	l.answered(err)
	return w, err
}

// missing says why service accounts cannot be found. That not all of them are in
// memory yet is no reason: those that are not are asked for.
func (s *serviceAccounts) missing() []string {
	if s.synced.Load() {
		return nil
	}
	switch err := s.asked.Load(); {
	case err == nil:
		return []string{"the service accounts are not known yet"}
	case *err != nil:
		return []string{fmt.Sprintf("the service accounts cannot be read: %v", *err)}
	}
	return nil
}

// get gives a service account. One that is not known yet is asked for at the API
// server: a pod may be created right after its account.
func (s *serviceAccounts) get(ctx context.Context, namespace, name string) (workloadidentity.ServiceAccount, error) {
	s.mu.RLock()
	a, ok := s.known[accountKey{namespace, name}]
	s.mu.RUnlock()
	if ok {
		return workloadidentity.ServiceAccount{
			Namespace: namespace, Name: name, ClientID: a.clientID, TenantID: a.tenantID, HasTenantID: a.hasTenantID, Expiration: a.expiration,
		}, nil
	}
	if !isSegment(namespace) || !isSegment(name) {
		return workloadidentity.ServiceAccount{}, apierrors.NewNotFound(serviceAccountResource.GroupResource(), fmt.Sprintf("%.64s/%.64s", namespace, name))
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	default:
		return workloadidentity.ServiceAccount{}, errTooManyQuestions
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	m, err := s.client.Resource(serviceAccountResource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return workloadidentity.ServiceAccount{}, fmt.Errorf("reading service account %s/%s: %w", namespace, name, err)
	}
	return workloadidentity.ServiceAccountOf(namespace, name, m.Annotations), nil
}

// inNamespace tells whether a namespace is known to be there: each has an account
// that the controller manager makes for pods that name none.
func (s *serviceAccounts) inNamespace(namespace string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.known[accountKey{namespace, workloadidentity.DefaultServiceAccount}]
	return ok
}

// isSegment tells whether an object can have a name. What a pod says has not been
// validated yet, and a name that is a path would lead the question elsewhere.
func isSegment(name string) bool {
	return name != "" && len(name) <= validation.DNS1123SubdomainMaxLength && len(rest.IsValidPathSegmentName(name)) == 0
}

// errTooManyQuestions refuses a pod that would wait for its service account beside
// too many others.
var errTooManyQuestions = &workloadidentity.DenialError{
	Code: http.StatusTooManyRequests, Message: "the webhook asks the API server for too many service accounts that it does not know; try again",
}

func (s *serviceAccounts) put(known map[accountKey]account, obj any) error {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("a service account is a %T", obj)
	}
	sa := workloadidentity.ServiceAccountOf(m.Namespace, m.Name, m.Annotations)
	known[accountKey{m.Namespace, m.Name}] = account{
		clientID: sa.ClientID, tenantID: sa.TenantID, expiration: sa.Expiration, hasTenantID: sa.HasTenantID,
	}
	return nil
}

// Add takes a service account that is new. With the methods after it, it is the
// reflector's side of the store.
func (s *serviceAccounts) Add(obj any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(s.known, obj)
}

// Update is as Add.
func (s *serviceAccounts) Update(obj any) error { return s.Add(obj) }

// Delete forgets a service account.
func (s *serviceAccounts) Delete(obj any) error {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("a service account is a %T", obj)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, accountKey{m.Namespace, m.Name})
	return nil
}

// Replace takes a whole list, after which the store is complete.
func (s *serviceAccounts) Replace(list []any, _ string) error {
	known := make(map[accountKey]account, len(list))
	for _, obj := range list {
		if err := s.put(known, obj); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.known = known
	s.mu.Unlock()
	if !s.synced.Swap(true) {
		go s.full()
	}
	return nil
}

// Resync has nothing to do: nobody else writes the store.
func (s *serviceAccounts) Resync() error { return nil }

// Transformer makes the reflector drop what is not needed as each account
// arrives, before the list is whole.
func (s *serviceAccounts) Transformer() cache.TransformFunc { return slim }

// slim keeps what names a service account and the annotations that are read.
func slim(obj any) (any, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	var kept map[string]string
	for _, key := range []string{workloadidentity.ClientIDAnnotation, workloadidentity.TenantIDAnnotation, workloadidentity.ExpirationAnnotation} {
		if v, ok := m.Annotations[key]; ok {
			if kept == nil {
				kept = make(map[string]string, 1)
			}
			kept[key] = workloadidentity.CutAnnotation(v)
		}
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, ResourceVersion: m.ResourceVersion, Annotations: kept,
	}}, nil
}
