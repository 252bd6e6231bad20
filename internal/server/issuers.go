package server

import (
	"crypto/x509"
	"fmt"
	"net/netip"
)

// IssuerTrust reads where issuers may be though it is not public (CIDRs), and
// who vouches for their servers: the system's authorities and, where a file is
// named, those in it. Without a file the pool is nil, which means the system's.
func IssuerTrust(allow []string, caFile string) ([]netip.Prefix, *x509.CertPool, error) {
	var ranges []netip.Prefix
	for _, cidr := range allow {
		r, err := netip.ParsePrefix(cidr)
		if err != nil {
			return nil, nil, fmt.Errorf("%q is no CIDR: want an address range such as 10.0.0.0/8", cidr)
		}
		ranges = append(ranges, r)
	}
	if caFile == "" {
		return ranges, nil, nil
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		return nil, nil, fmt.Errorf("the system's authorities: %w", err)
	}
	cas, err := certPool(system, caFile)
	if err != nil {
		return nil, nil, fmt.Errorf("the issuers' authorities: %w", err)
	}
	return ranges, cas, nil
}
