package workloadidentity

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Authority is a way by which Azure's SDKs in pods reach the token service of a
// Lanyard.
type Authority string

// The ways to a cloud's token service.
const (
	// AuthorityAlias is by https://login-us.microsoftonline.com/, an old alias of
	// Azure's public cloud that every SDK takes for an authority without asking
	// anyone. The public cloud stays what it is.
	AuthorityAlias Authority = "alias"
	// AuthorityOverride is by the authority host of the Azure cloud that
	// AZURE_ENVIRONMENT names, login.microsoftonline.com unless told otherwise,
	// which then is Lanyard for pods.
	AuthorityOverride Authority = "override"
	// AuthorityOwnHost is by a name of the cloud's own. Some SDKs first ask Azure's
	// public cloud whether such a name is an authority, unless the program
	// switches that off.
	AuthorityOwnHost Authority = "own-host"
)

// aliasHost is the authority host of AuthorityAlias.
const aliasHost = "https://login-us.microsoftonline.com/"

// Cloud is a Lanyard that pods are pointed at. Its authority reaches them by
// TrustConfigMap, which must be in the pod's namespace when a mutation says so.
type Cloud struct {
	// Authorities are the ways that pods may take. The first is every pod's; the
	// others are for pods that choose them by AuthorityAnnotation. Only
	// AuthorityAlias when empty.
	Authorities []Authority
	// OwnHost is the authority host of AuthorityOwnHost: https://HOST[:PORT]/.
	// Required with that way, and only then.
	OwnHost string
	// Address is the cloud's, for the host aliases of pods. Where it is not valid,
	// pods get none: the cluster's DNS leads names to the cloud.
	Address netip.Addr
	// Hosts are further names that lead to Address, such as those of vaults.
	Hosts []string
	// Trust are the languages in which pods are made to trust the cloud's
	// authority; nil for DefaultTrust, empty for none.
	Trust []Language
	// SubjectHashes are the names under which OpenSSL looks for the cloud's
	// authority, or authorities while one succeeds another (trust.SubjectHash).
	SubjectHashes []string
}

// host gives the authority host of a way.
func (s *Settings) host(way Authority) string {
	switch way {
	case AuthorityAlias:
		return aliasHost
	case AuthorityOwnHost:
		return s.Cloud.OwnHost
	default:
		return s.AuthorityHost
	}
}

// AuthorityHosts are the hosts to which pods may be led, the first one by
// default: with a Cloud one for each of its ways, else AuthorityHost.
func (s *Settings) AuthorityHosts() []string {
	if s.Cloud == nil {
		return []string{s.AuthorityHost}
	}
	hosts := make([]string, len(s.Cloud.Authorities))
	for i, way := range s.Cloud.Authorities {
		hosts[i] = s.host(way)
	}
	return hosts
}

// validate checks a cloud and fills in the defaults.
func (c *Cloud) validate() error {
	if len(c.Authorities) == 0 {
		c.Authorities = []Authority{AuthorityAlias}
	}
	for i, way := range c.Authorities {
		if way != AuthorityAlias && way != AuthorityOverride && way != AuthorityOwnHost {
			return fmt.Errorf("LANYARD_AUTHORITY: %q is none of %s, %s, %s", way, AuthorityAlias, AuthorityOverride, AuthorityOwnHost)
		}
		if slices.Contains(c.Authorities[:i], way) {
			return fmt.Errorf("LANYARD_AUTHORITY names %q twice", way)
		}
	}
	if err := c.validateOwnHost(); err != nil {
		return err
	}
	if a := c.Address; a.IsValid() && (a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.Zone() != "" || a.Is4In6()) {
		return fmt.Errorf("LANYARD_ADDRESS: pods do not reach the cloud at %s", a)
	}
	if len(c.Hosts) > 0 && !c.Address.IsValid() {
		return errors.New("LANYARD_HOSTS needs LANYARD_ADDRESS")
	}
	for i, name := range c.Hosts {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return fmt.Errorf("LANYARD_HOSTS: %q is no host name: %s", name, strings.Join(problems, ", "))
		}
		if slices.Contains(c.Hosts[:i], name) {
			return fmt.Errorf("LANYARD_HOSTS names %q twice", name)
		}
	}
	if c.Trust == nil {
		c.Trust = DefaultTrust()
	}
	for i, language := range c.Trust {
		if !language.known() {
			return fmt.Errorf("LANYARD_TRUST: %q is none of %s", language, joinLanguages(allLanguages))
		}
		if slices.Contains(c.Trust[:i], language) {
			return fmt.Errorf("LANYARD_TRUST names %q twice", language)
		}
	}
	return nil
}

func (c *Cloud) validateOwnHost() error {
	if !slices.Contains(c.Authorities, AuthorityOwnHost) {
		if c.OwnHost != "" {
			return fmt.Errorf("LANYARD_AUTHORITY_HOST needs LANYARD_AUTHORITY=%s", AuthorityOwnHost)
		}
		return nil
	}
	if c.OwnHost == "" {
		return fmt.Errorf("LANYARD_AUTHORITY=%s needs LANYARD_AUTHORITY_HOST", AuthorityOwnHost)
	}
	u, err := url.Parse(c.OwnHost)
	if err != nil || u.Scheme != "https" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" ||
		len(validation.IsDNS1123Subdomain(u.Hostname())) > 0 {
		return fmt.Errorf("LANYARD_AUTHORITY_HOST is %q: it is an https URL of a host name in lower case, without a path", c.OwnHost)
	}
	c.OwnHost = "https://" + u.Host + "/"
	return nil
}

// CloudFrom reads the variables that point pods at a Lanyard, nil where
// LANYARD_CA_FILE, which the caller reads, is not set.
func CloudFrom(env Environment) (*Cloud, error) {
	if env.Getenv("LANYARD_CA_FILE") == "" {
		for _, name := range []string{"LANYARD_AUTHORITY", "LANYARD_AUTHORITY_HOST", "LANYARD_ADDRESS", "LANYARD_HOSTS", "LANYARD_TRUST"} {
			if env.Getenv(name) != "" {
				return nil, fmt.Errorf("%s needs LANYARD_CA_FILE", name)
			}
		}
		return nil, nil
	}
	c := &Cloud{OwnHost: env.Getenv("LANYARD_AUTHORITY_HOST"), Hosts: list(env.Getenv("LANYARD_HOSTS"))}
	for _, way := range list(env.Getenv("LANYARD_AUTHORITY")) {
		c.Authorities = append(c.Authorities, Authority(way))
	}
	if raw := env.Getenv("LANYARD_ADDRESS"); raw != "" {
		address, err := netip.ParseAddr(raw)
		if err != nil {
			return nil, fmt.Errorf("LANYARD_ADDRESS: %w", err)
		}
		c.Address = address
	}
	if raw := env.Getenv("LANYARD_TRUST"); raw == trustNone {
		c.Trust = []Language{}
	} else {
		for _, language := range list(raw) {
			c.Trust = append(c.Trust, Language(language))
		}
	}
	return c, nil
}

// list reads names that commas separate, nil for none.
func list(raw string) []string {
	var names []string
	for name := range strings.SplitSeq(raw, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
