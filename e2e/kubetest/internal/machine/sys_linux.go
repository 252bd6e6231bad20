package machine

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// session keeps a terminal's Ctrl-C from a process: its caller decides.
func session() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func namespaces() *syscall.SysProcAttr {
	attributes := session()
	attributes.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS
	return attributes
}

// within calls f on a thread that is in the process's network namespace.
func within(pid int, f func() error) error {
	there, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
	if err != nil {
		return err
	}
	defer there.Close()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and takes the
		// namespace with it.
		runtime.LockOSThread()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering the network of process %d: %w", pid, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// links calls f with what configures the machine's network.
func (m *Machine) links(f func(*netlink.Handle, netns.NsHandle) error) error {
	ns, err := netns.GetFromPid(m.PID())
	if err != nil {
		return fmt.Errorf("machine %s: %w", m.name, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("machine %s: %w", m.name, err)
	}
	defer h.Close()
	if err := f(h, ns); err != nil {
		return fmt.Errorf("the network of machine %s: %w", m.name, err)
	}
	return nil
}

// bridge is the interface of a machine that is a LAN's switch, uplink that of
// one that is plugged into it.
const (
	bridge = "lan0"
	uplink = "eth0"
)

// Switch makes the machine a LAN's switch and router, with an address on it.
func (m *Machine) Switch(address netip.Prefix) error {
	return m.links(func(h *netlink.Handle, _ netns.NsHandle) error {
		if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}); err != nil {
			return err
		}
		return up(h, bridge, address)
	})
}

// Attach plugs the machine into a switch, which is its way to all else.
func (m *Machine) Attach(to *Machine, address netip.Prefix, router netip.Addr) error {
	err := m.links(func(_ *netlink.Handle, ns netns.NsHandle) error {
		return to.links(func(h *netlink.Handle, _ netns.NsHandle) error {
			lan, err := h.LinkByName(bridge)
			if err != nil {
				return err
			}
			port := netlink.LinkAttrs{Name: fmt.Sprintf("port%d", to.port), MasterIndex: lan.Attrs().Index, Flags: net.FlagUp}
			to.port++
			return h.LinkAdd(&netlink.Veth{LinkAttrs: port, PeerName: uplink, PeerNamespace: netlink.NsFd(ns)})
		})
	})
	if err != nil {
		return err
	}
	err = m.links(func(h *netlink.Handle, _ netns.NsHandle) error { return up(h, uplink, address) })
	if err != nil {
		return err
	}
	return m.Route(netip.PrefixFrom(netip.IPv4Unspecified(), 0), router)
}

// Route sends what is for the destination by way of a neighbour.
func (m *Machine) Route(destination netip.Prefix, by netip.Addr) error {
	return m.links(func(h *netlink.Handle, _ netns.NsHandle) error {
		return h.RouteAdd(&netlink.Route{
			Dst: &net.IPNet{IP: destination.Addr().AsSlice(), Mask: net.CIDRMask(destination.Bits(), destination.Addr().BitLen())},
			Gw:  by.AsSlice(),
		})
	})
}

func up(h *netlink.Handle, name string, address netip.Prefix) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	ip := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: ip}); err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return err
	}
	return h.LinkSetUp(link)
}
