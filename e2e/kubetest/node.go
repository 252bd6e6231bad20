package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/machine"
)

// node is a machine on which pods run.
type node struct {
	*machine.Machine
	Node
	address netip.Addr
	pods    netip.Prefix
	group   string // its control group
	kubelet *machine.Process
}

// pauseImage is what holds a pod's namespaces.
const pauseImage = "kubetest.invalid/pause:1"

// nodeFiles are the configurations of a node, by their names in its directory.
var nodeFiles = map[string]string{
	"containerd.toml": `version = 3
root = "{{.Dir}}/containerd"
state = "/run/containerd-state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "{{.Socket}}"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{{.Pause}}"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "{{.Dir}}/certs.d"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{{.Bin}}/cni"]
    conf_dir = "{{.Dir}}/cni"
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{{.Bin}}/runc"
        SystemdCgroup = false
`,
	"cni/10-kubetest.conflist": `{"cniVersion": "1.0.0", "name": "kubetest", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "{{.Pods}}"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "{{.Dir}}/ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"}]}
`,
	"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{{.Group}}
containerRuntimeEndpoint: unix://{{.Socket}}
address: {{.Address}}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: {{.CA}}}}
authorization: {mode: Webhook}
tlsCertFile: {{.Certificate}}
tlsPrivateKeyFile: {{.Key}}
failSwapOn: false
clusterDNS: [{{.DNS}}]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, nodefs.inodesFree: "1", imagefs.available: 1Mi, imagefs.inodesFree: "1"}
podLogsDir: {{.Dir}}/pod-logs
volumePluginDir: {{.Dir}}/volume-plugins
staticPodPath: ""
enableProfilingHandler: false
`,
	"kube-proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
nftables: {minSyncPeriod: 50ms} # of 1s: tests wait for services
clusterCIDR: {{.Cluster}}
hostnameOverride: {{.Name}}
clientConnection: {kubeconfig: {{.ProxyKubeconfig}}}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s} # the machine beneath keeps its own
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
`,
}

// newNode makes the machine of the nth node, plugs it in, and starts containerd.
func (c *Cluster) newNode(n int, wanted Node) (*node, error) {
	address := lanAddress(firstNode + n)
	m, err := c.machines.New(wanted.Name, c.etcFiles(wanted.Name, address))
	if err != nil {
		return nil, err
	}
	made := &node{Machine: m, Node: wanted, address: address, pods: podsOf(n), group: c.machines.Name() + "/" + wanted.Name}
	if err := m.Attach(c.control.Machine, onLAN(address), controlAddress); err != nil {
		return nil, err
	}
	if err := c.control.Route(made.pods, address); err != nil {
		return nil, err
	}
	if err := makeGroup(made.group); err != nil {
		return nil, err
	}
	if err := c.configure(made); err != nil {
		return nil, err
	}
	_, err = c.run(m, "containerd", "--config="+filepath.Join(m.Dir(), "containerd.toml"))
	return made, err
}

// configure writes the node's files and its identities.
func (c *Cluster) configure(n *node) error {
	user := subject{name: "system:node:" + n.Node.Name, groups: []string{"system:nodes"}}
	if _, err := c.control.root.kubeconfig("kubelet-"+n.Node.Name, user); err != nil {
		return err
	}
	user.names, user.addresses = []string{n.Node.Name}, []netip.Addr{n.address, netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	certificate, key, err := c.control.root.issue("kubelet-server-"+n.Node.Name, user)
	if err != nil {
		return err
	}
	proxy, err := c.control.root.kubeconfig("kube-proxy-"+n.Node.Name, subject{name: "system:kube-proxy"})
	if err != nil {
		return err
	}
	values := map[string]any{
		"Dir": n.Dir(), "Bin": c.bin, "Socket": n.socket(), "Pause": pauseImage, "Pods": n.pods, "Group": n.group,
		"Address": n.address, "CA": c.control.root.certificate(), "Certificate": certificate, "Key": key, "DNS": controlAddress,
		"Cluster": podNetwork, "Name": n.Node.Name, "ProxyKubeconfig": proxy,
	}
	for name, text := range nodeFiles {
		var out bytes.Buffer
		if err := template.Must(template.New(name).Option("missingkey=error").Parse(text)).Execute(&out, values); err != nil {
			return err
		}
		path := filepath.Join(n.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// socket is containerd's, in the node's own /run.
func (n *node) socket() string { return "/run/containerd.sock" }

// startNode starts what needs an API server that serves.
func (c *Cluster) startNode(n *node) error {
	if err := c.startKubelet(n); err != nil {
		return err
	}
	_, err := c.run(n.Machine, "kube-proxy", "--config="+filepath.Join(n.Dir(), "kube-proxy.yaml"))
	return err
}

func (c *Cluster) startKubelet(n *node) (err error) {
	kubeconfig := filepath.Join(c.control.pki, "kubelet-"+n.Node.Name+".kubeconfig")
	n.kubelet, err = c.run(n.Machine, "kubelet", "--config="+filepath.Join(n.Dir(), "kubelet.yaml"), "--kubeconfig="+kubeconfig,
		"--hostname-override="+n.Node.Name, "--node-ip="+n.address.String(), "--node-labels="+n.labels(),
		"--root-dir="+filepath.Join(n.Dir(), "kubelet"), "--cert-dir="+filepath.Join(n.Dir(), "kubelet-pki"))
	return err
}

// RestartKubelet ends a node's kubelet and starts it again. The node's pods run on;
// the kubelet, which remembers no token, soon asks new ones for them and puts those
// in the place of the old.
func (c *Cluster) RestartKubelet(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.node(name)
	if err != nil {
		return err
	}
	c.expectEnd(n.kubelet)
	n.kubelet.Kill()
	return c.startKubelet(n)
}

// importImage loads an archive of images into the node's containerd, for which it
// waits.
func (c *Cluster) importImage(ctx context.Context, n *node, archive string) error {
	err := c.poll(ctx, "containerd on "+n.Node.Name, func(context.Context) (bool, string) {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", n.PID(), n.socket()))
		return err == nil, fmt.Sprint(err)
	})
	if err != nil {
		return err
	}
	out, err := n.Command(ctx, filepath.Join(c.bin, "ctr"), "--address", n.socket(), "--namespace", "k8s.io", "images", "import", archive).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("loading %s on node %s: %w\n%s", archive, n.Node.Name, err, out), ctx.Err())
	}
	return nil
}
