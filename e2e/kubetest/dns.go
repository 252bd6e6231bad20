package kubetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// etcFiles are a machine's own names, and the way to all others.
func (c *Cluster) etcFiles(name string, address netip.Addr) map[string]string {
	return map[string]string{
		"hosts":       fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", address, name),
		"resolv.conf": fmt.Sprintf("nameserver %s\noptions timeout:2 attempts:3\n", controlAddress),
	}
}

// startDNS starts the LAN's DNS, which is also the cluster's. It needs an API
// server that serves.
func (c *Cluster) startDNS() (err error) {
	if err := os.WriteFile(c.corefile(), c.dnsConfiguration(), 0o600); err != nil {
		return err
	}
	c.dns, err = c.run(c.control.Machine, "coredns", "-conf", c.corefile())
	return err
}

func (c *Cluster) corefile() string { return filepath.Join(c.control.Dir(), "Corefile") }

// dnsConfiguration answers for the cluster's services, for the names of the
// options, and for nothing else: nothing outside is asked.
func (c *Cluster) dnsConfiguration() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `cluster.local:53 {
	errors
	kubernetes cluster.local {
		kubeconfig %s
		ttl 1
	}
}
.:53 {
	errors
`, c.control.admin)
	for _, name := range slices.Sorted(maps.Keys(c.options.Names)) {
		zone, below := strings.CutPrefix(strings.TrimSuffix(name, "."), "*.")
		// A Corefile's quotes keep backslashes as they are: none are used.
		match := strings.ReplaceAll(zone+".", ".", "[.]") + "$"
		if below {
			match = "[.]" + match
		} else {
			match = "^" + match
		}
		fmt.Fprintf(&out, `	template IN A %[1]s {
		match %[2]q
		answer "{{ .Name }} 1 IN A %[3]s"
		fallthrough
	}
	template IN AAAA %[1]s {
		match %[2]q
		rcode NOERROR
		fallthrough
	}
`, zone, match, c.options.Names[name])
	}
	out.WriteString("	template ANY ANY . {\n		rcode NXDOMAIN\n	}\n}\n")
	return out.Bytes()
}

// SetNames has the LAN's DNS answer these names, as Options.Names does, and no
// longer those of before, and returns when it does.
func (c *Cluster) SetNames(ctx context.Context, names map[string]netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.options.Names = maps.Clone(names)
	if err := os.WriteFile(c.corefile(), c.dnsConfiguration(), 0o600); err != nil {
		return err
	}
	if err := c.dns.Signal(syscall.SIGUSR1); err != nil { // CoreDNS reads its file again
		return fmt.Errorf("kubetest: coredns: %w", err)
	}
	return c.resolving(ctx)
}

// resolving waits until the DNS answers for every name that it should, and for
// the API server's.
func (c *Cluster) resolving(ctx context.Context) error {
	wanted := maps.Clone(c.options.Names)
	if wanted == nil {
		wanted = map[string]netip.Addr{}
	}
	wanted["kubernetes.default.svc.cluster.local"] = serviceAPI
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return c.control.Dial(ctx, network, netip.AddrPortFrom(controlAddress, 53).String())
	}}
	return c.poll(ctx, "the DNS to answer", func(ctx context.Context) (bool, string) {
		for name, address := range wanted {
			asked := strings.Replace(name, "*.", "kubetest.", 1)
			got, err := resolver.LookupNetIP(ctx, "ip4", asked+".")
			if err != nil || !slices.Contains(got, address) {
				return false, fmt.Sprintf("%s: %v %v, want %s", asked, got, err, address)
			}
		}
		return true, ""
	})
}
