package workloadidentity

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/net/http/httpproxy"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// chooseAuthority settles which way the pod takes to the token service, and
// refuses a pod that would take another one all the same: what it would send to
// whoever answers there is the proof of its identity.
func (d *decision) chooseAuthority() error {
	wanted, asked := d.pod.Metadata.Annotations[AuthorityAnnotation]
	c := d.settings.Cloud
	if c == nil {
		d.authority = d.settings.AuthorityHost
		if asked {
			d.warnf("annotation %s has no effect: the webhook points pods at %s alone", AuthorityAnnotation, d.authority)
		}
		return nil
	}
	way := c.Authorities[0]
	if asked {
		way = Authority(wanted)
		if !slices.Contains(c.Authorities, way) {
			return deny("annotation %s is %q: the webhook is set up for %s (LANYARD_AUTHORITY)", AuthorityAnnotation, wanted, joinWays(c.Authorities))
		}
	}
	d.authority = d.settings.host(way)
	d.out.Authority = d.authority
	u, err := url.Parse(d.authority)
	if err != nil {
		return deny("the authority host %q is no URL", d.authority)
	}
	d.authorityName = u.Hostname()
	if c.Address.IsValid() {
		return d.checkHostAliases()
	}
	return d.checkDNS(way)
}

func joinWays(ways []Authority) string {
	words := make([]string, len(ways))
	for i, w := range ways {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}

// checkDNS: it is the cluster's DNS that leads to the cloud. A pod that asks
// another would be led to whom the rest of the world takes for the authority.
func (d *decision) checkDNS(way Authority) error {
	policy := d.pod.Spec.DNSPolicy
	switch policy {
	case "":
		policy = "ClusterFirst"
		fallthrough
	case "ClusterFirst":
		if !d.pod.Spec.HostNetwork {
			return nil
		}
		policy += " with hostNetwork"
	case "ClusterFirstWithHostNet":
		return nil
	}
	if way == AuthorityOwnHost { // nobody else has the name
		d.warnf("dnsPolicy is %s: the pod finds %s only if its own DNS knows it", policy, d.authorityName)
		return nil
	}
	return deny("dnsPolicy is %s: the pod would ask another DNS than the cluster's for %s, and send its tokens to Azure's public cloud; "+
		"set it to ClusterFirst, with hostNetwork to ClusterFirstWithHostNet, or give the webhook the cloud's address (LANYARD_ADDRESS)", policy, d.authorityName)
}

// checkHostAliases: of two lines with a name, the first counts, and those of the
// pod come before what is added.
func (d *decision) checkHostAliases() error {
	for _, alias := range d.pod.Spec.HostAliases {
		if sameAddress(alias.IP, d.settings.Cloud.Address) {
			continue
		}
		for _, name := range alias.Hostnames {
			switch {
			case azure.EqualFold(name, d.authorityName):
				return deny("the pod's host alias leads %s to %s, and so its tokens; the cloud is at %s. Remove the alias",
					d.authorityName, alias.IP, d.settings.Cloud.Address)
			case slices.Contains(d.settings.Cloud.Hosts, strings.ToLower(name)):
				d.warnf("the pod's host alias leads %s to %s; the cloud is at %s", name, alias.IP, d.settings.Cloud.Address)
			}
		}
	}
	return nil
}

func sameAddress(text string, address netip.Addr) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Unmap() == address
}

// hostAliases adds the names that lead to the cloud's address and are not there
// yet. A pod has one entry an address: that of the cloud's is added to.
func (d *decision) hostAliases() {
	if d.settings.Cloud == nil || !d.settings.Cloud.Address.IsValid() {
		return
	}
	aliases := d.pod.Spec.HostAliases
	at := slices.IndexFunc(aliases, func(a HostAlias) bool { return sameAddress(a.IP, d.settings.Cloud.Address) })
	var missing []jsontext.Value
	for _, name := range append([]string{d.authorityName}, d.settings.Cloud.Hosts...) {
		same := func(has string) bool { return azure.EqualFold(has, name) }
		has := func(a HostAlias) bool { return slices.ContainsFunc(a.Hostnames, same) }
		if !slices.ContainsFunc(aliases, has) {
			missing = append(missing, appendString(nil, name))
		}
	}
	if at >= 0 {
		d.out.Patch.appendTo("/spec/hostAliases/"+strconv.Itoa(at)+"/hostnames", aliases[at].Hostnames != nil, missing)
		return
	}
	if len(missing) > 0 {
		entry := appendString([]byte(`{"ip":`), d.settings.Cloud.Address.String())
		entry = append(append(append(entry, `,"hostnames":`...), array(missing)...), '}')
		d.out.Patch.appendTo("/spec/hostAliases", aliases != nil, []jsontext.Value{entry})
	}
}

// warnAboutProxy warns of a container whose requests for tokens go to a proxy,
// which resolves names for itself. A proxy or an exception to it that is not
// written out in the pod cannot be judged.
func (d *decision) warnAboutHTTPProxy(c *Container) {
	if d.settings.Cloud == nil {
		return
	}
	var proxy string
	var except strings.Builder // there may be many
	for _, e := range c.Env {
		switch e.Name {
		case "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy":
			proxy = e.Name
		case "NO_PROXY", "no_proxy":
			except.WriteString("," + e.Value)
		}
	}
	if proxy == "" {
		return
	}
	config := httpproxy.Config{HTTPSProxy: "http://proxy.invalid", NoProxy: except.String()}
	if by, err := config.ProxyFunc()(&url.URL{Scheme: "https", Host: d.authorityName}); err == nil && by == nil {
		return
	}
	d.warnf("container %q has %s, and its NO_PROXY does not name %s: the proxy decides where its tokens go", c.Name, proxy, d.authorityName)
}
