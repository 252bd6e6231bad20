package sidecar

import (
	"fmt"
	"net/netip"
	"strconv"
)

// DefaultUID is the user that the proxy runs as, and whose own requests are not
// redirected.
const DefaultUID = 1501

// Redirect says which of the connections that are opened in a pod go to the proxy.
type Redirect struct {
	// Metadata is the address and port of the metadata service: IPv4, the only
	// protocol by which it is reached on Azure.
	Metadata netip.AddrPort
	// Port is where the proxy listens.
	Port uint16
	// ExceptUID is the user whose connections stay as they are: the proxy's own.
	ExceptUID uint32
}

// RedirectFrom reads the variables of azure-workload-identity's proxy-init image:
// PROXY_PORT (8000), METADATA_IP (169.254.169.254), METADATA_PORT (80) and
// PROXY_UID (1501).
func RedirectFrom(getenv func(string) string) (Redirect, error) {
	value := func(name, unless string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return unless
	}
	port := func(name, unless string) (uint16, error) {
		n, err := strconv.ParseUint(value(name, unless), 10, 16)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%s is %q: it is a port, 1 to 65535", name, value(name, unless))
		}
		return uint16(n), nil
	}
	var r Redirect
	address, err := netip.ParseAddr(value("METADATA_IP", "169.254.169.254"))
	if err != nil || !address.Is4() {
		return r, fmt.Errorf("METADATA_IP is %q: it is an IPv4 address", getenv("METADATA_IP"))
	}
	metadataPort, err := port("METADATA_PORT", "80")
	if err != nil {
		return r, err
	}
	if r.Port, err = port("PROXY_PORT", "8000"); err != nil {
		return r, err
	}
	uid, err := strconv.ParseUint(value("PROXY_UID", strconv.Itoa(DefaultUID)), 10, 32)
	if err != nil || uid == 0 {
		// With root, whatever runs as root in the pod would reach the node's own
		// metadata service.
		return r, fmt.Errorf("PROXY_UID is %q: it is a user's number, and not root's", getenv("PROXY_UID"))
	}
	r.Metadata, r.ExceptUID = netip.AddrPortFrom(address, metadataPort), uint32(uid)
	return r, nil
}
