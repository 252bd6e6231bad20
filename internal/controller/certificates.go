package controller

import (
	"context"
	"encoding/base64"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/lanyard-id/lanyard/internal/serving"
)

// Upstream's names of what the webhook owns in a cluster.
const (
	secretName            = "azure-wi-webhook-server-cert" //nolint:gosec // a name
	serviceName           = "azure-wi-webhook-webhook-service"
	configurationName     = "azure-wi-webhook-mutating-webhook-configuration"
	authorityName         = "azure-workload-identity-ca"
	authorityOrganization = "azure-workload-identity"
)

var configurationResource = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}

// certificates gives the webhook's: of a directory, or its own, whose authority
// the webhook configuration names.
func (w *Webhook) certificates(c WebhookConfig, dyn dynamic.Interface, meta metadata.Interface) (serving.Certificates, error) {
	if c.CertDir != "" {
		return serving.NewFiles(c.CertDir, w.metrics.certificateRead, c.Log)
	}
	return serving.NewKeeper(serving.KeeperConfig{
		Dynamic: dyn, Metadata: meta, Namespace: c.Namespace, Secret: secretName,
		Names: serving.Names{
			Authority: authorityName, Organization: authorityOrganization, DNS: []string{serviceName + "." + c.Namespace + ".svc"},
		},
		Trust: serving.Trust{
			What: "webhook configuration " + configurationName, Resource: configurationResource, Name: configurationName,
			Publish: func(ctx context.Context, bundle []byte) error { return injectAuthority(ctx, dyn, bundle) },
		},
		Log: c.Log, Now: c.Now,
	})
}

// injectAuthority tells the API server which authority to trust, in each webhook
// of the configuration, and leaves the rest of it as it is.
func injectAuthority(ctx context.Context, client dynamic.Interface, bundle []byte) error {
	configurations := client.Resource(configurationResource)
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
