package serving

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
)

var secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// KeeperConfig is all that a keeper is made from. Now is time.Now when nil; all
// else is required.
type KeeperConfig struct {
	Dynamic  dynamic.Interface
	Metadata metadata.Interface
	// Namespace and Secret are where the certificate is kept.
	Namespace, Secret string
	Names             Names
	// Trust makes the authority known.
	Trust Trust
	Log   *slog.Logger
	Now   func() time.Time
}

// Trust is how clients come to trust the authority.
type Trust struct {
	// What says in words where the authority is written, such as "webhook
	// configuration x".
	What string
	// Resource, Namespace ("" where it has none) and Name are the object that
	// Publish writes. When it changes, Publish is called again.
	Resource        schema.GroupVersionResource
	Namespace, Name string
	// Publish writes the authorities, certificates in PEM, unless they are there.
	// Nothing that they signed is served before it succeeded.
	Publish func(ctx context.Context, bundle []byte) error
}

// Keeper keeps the serving certificate in a Secret that all replicas share, and
// makes its authority known. It serves from the Secret itself, not from a
// volume, which would lag it by a minute. Every replica runs one: each write is
// conditional on what was read, so that the first one wins and the others take
// over its result.
type Keeper struct {
	config  KeeperConfig
	serving atomic.Pointer[tls.Certificate]
	trusted atomic.Bool // clients were told of the authority
	changed chan struct{}
}

// NewKeeper makes a keeper. Run makes it keep.
func NewKeeper(c KeeperConfig) (*Keeper, error) {
	switch {
	case c.Namespace == "":
		return nil, errors.New("a server that keeps its own certificate needs its namespace")
	case c.Secret == "" || c.Trust.Publish == nil || len(c.Names.DNS) == 0:
		return nil, errors.New("a server that keeps its own certificate needs a Secret, its names and who is to trust it")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Keeper{config: c, changed: make(chan struct{}, 1)}, nil
}

// Certificate gives the certificate in force, as tls.Config.GetCertificate does.
func (k *Keeper) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.serving.Load(); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

var errNoCertificate = errors.New("there is no serving certificate yet")

// Missing says what a server with this certificate waits for.
func (k *Keeper) Missing() []string {
	var missing []string
	if k.serving.Load() == nil {
		missing = append(missing, errNoCertificate.Error())
	}
	if !k.trusted.Load() {
		missing = append(missing, k.config.Trust.What+" does not name the certificate's authority yet")
	}
	return missing
}

// checkEvery is how often certificates are looked at when nothing happens.
const checkEvery = 10 * time.Minute

// Run keeps certificates until ctx ends: at each change of the Secret or of
// what Trust names, now and then, and again soon after a failure.
func (k *Keeper) Run(ctx context.Context) {
	trust := k.config.Trust
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, r := range []struct {
		resource        schema.GroupVersionResource
		namespace, name string
	}{
		{secretResource, k.config.Namespace, k.config.Secret},
		{trust.Resource, trust.Namespace, trust.Name},
	} {
		var client metadata.ResourceInterface = k.config.Metadata.Resource(r.resource)
		if r.namespace != "" {
			client = k.config.Metadata.Resource(r.resource).Namespace(r.namespace)
		}
		reflector := NewMetadataReflector(client, r.name, poke{k.changed})
		watches.Go(func() { reflector.RunWithContext(ctx) })
	}
	retry := 100 * time.Millisecond
	for {
		wait := checkEvery
		if err := k.reconcile(ctx); err != nil && ctx.Err() == nil {
			k.config.Log.ErrorContext(ctx, "the serving certificate is not in order", "error", err)
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

// reconcile brings Secret, trust and server to what is due. Clients learn of an
// authority before anything it signed is served.
func (k *Keeper) reconcile(ctx context.Context) error {
	have, err := k.keepSecret(ctx)
	if err != nil {
		return err
	}
	if err := k.config.Trust.Publish(ctx, have.bundle()); err != nil {
		return err
	}
	k.trusted.Store(true)
	return k.serve(have)
}

func (k *Keeper) serve(have certificates) error {
	pair, err := have.serving()
	if err != nil {
		return err
	}
	if old := k.serving.Load(); old == nil || !bytes.Equal(old.Leaf.Raw, pair.Leaf.Raw) {
		k.serving.Store(pair)
		k.config.Log.Info("serving certificate", "names", slices.Clone(pair.Leaf.DNSNames), "notAfter", pair.Leaf.NotAfter)
	}
	return nil
}

// keepSecret gives the Secret's content, after writing what is due.
func (k *Keeper) keepSecret(ctx context.Context) (certificates, error) {
	namespace, name := k.config.Namespace, k.config.Secret
	absent := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"name": name, "namespace": namespace},
	}}
	var kept certificates
	err := Ensure(ctx, k.config.Dynamic.Resource(secretResource).Namespace(namespace), absent, func(secret *unstructured.Unstructured) (bool, error) {
		want, changed, err := secretData(secret).next(k.config.Names, k.config.Now())
		if err != nil {
			return false, err
		}
		kept = want
		if changed {
			data := make(map[string]any, len(want))
			for key, value := range want {
				data[key] = base64.StdEncoding.EncodeToString(value)
			}
			secret.Object["data"] = data
		}
		return changed, nil
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
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
