package kubetest

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/machine"
)

const (
	// controlName is the machine of the control plane, which is also the LAN's
	// switch, router and DNS.
	controlName  = "control-plane"
	apiServerURL = "https://10.89.0.1:6443"
	etcdURL      = "http://127.0.0.1:2379"
)

// APIServerOptions are what RestartAPIServer can change.
type APIServerOptions struct {
	// Issuers are the issuers whose tokens the API server takes; it issues in the
	// first one's name.
	Issuers []string
	// JWKSURI is what the discovery document names.
	JWKSURI string
	// SigningKey is the file of the private key that signs service-account tokens.
	SigningKey string
	// Keys are the files of the public keys by which tokens are verified, all of
	// which are published.
	Keys []string
	// Args are further arguments.
	Args []string
}

func (o APIServerOptions) clone() APIServerOptions {
	o.Issuers, o.Keys, o.Args = slices.Clone(o.Issuers), slices.Clone(o.Keys), slices.Clone(o.Args)
	return o
}

// controlPlane is what runs on the control plane's machine.
type controlPlane struct {
	*machine.Machine
	pki       string
	root      *authority
	front     *authority
	apiServer *machine.Process
	options   APIServerOptions
	admin     string // kubeconfig
}

// keys makes the authorities, the certificates and the service accounts' key.
func (c *Cluster) keys() (err error) {
	p := &c.control
	if p.root, err = newAuthority(p.pki, "ca"); err != nil {
		return err
	}
	if p.front, err = newAuthority(p.pki, "front-proxy-ca"); err != nil {
		return err
	}
	if p.admin, err = p.root.kubeconfig("admin", subject{name: "kubernetes-admin", groups: []string{"system:masters"}}); err != nil {
		return err
	}
	private, public, err := newServiceAccountKey(p.pki, "service-accounts-1")
	if err != nil {
		return err
	}
	p.options = APIServerOptions{
		Issuers: []string{c.options.Issuer}, JWKSURI: c.options.JWKSURI,
		SigningKey: private, Keys: []string{public}, Args: c.options.APIServerArgs,
	}
	return nil
}

func (c *Cluster) startEtcd() error {
	_, err := c.run(c.control.Machine, "etcd",
		"--name=etcd", "--data-dir="+filepath.Join(c.control.Dir(), "etcd"), "--log-level=warn",
		"--unsafe-no-fsync", // it lives as long as the test
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=etcd=http://127.0.0.1:2380")
	return err
}

// startAPIServer starts it, and does not wait until it serves.
func (c *Cluster) startAPIServer() (err error) {
	p := &c.control
	if p.apiServer, err = c.run(p.Machine, "kube-apiserver", c.apiServerArgs()...); err != nil {
		return err
	}
	return nil
}

// apiServerCertificates are issued once: the API server's own, its identity
// before kubelets, and before aggregated API servers.
func (c *Cluster) apiServerCertificates() error {
	p := &c.control
	server := subject{
		name: "kube-apiserver",
		names: []string{
			"localhost", controlName, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		},
		addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), controlAddress, serviceAPI},
	}
	if _, _, err := p.root.issue("apiserver", server); err != nil {
		return err
	}
	if _, _, err := p.root.issue("apiserver-kubelet-client", subject{name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}}); err != nil {
		return err
	}
	_, _, err := p.front.issue("front-proxy-client", subject{name: "front-proxy-client"})
	return err
}

func (c *Cluster) apiServerArgs() []string {
	p := &c.control
	file := func(name string) string { return filepath.Join(p.pki, name) }
	args := []string{
		"--etcd-servers=" + etcdURL, "--secure-port=6443", "--advertise-address=" + controlAddress.String(),
		"--service-cluster-ip-range=" + serviceNetwork,
		"--client-ca-file=" + p.root.certificate(),
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"),
		"--kubelet-client-certificate=" + file("apiserver-kubelet-client.crt"), "--kubelet-client-key=" + file("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + p.root.certificate(), "--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false",
		"--requestheader-client-ca-file=" + p.front.certificate(), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + file("front-proxy-client.crt"), "--proxy-client-key-file=" + file("front-proxy-client.key"),
		// The control plane's machine has no kube-proxy: webhooks and aggregated
		// APIs are reached at their endpoints.
		"--enable-aggregator-routing=true",
		"--service-account-signing-key-file=" + p.options.SigningKey, "--service-account-jwks-uri=" + p.options.JWKSURI,
	}
	for _, issuer := range p.options.Issuers {
		args = append(args, "--service-account-issuer="+issuer)
	}
	for _, key := range p.options.Keys {
		args = append(args, "--service-account-key-file="+key)
	}
	return append(args, p.options.Args...)
}

// startControllers starts what needs an API server that serves.
func (c *Cluster) startControllers() error {
	p := &c.control
	for _, component := range []struct {
		name string
		args []string
	}{
		{"kube-controller-manager", []string{
			"--service-account-private-key-file=" + p.options.SigningKey, "--root-ca-file=" + p.root.certificate(),
			"--cluster-signing-cert-file=" + p.root.certificate(), "--cluster-signing-key-file=" + p.root.keyFile(),
			"--use-service-account-credentials", "--node-monitor-period=500ms",
			// With the default of 20 a second, service accounts and nodes wait for
			// their turn for seconds.
			"--kube-api-qps=300", "--kube-api-burst=600",
		}},
		{"kube-scheduler", nil},
	} {
		kubeconfig, err := p.root.kubeconfig(component.name, subject{name: "system:" + component.name})
		if err != nil {
			return err
		}
		args := append([]string{
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--leader-elect=false", "--profiling=false",
		}, component.args...)
		if _, err := c.run(p.Machine, component.name, args...); err != nil {
			return err
		}
	}
	return nil
}

// serving waits until the API server answers /readyz.
func (c *Cluster) serving(ctx context.Context) error {
	return c.poll(ctx, "the API server to be ready", func(ctx context.Context) (bool, string) {
		status := 0
		raw, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status).Raw()
		return err == nil && status == http.StatusOK, fmt.Sprintf("%v %s", err, raw)
	})
}

// RestartAPIServer stops the API server, lets change alter its options, starts
// it, and returns when it is ready. A rotation of the service accounts' key is
// three of them: its public half added to Keys, SigningKey set to it, and the old
// one's public half removed.
func (c *Cluster) RestartAPIServer(ctx context.Context, change func(*APIServerOptions)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.control.options.clone()
	if change != nil {
		change(&changed)
	}
	c.expectEnd(c.control.apiServer)
	// Killed, it does not wait for its watches, nor takes its endpoint away: all
	// that it knows is in etcd.
	c.control.apiServer.Kill()
	c.control.options = changed
	if err := c.startAPIServer(); err != nil {
		return err
	}
	return c.serving(ctx)
}

// NewServiceAccountKey makes a key pair for service-account tokens and gives the
// paths of its halves, for RestartAPIServer.
func (c *Cluster) NewServiceAccountKey() (private, public string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keyPairs++
	return newServiceAccountKey(c.control.pki, fmt.Sprintf("service-accounts-%d", c.keyPairs+1))
}
