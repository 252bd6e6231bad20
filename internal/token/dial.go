package token

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// guardedDialer refuses addresses that are neither public nor allowed. The check
// is made on the address that is about to be connected to, after the name was
// resolved and for each redirect again, so that no name can lead elsewhere in
// between.
func guardedDialer(allow []netip.Prefix) *net.Dialer {
	allow = slices.Clone(allow)
	return &net.Dialer{
		Control: func(network, address string, _ syscall.RawConn) error {
			if network != "tcp4" && network != "tcp6" {
				return fmt.Errorf("connections over %s are refused", network)
			}
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("the address %q is refused", address)
			}
			return checkAddress(to.Addr(), allow)
		},
	}
}

// addressError means that an address was refused. It says how to allow it.
type addressError struct{ addr netip.Addr }

// Error names the address and the flag.
func (e *addressError) Error() string {
	return fmt.Sprintf("the address %s is not a public one; to let issuers be reached there, give --issuer-allow CIDR (such as %s)",
		e.addr, netip.PrefixFrom(e.addr, e.addr.BitLen()))
}

// notPublic are the IPv4 ranges of IANA's special-purpose registry that are not
// globally reachable, and what lies outside unicast.
var notPublic = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // shared (carrier-grade NAT)
	"127.0.0.0/8",      // loopback
	"169.254.0.0/16",   // link-local, clouds' metadata services
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, broadcast
	"168.63.129.16/32", // Azure's host endpoint: public in form only
)

// Of IPv6 only global unicast is public, and of that not these.
var (
	globalUnicast6 = netip.MustParsePrefix("2000::/3")
	notPublic6     = prefixes(
		"2001::/23",     // protocol assignments: Teredo, benchmarks, ORCHID
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4, which embeds an IPv4 address
		"3fff::/20",     // documentation
	)
	// nat64 embeds an IPv4 address in its last 32 bits. On networks without IPv4
	// it is the way to every public IPv4 host, so the embedded address counts.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// checkAddress refuses an address that is neither public nor allowed. An IPv4
// address inside an IPv6 one is judged as the IPv4 address that it is.
func checkAddress(addr netip.Addr, allow []netip.Prefix) error {
	addr = addr.WithZone("").Unmap()
	if within(addr, allow) {
		return nil
	}
	judged := addr
	if nat64.Contains(addr) {
		b := addr.As16()
		judged = netip.AddrFrom4([4]byte(b[12:]))
		if within(judged, allow) {
			return nil
		}
	}
	public := judged.IsValid()
	if judged.Is4() {
		public = public && !within(judged, notPublic)
	} else {
		public = public && globalUnicast6.Contains(judged) && !within(judged, notPublic6)
	}
	if !public {
		return &addressError{addr: addr}
	}
	return nil
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}
