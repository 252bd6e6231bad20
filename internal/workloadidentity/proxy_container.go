package workloadidentity

import "github.com/go-json-experiment/json/jsontext"

// The few fields of a container that the proxy's containers have.
type (
	proxyContainer struct {
		Name            string           `json:"name"`
		Image           string           `json:"image"`
		ImagePullPolicy string           `json:"imagePullPolicy"`
		Command         []string         `json:"command,omitempty"`
		Args            []string         `json:"args,omitempty"`
		Env             []jsontext.Value `json:"env,omitempty"`
		VolumeMounts    []jsontext.Value `json:"volumeMounts,omitempty"`
		Ports           []containerPort  `json:"ports,omitempty"`
		Resources       *resources       `json:"resources,omitempty"`
		StartupProbe    *probe           `json:"startupProbe,omitempty"`
		Lifecycle       *lifecycle       `json:"lifecycle,omitempty"`
		RestartPolicy   string           `json:"restartPolicy,omitempty"`
		SecurityContext securityContext  `json:"securityContext"`
	}
	containerPort struct {
		ContainerPort int `json:"containerPort"`
	}
	resources struct {
		Requests map[string]string `json:"requests"`
		Limits   map[string]string `json:"limits"`
	}
	probe struct {
		Exec             execAction `json:"exec"`
		TimeoutSeconds   int        `json:"timeoutSeconds"`
		PeriodSeconds    int        `json:"periodSeconds"`
		FailureThreshold int        `json:"failureThreshold"`
	}
	execAction struct {
		Command []string `json:"command"`
	}
	lifecycle struct {
		PostStart handler `json:"postStart"`
	}
	handler struct {
		Exec execAction `json:"exec"`
	}
	securityContext struct {
		AllowPrivilegeEscalation *bool           `json:"allowPrivilegeEscalation,omitempty"`
		Capabilities             capabilities    `json:"capabilities"`
		Privileged               bool            `json:"privileged"`
		ReadOnlyRootFilesystem   *bool           `json:"readOnlyRootFilesystem,omitempty"`
		RunAsNonRoot             bool            `json:"runAsNonRoot"`
		RunAsUser                *int64          `json:"runAsUser,omitempty"`
		SeccompProfile           *seccompProfile `json:"seccompProfile,omitempty"`
	}
	seccompProfile struct {
		Type string `json:"type"`
	}
	capabilities struct {
		Add  []string `json:"add,omitempty"`
		Drop []string `json:"drop"`
	}
)

// afterStart runs a command in a container that has started, and holds back those
// after it until that ends.
func afterStart(command []string) *lifecycle {
	return &lifecycle{PostStart: handler{Exec: execAction{Command: command}}}
}
