package kubetest

import "net/netip"

// The plan of addresses is the same for every cluster: each has a network of its
// own, which no other reaches.
//
//	10.89.0.0/24    the LAN: .1 the control plane, which is also the router and
//	                the LAN's DNS; nodes from .11; hosts from .101
//	10.244.0.0/16   pods: 10.244.N.0/24 on the Nth node
//	10.96.0.0/16    services: .0.1 the API server, .0.10 the cluster's DNS
const (
	podNetwork     = "10.244.0.0/16"
	serviceNetwork = "10.96.0.0/16"
	lanBits        = 24
	firstNode      = 11
	firstHost      = 101
	lastHost       = 250
)

var (
	controlAddress = lanAddress(1)
	serviceAPI     = netip.AddrFrom4([4]byte{10, 96, 0, 1})
)

func lanAddress(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 89, 0, byte(n)}) }

func onLAN(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, lanBits) }

// podsOf is the network of the pods of the nth node, from 0.
func podsOf(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(n), 0}), 24)
}
