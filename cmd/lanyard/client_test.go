package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/server"
)

// TestNotReached: what is to be done differs by why the cloud was not reached.
func TestNotReached(t *testing.T) {
	env := server.Environment{Listen: "10.0.0.5:443", CAFile: "ca.pem"}
	other := errors.New("something else")
	for want, err := range map[string]error{
		"no cloud answers at 10.0.0.5:443: start it":                       &net.OpError{Op: "dial", Err: other},
		"the certificate of the cloud at 10.0.0.5:443 has ended":           &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}},
		"what answers at 10.0.0.5:443 is not the cloud of the environment": &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
		"by the authority ca.pem: name the file that this cloud wrote":     &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}}},
		`Post "https://login.lanyard.localhost": something else`:           other,
	} {
		said := notReached(env, &url.Error{Op: "Post", URL: "https://login.lanyard.localhost", Err: err})
		if !strings.Contains(said.Error(), want) || !strings.Contains(said.Error(), "https://login.lanyard.localhost") {
			t.Errorf("%v; want %s", said, want)
		}
	}
}
