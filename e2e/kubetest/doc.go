// Package kubetest is a real Kubernetes cluster in a test: etcd, the API server,
// the controller manager, the scheduler, nodes with kubelet, kube-proxy and
// containerd, each node a machine of namespaces of its own, and pods with
// addresses, names, logs and projected tokens. It starts in a few seconds and
// leaves nothing behind, however the test ends.
//
// "make kube" builds what it runs (see kube/README.md). It needs Linux, root,
// nft, and nothing else; where something is missing, tests that want a cluster
// are skipped, and say why; in CI (the variable CI is set) they fail.
//
// Nothing of it is in the network namespace of the test: Cluster.Dial, and the
// client of Cluster.Client, reach inside. A Host is one more machine on the
// cluster's LAN, for what is not of the cluster: the cloud, say.
//
// It must not know what runs on the cluster: neither Lanyard nor its agent.
package kubetest
