package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/machine"
)

// startTimeout is how long a cluster may take to start. It takes five seconds on
// a machine that is not busy.
const startTimeout = 3 * time.Minute

// Cluster is a running cluster. Its methods may be called from several goroutines.
type Cluster struct {
	// Kubeconfig is the file by which programs on the cluster's machines are its
	// administrator; it holds no paths, and works on nodes and hosts. In the test's
	// own network its server is not to be reached: use RESTConfig.
	Kubeconfig string

	bin      string
	logs     string
	machines *machine.Set
	control  controlPlane
	nodes    []*node
	dns      *machine.Process
	config   *rest.Config
	client   *kubernetes.Clientset
	watch    watchdog

	mu       sync.Mutex // of what follows, and of restarts
	options  Options
	hosts    []*Host
	keyPairs int
	images   map[string]bool // loaded, by reference
	kept     map[string]bool // tests whose failure keeps logs
}

// Start starts a cluster for a test, and ends it with the test. Where the machine
// cannot run one the test is skipped, and in CI fails.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	Require(t)
	c, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("ending the cluster: %v", err)
		}
	})
	c.keepLogs(t)
	return c
}

// New starts a cluster that lasts until Close, at most until this process ends.
// Where this machine cannot run one the error says what it lacks; see Missing.
func New(ctx context.Context, o Options) (*Cluster, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if missing := Missing(); len(missing) > 0 {
		return nil, fmt.Errorf("kubetest: this machine lacks %s", strings.Join(missing, "; "))
	}
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	machines, err := machine.NewSet(filepath.Join(bin, "machine"))
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, options: o, machines: machines, logs: filepath.Join(machines.Dir(), "logs"), images: map[string]bool{}, kept: map[string]bool{}}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.start(ctx); err != nil {
		kept := c.saveComponentLogs("start")
		return nil, errors.Join(fmt.Errorf("kubetest: starting a cluster: %w\n%s", err, kept), c.Close())
	}
	return c, nil
}

// start brings up everything, in the order in which one needs another.
func (c *Cluster) start(ctx context.Context) (err error) {
	if err := c.startControlPlane(); err != nil {
		return err
	}
	for i, wanted := range c.options.Nodes {
		n, err := c.newNode(i, wanted)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
	}
	pause, err := ScratchImage(map[string]string{"/pause": filepath.Join(c.bin, "pause")}, "/pause")
	if err != nil {
		return err
	}
	if err := c.load(ctx, pauseImage, pause); err != nil { // while the API server starts
		return err
	}
	if err := c.serving(ctx); err != nil {
		return err
	}
	if err := c.startControllers(); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.startNode(n); err != nil {
			return err
		}
	}
	if err := c.startDNS(); err != nil {
		return err
	}
	return errors.Join(c.schedulable(ctx), c.resolving(ctx))
}

// startControlPlane makes the LAN and starts etcd and the API server.
func (c *Cluster) startControlPlane() (err error) {
	p := &c.control
	if err := os.Mkdir(c.logs, 0o750); err != nil {
		return err
	}
	p.Machine, err = c.machines.New(controlName, c.etcFiles(controlName, controlAddress))
	if err != nil {
		return err
	}
	if err := p.Switch(onLAN(controlAddress)); err != nil {
		return err
	}
	p.pki = filepath.Join(p.Dir(), "pki")
	if err := os.Mkdir(p.pki, 0o700); err != nil {
		return err
	}
	if err := c.startEtcd(); err != nil {
		return err
	}
	if err := errors.Join(c.keys(), c.apiServerCertificates()); err != nil {
		return err
	}
	if err := c.startAPIServer(); err != nil {
		return err
	}
	c.Kubeconfig = p.admin
	if c.config, err = clientcmd.BuildConfigFromFlags("", p.admin); err != nil {
		return err
	}
	c.config.Dial = c.Dial
	c.config.QPS, c.config.Burst = 500, 1000
	c.client, err = kubernetes.NewForConfig(c.config)
	return err
}

// Close ends the cluster and removes all that it left. A second call does nothing.
func (c *Cluster) Close() error {
	c.watch.close()
	return c.machines.Close()
}

// RESTConfig is the administrator's configuration for client-go, with which the
// test reaches the API server from outside.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Client is the administrator's client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Dial connects to an address of the cluster's LAN or to a pod, as the control
// plane would; services have no meaning there, see DialNode. The address is a
// literal IP with a port.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.control.Dial(ctx, network, address)
}

// DialNode connects from a node, which also reaches services.
func (c *Cluster) DialNode(ctx context.Context, name, network, address string) (net.Conn, error) {
	n, err := c.node(name)
	if err != nil {
		return nil, err
	}
	return n.Dial(ctx, network, address)
}

// NodeCommand is a program to run on a node, outside of any pod: in the node's
// network and with its mounts. It does not have the test's environment.
func (c *Cluster) NodeCommand(ctx context.Context, name, program string, args ...string) (*exec.Cmd, error) {
	n, err := c.node(name)
	if err != nil {
		return nil, err
	}
	return n.Command(ctx, program, args...), nil
}

// Nodes are the names of the nodes.
func (c *Cluster) Nodes() []string {
	var names []string
	for _, n := range c.nodes {
		names = append(names, n.Node.Name)
	}
	return names
}

func (c *Cluster) node(name string) (*node, error) {
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.Node.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("kubetest: no node is named %q; there are %v", name, c.Nodes())
	}
	return c.nodes[i], nil
}
