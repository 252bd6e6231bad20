package token

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCheckAddress(t *testing.T) {
	t.Parallel()
	for text, public := range map[string]bool{
		"8.8.8.8": true, "20.190.128.1": true, "1.1.1.1": true, "172.15.255.255": true, "172.32.0.0": true,
		"100.63.255.255": true, "100.128.0.0": true, "168.63.129.17": true, "223.255.255.255": true,
		"2001:4860:4860::8888": true, "2620:1ec:c11::200": true, "2603:1006::1": true,
		"64:ff9b::8.8.8.8": true, "::ffff:8.8.8.8": true,

		"0.0.0.0": false, "0.1.2.3": false, "127.0.0.1": false, "127.255.255.254": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "168.63.129.16": false, "100.64.0.1": false, "100.100.100.200": false,
		"100.127.255.255": false, "192.0.0.192": false, "192.0.2.1": false, "192.88.99.1": false,
		"198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::127.0.0.1": false, "::8.8.8.8": false,
		"fe80::1": false, "fe80::1%eth0": false, "febf::1": false, "fec0::1": false, "fc00::1": false,
		"fd00:ec2::254": false, "ff02::1": false, "100::1": false, "2001:db8::1": false, "2001::1": false,
		"2001:10::1": false, "3fff::1": false, "4000::1": false, "5f00::1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false,
		"::ffff:0:127.0.0.1": false, // IPv4-translated
		"64:ff9b::127.0.0.1": false, "64:ff9b::169.254.169.254": false, "64:ff9b:1::8.8.8.8": false,
		"2002:7f00:1::": false, "2002:a9fe:a9fe::1": false, "2002:808:808::": false,
	} {
		err := checkAddress(netip.MustParseAddr(text), nil)
		if (err == nil) != public {
			t.Errorf("%s: %v, want public %t", text, err, public)
		}
		if err != nil && !strings.Contains(err.Error(), "--issuer-allow") {
			t.Errorf("%s: the error does not name the flag: %v", text, err)
		}
	}
	if checkAddress(netip.Addr{}, nil) == nil {
		t.Error("no address is public")
	}
}

func TestAllowedAddresses(t *testing.T) {
	t.Parallel()
	allow := []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32"), netip.MustParsePrefix("fe80::/64"),
	}
	for text, allowed := range map[string]bool{
		"127.0.0.1": true, "::ffff:127.0.0.1": true, "64:ff9b::10.1.2.3": true, "10.1.255.1": true, "fd00:1::1": true, "fe80::1%eth0": true,
		"10.2.0.1": false, "::1": false, "169.254.169.254": false, "fd00:2::1": false, "2002:7f00:1::": false,
	} {
		if err := checkAddress(netip.MustParseAddr(text), allow); (err == nil) != allowed {
			t.Errorf("%s: %v, want allowed %t", text, err, allowed)
		}
	}
}

func TestDialerControl(t *testing.T) {
	t.Parallel()
	control := guardedDialer(nil).Control
	for _, test := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp4", "8.8.8.8:443", true},
		{"tcp6", "[2620:1ec:c11::200]:443", true},
		{"tcp4", "127.0.0.1:443", false},
		{"tcp6", "[::ffff:127.0.0.1]:443", false},
		{"tcp6", "[fe80::1%lo]:443", false},
		{"tcp4", "name:443", false},
		{"udp4", "8.8.8.8:53", false},
		{"unix", "/run/docker.sock", false},
	} {
		if err := control(test.network, test.address, nil); (err == nil) != test.ok {
			t.Errorf("%s %s: %v, want ok %t", test.network, test.address, err, test.ok)
		}
	}
}
