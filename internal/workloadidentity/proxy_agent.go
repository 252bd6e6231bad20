package workloadidentity

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// agentCommand is the agent's place in its image.
const agentCommand = "/lanyard-agent"

// proxyUID is the user that the proxy runs as: upstream's image says so itself,
// the agent's has other roles too.
const proxyUID = 1501

// agentProxyInit is the redirect by Lanyard's own image. It is root, since only
// root has the one capability that it needs, and that one alone: upstream's is
// privileged.
func (d *decision) agentProxyInit(port int) proxyContainer {
	no, yes, root := false, true, int64(0)
	return proxyContainer{
		Name: ProxyInitContainer, Image: d.settings.AgentImage, ImagePullPolicy: "IfNotPresent",
		Command:   []string{agentCommand, "proxy-init"},
		Env:       []jsontext.Value{nameAndValue(envProxyPort, strconv.Itoa(port))},
		Resources: proxyResources(),
		SecurityContext: securityContext{
			AllowPrivilegeEscalation: &no, Capabilities: capabilities{Add: []string{"NET_ADMIN"}, Drop: []string{"ALL"}},
			ReadOnlyRootFilesystem: &yes, RunAsUser: &root, SeccompProfile: &seccompProfile{"RuntimeDefault"},
		},
	}
}

// agentProxy is the proxy by Lanyard's own image. What comes after it in the pod
// starts when it is ready: by its startup probe where it is a native sidecar, else
// by its postStart hook. It listens on the loopback address, which no probe of the
// kubelet but a command reaches.
func (d *decision) agentProxy(port int, native bool) proxyContainer {
	portArg := "--proxy-port=" + strconv.Itoa(port)
	no, yes, user := false, true, int64(proxyUID)
	c := proxyContainer{
		Name: ProxyContainer, Image: d.settings.AgentImage, ImagePullPolicy: "IfNotPresent",
		Command:   []string{agentCommand, "proxy"},
		Args:      []string{portArg, "--log-level=" + d.settings.ProxyLogLevel},
		Ports:     []containerPort{{port}},
		Resources: proxyResources(),
		SecurityContext: securityContext{
			AllowPrivilegeEscalation: &no, Capabilities: capabilities{Drop: []string{"ALL"}},
			ReadOnlyRootFilesystem: &yes, RunAsNonRoot: true, RunAsUser: &user, SeccompProfile: &seccompProfile{"RuntimeDefault"},
		},
	}
	ready := []string{agentCommand, "proxy", portArg, "--probe"}
	if native {
		c.RestartPolicy = "Always"
		c.StartupProbe = &probe{Exec: execAction{ready}, TimeoutSeconds: 10, PeriodSeconds: 1, FailureThreshold: 10}
	} else {
		c.Lifecycle = afterStart(ready)
	}
	return c
}

// proxyResources are what either container of the proxy asks for, and may have. It
// needs little processor time, but for an instant to start: there is no limit.
func proxyResources() *resources {
	return &resources{
		Requests: map[string]string{"cpu": "10m", "memory": "32Mi"},
		Limits:   map[string]string{"memory": "128Mi"},
	}
}
