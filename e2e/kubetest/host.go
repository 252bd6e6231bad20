package kubetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/machine"
)

// Host is a machine on the cluster's LAN that is not of the cluster. Pods and
// nodes reach it at its address, and it them; services mean nothing to it.
type Host struct {
	m       *machine.Machine
	address netip.Addr
}

// Host makes one, or gives the one of that name. It ends with the cluster.
func (c *Cluster) Host(name string) (*Host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.hosts, func(h *Host) bool { return h.m.Name() == name }); i >= 0 {
		return c.hosts[i], nil
	}
	if name == controlName || slices.Contains(c.Nodes(), name) {
		return nil, fmt.Errorf("kubetest: %s is a machine of the cluster itself", name)
	}
	number := firstHost + len(c.hosts)
	if number > lastHost {
		return nil, fmt.Errorf("kubetest: the LAN has room for %d hosts", lastHost-firstHost+1)
	}
	address := lanAddress(number)
	m, err := c.machines.New(name, c.etcFiles(name, address))
	if err != nil {
		return nil, err
	}
	if err := m.Attach(c.control.Machine, onLAN(address), controlAddress); err != nil {
		return nil, err
	}
	h := &Host{m: m, address: address}
	c.hosts = append(c.hosts, h)
	return h, nil
}

// Name is the host's name.
func (h *Host) Name() string { return h.m.Name() }

// Addr is the host's address on the cluster's LAN.
func (h *Host) Addr() netip.Addr { return h.address }

// Command is a program to run on the host, ended with the context and at the
// latest with the cluster. It has the test's files and directory, not its
// environment: add to Env what it needs. Names are resolved by the LAN's DNS.
func (h *Host) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return h.m.Command(ctx, program, args...)
}

// Listen listens on the host, in the test's own process: what is served there is
// reached by pods. The address is a literal IP with a port, such as
// 0.0.0.0:443.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return h.m.Listen(ctx, network, address)
}

// Dial connects from the host. The address is a literal IP with a port.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.m.Dial(ctx, network, address)
}
