//go:build !linux

package machine

import (
	"errors"
	"net/netip"
	"syscall"
)

func session() *syscall.SysProcAttr { return nil }

func namespaces() *syscall.SysProcAttr { return nil }

func within(int, func() error) error { return errors.ErrUnsupported }

// Switch makes the machine a LAN's switch and router, with an address on it.
func (m *Machine) Switch(netip.Prefix) error { return errors.ErrUnsupported }

// Attach plugs the machine into a switch, which is its way to all else.
func (m *Machine) Attach(*Machine, netip.Prefix, netip.Addr) error { return errors.ErrUnsupported }

// Route sends what is for the destination by way of a neighbour.
func (m *Machine) Route(netip.Prefix, netip.Addr) error { return errors.ErrUnsupported }
