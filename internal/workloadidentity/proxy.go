package workloadidentity

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// proxyPort gives the port of the token proxy, 0 when the pod asks for none.
func (d *decision) proxyPort() (int, error) {
	annotations := d.pod.Metadata.Annotations
	if _, ok := annotations[InjectProxyAnnotation]; !ok {
		return 0, nil
	}
	// Its redirect would change the node's network, for everybody on it.
	if d.pod.Spec.HostNetwork {
		return 0, deny("hostNetwork is set to true, cannot inject proxy sidecar")
	}
	d.warnAboutProxy()
	value, ok := annotations[ProxyPortAnnotation]
	if !ok {
		return DefaultProxyPort, nil
	}
	port, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0, deny("failed to parse proxy sidecar port: %v", err)
	}
	if port < 1 || port > 65535 {
		return 0, deny("proxy sidecar port %d not valid. Expected value to be between 1 and 65535", port)
	}
	return int(port), nil
}

// proxy adds the containers of the token proxy that the pod does not have. The
// redirect is in place, and the proxy runs, before the pod's own init
// containers: they may ask for tokens too.
func (d *decision) proxy(port int) {
	spec := d.pod.Spec
	named := func(name string) func(*Container) bool {
		return func(c *Container) bool { return c.Name == name }
	}
	initAt := slices.IndexFunc(spec.InitContainers, named(ProxyInitContainer))
	hasSidecar := slices.ContainsFunc(spec.InitContainers, named(ProxyContainer)) ||
		slices.ContainsFunc(spec.Containers, named(ProxyContainer))

	var first []jsontext.Value // of the init containers
	at := 0
	if initAt < 0 {
		first = append(first, d.proxyInitValue(port))
	} else {
		at = initAt + 1
	}
	if !hasSidecar && d.settings.NativeSidecar {
		first = append(first, d.proxyValue(port, true))
	}
	d.out.Patch.insertAt("/spec/initContainers", spec.InitContainers != nil, at, first)
	if !hasSidecar && !d.settings.NativeSidecar {
		// First here too: containers start in order, and the proxy's postStart
		// hook holds the others back until it answers.
		d.out.Patch.insertAt("/spec/containers", spec.Containers != nil, 0, []jsontext.Value{d.proxyValue(port, false)})
	}
	d.out.Proxy = initAt < 0 || !hasSidecar
}

// proxyInitValue is the container that redirects the pod's metadata requests to
// the proxy. It changes the pod's network, hence its rights.
func (d *decision) proxyInitValue(port int) jsontext.Value {
	if d.settings.AgentImage != "" {
		return d.withIdentity(d.agentProxyInit(port))
	}
	c := proxyContainer{
		Name: ProxyInitContainer, Image: d.settings.ProxyInitImage, ImagePullPolicy: "IfNotPresent",
		Env: []jsontext.Value{nameAndValue(envProxyPort, strconv.Itoa(port))},
		SecurityContext: securityContext{
			Capabilities: capabilities{Add: []string{"NET_ADMIN"}, Drop: []string{"ALL"}},
			Privileged:   true, RunAsNonRoot: false, RunAsUser: new(int64),
		},
	}
	return d.withIdentity(c)
}

// proxyValue is the proxy itself: unprivileged, and with native sidecars an init
// container that keeps running.
func (d *decision) proxyValue(port int, native bool) jsontext.Value {
	if d.settings.AgentImage != "" {
		return d.withIdentity(d.agentProxy(port, native))
	}
	portArg, levelArg := "--proxy-port="+strconv.Itoa(port), "--log-level="+d.settings.ProxyLogLevel
	no, yes := false, true
	c := proxyContainer{
		Name: ProxyContainer, Image: d.settings.ProxyImage, ImagePullPolicy: "IfNotPresent",
		Args:      []string{portArg, levelArg},
		Ports:     []containerPort{{port}},
		Lifecycle: afterStart([]string{"/proxy", portArg, "--probe", levelArg}),
		SecurityContext: securityContext{
			AllowPrivilegeEscalation: &no, Capabilities: capabilities{Drop: []string{"ALL"}},
			ReadOnlyRootFilesystem: &yes, RunAsNonRoot: true,
		},
	}
	if native {
		c.RestartPolicy = "Always"
	}
	return d.withIdentity(c)
}

// withIdentity gives a container of the proxy what every container gets, unless
// the pod's annotation skips it, and makes it JSON.
func (d *decision) withIdentity(c proxyContainer) jsontext.Value {
	if !d.skip[c.Name] {
		c.Env = append(c.Env, d.envTrusting.json...)
		c.VolumeMounts = []jsontext.Value{d.mount}
	}
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, numbers and JSON of our own making
	}
	return raw
}
