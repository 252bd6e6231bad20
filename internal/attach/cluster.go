package attach

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ErrNotFound is what errors about things that the cluster does not have wrap.
var ErrNotFound = errors.New("not found")

// ClusterOptions say which cluster is meant, as kubectl's flags of these names.
type ClusterOptions struct {
	// Kubeconfig is a file. Empty means the files of $KUBECONFIG, then
	// ~/.kube/config, then the cluster that the process runs in.
	Kubeconfig string
	// Context is a context of the kubeconfig; its current one when empty.
	Context string
	// UserAgent is what the API server's audit log says of the caller.
	UserAgent string
	// Timeout limits each request; 30 seconds when 0.
	Timeout time.Duration
}

// Cluster is a Kubernetes cluster, reached as its kubeconfig says.
type Cluster struct {
	name, server, namespace string
	raw                     *rest.RESTClient
	dynamic                 dynamic.Interface
}

// Connect reads the kubeconfig. It sends nothing: a cluster that does not answer
// is an error of the first request.
func Connect(o ClusterOptions) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("there is no kubeconfig: name a file with --kubeconfig or the variable KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.UserAgent, config.Timeout = o.UserAgent, o.Timeout
	if config.Timeout == 0 {
		config.Timeout = 30 * time.Second
	}
	// client-go's default of five requests a second makes an installation wait.
	config.QPS, config.Burst = 50, 300 // kubectl's
	c := &Cluster{name: o.Context, server: config.Host, namespace: metav1.NamespaceDefault}
	if file, err := loader.RawConfig(); err == nil {
		if c.name == "" {
			c.name = file.CurrentContext
		}
	}
	if ns, _, err := loader.Namespace(); err == nil {
		c.namespace = ns
	}
	return c, c.connect(config)
}

// connect makes the clients, on one pool of connections.
func (c *Cluster) connect(config *rest.Config) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("reaching the API server: %w", err)
	}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, client); err != nil {
		return fmt.Errorf("reaching the API server: %w", err)
	}
	// The answers are read as they are, but for refusals, which are Statuses.
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	plain := rest.CopyConfig(config)
	plain.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if c.raw, err = rest.UnversionedRESTClientForConfigAndClient(plain, client); err != nil {
		return fmt.Errorf("reaching the API server: %w", err)
	}
	return nil
}

// Name is the kubeconfig's context; empty for the cluster that the process runs
// in.
func (c *Cluster) Name() string { return c.name }

// Server is the API server's address, as the kubeconfig has it.
func (c *Cluster) Server() string { return c.server }

// Namespace is the context's: "default" where it names none.
func (c *Cluster) Namespace() string { return c.namespace }

// Version gives the API server's version, such as v1.36.3.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := c.get(ctx, "/version", &v); err != nil {
		return "", fmt.Errorf("reading the cluster's version: %w", err)
	}
	return v.GitVersion, nil
}

// get reads a path of the API server as JSON.
func (c *Cluster) get(ctx context.Context, path string, out any) error {
	body, err := c.raw.Get().AbsPath(path).Do(ctx).Raw()
	if err != nil {
		return c.explain(err)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// explain puts into an error what is known of the cluster: a server that does
// not answer is named, and what is missing wraps [ErrNotFound].
func (c *Cluster) explain(err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if apierrors.IsUnauthorized(err) {
		return fmt.Errorf("the API server at %s does not accept the kubeconfig's credentials: %w", c.server, err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the API server at %s is not one that the kubeconfig's certificate-authority vouches for: %w", c.server, err)
	}
	_, refused := errors.AsType[*net.OpError](err)
	if _, ok := errors.AsType[*url.Error](err); ok && refused {
		return fmt.Errorf("no API server answers at %s: %w", c.server, err)
	}
	return err
}
