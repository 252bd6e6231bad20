package controller

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
)

// Upstream's names of what the webhook owns in a cluster.
const (
	secretName        = "azure-wi-webhook-server-cert" //nolint:gosec // a name
	serviceName       = "azure-wi-webhook-webhook-service"
	configurationName = "azure-wi-webhook-mutating-webhook-configuration"
)

var (
	secretResource        = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	configurationResource = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}
)

// certKeeper keeps the serving certificate in a Secret that all replicas share,
// and its authority in the webhook configuration. It serves from the Secret
// itself, not from a volume, which would lag it by a minute. Every replica runs
// it: each write is conditional on what was read, so that the first one wins and
// the others take over its result.
type certKeeper struct {
	client    dynamic.Interface
	metadata  metadata.Interface
	namespace string
	now       func() time.Time
	log       *slog.Logger

	serving atomic.Pointer[tls.Certificate]
	trusted atomic.Bool // the API server was told of the authority
	changed chan struct{}
}

func newCertKeeper(client dynamic.Interface, meta metadata.Interface, namespace string, now func() time.Time, log *slog.Logger) *certKeeper {
	return &certKeeper{
		client: client, metadata: meta, namespace: namespace, now: now, log: log,
		changed: make(chan struct{}, 1),
	}
}

func (k *certKeeper) dnsName() string { return serviceName + "." + k.namespace + ".svc" }

// getCertificate is tls.Config's.
func (k *certKeeper) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.serving.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no serving certificate yet")
}

// checkEvery is how often certificates are looked at when nothing happens.
const checkEvery = 10 * time.Minute

// run keeps certificates until ctx ends: at each change of the Secret or of the
// configuration, now and then, and again soon after a failure.
func (k *certKeeper) run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, r := range []struct {
		client metadata.ResourceInterface
		name   string
	}{
		{k.metadata.Resource(secretResource).Namespace(k.namespace), secretName},
		{k.metadata.Resource(configurationResource), configurationName},
	} {
		reflector := newMetadataReflector(r.client, r.name, poke{k.changed})
		watches.Go(func() { reflector.RunWithContext(ctx) })
	}
	retry := 100 * time.Millisecond
	for {
		wait := checkEvery
		if err := k.reconcile(ctx); err != nil && ctx.Err() == nil {
			k.log.ErrorContext(ctx, "the serving certificate is not in order", "error", err)
			wait, retry = retry, min(2*retry, 30*time.Second)
		} else {
			retry = 100 * time.Millisecond
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-k.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// reconcile brings Secret, configuration and server to what is due. The API
// server learns of an authority before anything it signed is served.
func (k *certKeeper) reconcile(ctx context.Context) error {
	have, err := k.keepSecret(ctx)
	if err != nil {
		return err
	}
	if err := k.inject(ctx, have.bundle()); err != nil {
		return err
	}
	k.trusted.Store(true)
	return k.serve(have)
}

func (k *certKeeper) serve(have certificates) error {
	pair, err := have.serving()
	if err != nil {
		return err
	}
	if old := k.serving.Load(); old == nil || !bytes.Equal(old.Leaf.Raw, pair.Leaf.Raw) {
		k.serving.Store(pair)
		k.log.Info("serving certificate", "notAfter", pair.Leaf.NotAfter)
	}
	return nil
}

// keepSecret gives the Secret's content, after writing what is due.
func (k *certKeeper) keepSecret(ctx context.Context) (certificates, error) {
	secrets := k.client.Resource(secretResource).Namespace(k.namespace)
	for {
		secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
		exists := err == nil
		if apierrors.IsNotFound(err) {
			secret = &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
				"metadata": map[string]any{"name": secretName, "namespace": k.namespace},
			}}
		} else if err != nil {
			return nil, fmt.Errorf("reading secret %s/%s: %w", k.namespace, secretName, err)
		}
		want, changed, err := secretData(secret).next(k.dnsName(), k.now())
		if err != nil || !changed {
			return want, err
		}
		data := make(map[string]any, len(want))
		for key, value := range want {
			data[key] = base64.StdEncoding.EncodeToString(value)
		}
		secret.Object["data"] = data
		if exists {
			_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		} else {
			_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
		}
		switch {
		case err == nil:
			return want, nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			// Another replica was first: take what it wrote.
		default:
			return nil, fmt.Errorf("writing secret %s/%s: %w", k.namespace, secretName, err)
		}
	}
}

// secretData reads a Secret's data. What is not base64 counts as missing, and is
// made anew.
func secretData(secret *unstructured.Unstructured) certificates {
	data, _, err := unstructured.NestedStringMap(secret.Object, "data")
	if err != nil {
		return certificates{}
	}
	have := certificates{}
	for key, value := range data {
		if raw, err := base64.StdEncoding.DecodeString(value); err == nil {
			have[key] = raw
		}
	}
	return have
}

// inject tells the API server which authority to trust, in each webhook of the
// configuration, and leaves the rest of it as it is.
func (k *certKeeper) inject(ctx context.Context, bundle []byte) error {
	configurations := k.client.Resource(configurationResource)
	want := base64.StdEncoding.EncodeToString(bundle)
	for {
		config, err := configurations.Get(ctx, configurationName, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading webhook configuration %s: %w", configurationName, err)
		}
		webhooks, ok := config.Object["webhooks"].([]any)
		if !ok || len(webhooks) == 0 {
			return fmt.Errorf("webhook configuration %s has no webhooks", configurationName)
		}
		changed := false
		for i, w := range webhooks {
			webhook, ok := w.(map[string]any)
			if !ok {
				return fmt.Errorf("webhook %d of configuration %s is no object", i, configurationName)
			}
			if got, _, err := unstructured.NestedString(webhook, "clientConfig", "caBundle"); err == nil && got == want {
				continue
			}
			if err := unstructured.SetNestedField(webhook, want, "clientConfig", "caBundle"); err != nil {
				return fmt.Errorf("webhook %d of configuration %s: %w", i, configurationName, err)
			}
			changed = true
		}
		if !changed {
			return nil
		}
		_, err = configurations.Update(ctx, config, metav1.UpdateOptions{})
		if err == nil || !apierrors.IsConflict(err) {
			return err
		}
	}
}

// poke is a reflector's store that remembers nothing and says that something
// changed.
type poke struct{ changed chan struct{} }

func (p poke) poke() error {
	select {
	case p.changed <- struct{}{}:
	default: // it has been said
	}
	return nil
}

// Add says that something changed, as the other methods of a store do.
func (p poke) Add(any) error { return p.poke() }

// Update is as Add.
func (p poke) Update(any) error { return p.poke() }

// Delete is as Add.
func (p poke) Delete(any) error { return p.poke() }

// Replace is as Add.
func (p poke) Replace([]any, string) error { return p.poke() }

// Resync has nothing to do.
func (p poke) Resync() error { return nil }
