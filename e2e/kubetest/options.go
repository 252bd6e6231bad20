package kubetest

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
)

// Options are what a test wants of its cluster; the zero value is a cluster with
// one node that issues tokens as kubeadm's clusters do.
type Options struct {
	// Nodes are the nodes; none is one, named node1.
	Nodes []Node
	// Issuer is the issuer of service-account tokens; the default is
	// https://kubernetes.default.svc.cluster.local. A cluster that is restarted
	// with RestartAPIServer may have others.
	Issuer string
	// JWKSURI is where the issuer's discovery document says that the keys are; the
	// default is openid/v1/jwks below the issuer.
	JWKSURI string
	// APIServerArgs are further arguments of kube-apiserver.
	APIServerArgs []string
	// Names are answered by the LAN's DNS, hence in pods, on nodes and on hosts.
	// "*.name" answers for all below name, not for name itself. SetNames changes
	// them.
	Names map[string]netip.Addr
}

// Node is a node that a test wants.
type Node struct {
	// Name is the node's name; the default is node1, node2 and so on.
	Name string
	// Pool is the node pool, of which the node has AKS's labels; the default is
	// nodepool1.
	Pool string
	// Labels are further labels.
	Labels map[string]string
}

const defaultIssuer = "https://kubernetes.default.svc.cluster.local"

// maxNodes is how many nodes the plan of addresses has room for.
const maxNodes = 32

func (o Options) withDefaults() (Options, error) {
	if len(o.Nodes) == 0 {
		o.Nodes = []Node{{}}
	}
	if len(o.Nodes) > maxNodes {
		return o, fmt.Errorf("kubetest: %d nodes, of at most %d", len(o.Nodes), maxNodes)
	}
	nodes, seen := make([]Node, len(o.Nodes)), map[string]bool{}
	for i, n := range o.Nodes {
		if n.Name == "" {
			n.Name = fmt.Sprintf("node%d", i+1)
		}
		if n.Pool == "" {
			n.Pool = "nodepool1"
		}
		if seen[n.Name] || n.Name == controlName {
			return o, fmt.Errorf("kubetest: two machines are named %s", n.Name)
		}
		seen[n.Name] = true
		nodes[i] = n
	}
	o.Nodes = nodes
	if o.Issuer == "" {
		o.Issuer = defaultIssuer
	}
	if o.JWKSURI == "" {
		o.JWKSURI = strings.TrimSuffix(o.Issuer, "/") + "/openid/v1/jwks"
	}
	o.Names = maps.Clone(o.Names)
	return o, nil
}

// labels are the node's, as kubelet's flag wants them.
func (n Node) labels() string {
	all := map[string]string{"agentpool": n.Pool, "kubernetes.azure.com/agentpool": n.Pool}
	maps.Copy(all, n.Labels)
	var pairs []string
	for k, v := range all {
		pairs = append(pairs, k+"="+v)
	}
	return strings.Join(pairs, ",")
}
