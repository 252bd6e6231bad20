package sidecar

import (
	"net/netip"
	"strings"
	"testing"
)

func TestRedirectFrom(t *testing.T) {
	defaults := Redirect{Metadata: netip.MustParseAddrPort("169.254.169.254:80"), Port: 8000, ExceptUID: 1501}
	for name, test := range map[string]struct {
		vars map[string]string
		want Redirect
		err  string
	}{
		"nothing": {want: defaults},
		"everything": {
			vars: map[string]string{"PROXY_PORT": "8181", "METADATA_IP": "10.0.0.1", "METADATA_PORT": "8080", "PROXY_UID": "77"},
			want: Redirect{Metadata: netip.MustParseAddrPort("10.0.0.1:8080"), Port: 8181, ExceptUID: 77},
		},
		"no port":         {vars: map[string]string{"PROXY_PORT": "0"}, err: `PROXY_PORT is "0"`},
		"a long port":     {vars: map[string]string{"PROXY_PORT": "65536"}, err: "PROXY_PORT"},
		"no number":       {vars: map[string]string{"METADATA_PORT": "http"}, err: "METADATA_PORT"},
		"another address": {vars: map[string]string{"METADATA_IP": "fd00::1"}, err: "METADATA_IP"},
		"a name":          {vars: map[string]string{"METADATA_IP": "imds"}, err: "METADATA_IP"},
		"root":            {vars: map[string]string{"PROXY_UID": "0"}, err: "PROXY_UID"},
		"a negative user": {vars: map[string]string{"PROXY_UID": "-1"}, err: "PROXY_UID"},
	} {
		got, err := RedirectFrom(func(name string) string { return test.vars[name] })
		if test.err == "" && (err != nil || got != test.want) || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
